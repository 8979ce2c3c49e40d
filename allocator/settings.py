"""Settings: read once, checked at birth, frozen.

Every name is an environment variable (`.env` too); a bad one stops the start with its name, what came and
the range that is wanted.
"""

from __future__ import annotations

import math
import re
import ssl
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any, Self
from urllib.parse import urlsplit

from pydantic import (
    AfterValidator,
    BaseModel,
    ConfigDict,
    Field,
    SecretStr,
    ValidationError,
    ValidationInfo,
    field_validator,
    model_validator,
)

from allocator.decision import Limits
from allocator.errors import SettingsError

__all__ = ["Settings", "load"]

_METRIC = re.compile(r"[a-zA-Z_:][a-zA-Z0-9_:]*")
_MATCHER = r'\s*[a-zA-Z_][a-zA-Z0-9_]*\s*(?:=~|!~|!=|=)\s*(?:"(?:[^"\\]|\\.)*"|\'(?:[^\'\\]|\\.)*\')\s*'
_SELECTOR = re.compile(rf"(?:{_MATCHER}(?:,{_MATCHER})*,?\s*)?")
_LARGEST_REFRESH = 86_400.0


def _url(value: str) -> str:
    parts = urlsplit(value)
    if parts.scheme not in ("http", "https") or not parts.hostname or parts.query or parts.fragment:
        raise ValueError("not an http(s) URL without a query")
    if parts.username or parts.password:
        raise ValueError("a password in a URL ends up in logs")
    _ = parts.port  # a port that is no number raises here
    return value.rstrip("/")


def _finite(value: float) -> float:
    if not math.isfinite(value):
        raise ValueError("not finite")
    return value


Url = Annotated[str, AfterValidator(_url)]
Number = Annotated[float, AfterValidator(_finite)]


class Settings(BaseModel):
    """What the allocator is told; the description of a field is the range its error message wants."""

    model_config = ConfigDict(frozen=True, extra="forbid", populate_by_name=False)

    deck_url: Url = Field(
        "http://localhost:8002",
        alias="DECK_URL",
        description="an http(s) URL without user, query or fragment",
    )
    deck_token: SecretStr | None = Field(None, alias="DECK_TOKEN", description="a token")
    prometheus_url: Url = Field(
        "http://localhost:9090",
        alias="PROMETHEUS_URL",
        description="an http(s) URL without user, query or fragment",
    )
    prometheus_token: SecretStr | None = Field(None, alias="PROMETHEUS_TOKEN", description="a bearer token")
    prometheus_user: str | None = Field(None, alias="PROMETHEUS_USER", description="a user name")
    prometheus_password: SecretStr | None = Field(
        None, alias="PROMETHEUS_PASSWORD", description="the password of PROMETHEUS_USER"
    )
    prometheus_tenant: str | None = Field(
        None, alias="PROMETHEUS_TENANT", pattern=r"^[\x21-\x7e]+$", description="visible ASCII, no space"
    )
    prometheus_ca: Path | None = Field(None, alias="PROMETHEUS_CA", description="a readable PEM file")
    refresh_sec: Number = Field(
        600.0, alias="REFRESH_SEC", ge=0.1, le=_LARGEST_REFRESH, description="0.1 to 86400 seconds"
    )
    max_share: Number = Field(0.55, alias="MAX_SHARE", gt=0, le=1, description="above 0, at most 1")
    min_share: Number = Field(0.05, alias="MIN_SHARE", ge=0, le=1, description="0 to MAX_SHARE")
    exploration: Number = Field(0.08, alias="EXPLORATION", ge=0, le=1, description="0 to 1")
    ema_alpha: Number = Field(0.35, alias="EMA_ALPHA", gt=0, le=1, description="above 0, at most 1")
    max_step: Number = Field(0.10, alias="MAX_STEP", gt=0, le=1, description="above 0, at most 1 (1: off)")
    dead_band: Number = Field(0.005, alias="DEAD_BAND", ge=0, lt=1, description="0 to below 1")
    min_readings: int = Field(12, alias="MIN_READINGS", ge=1, le=4032, description="1 to 4032 rows")
    stale_after_sec: Number = Field(
        0.0, alias="STALE_AFTER_SEC", ge=0, le=30 * _LARGEST_REFRESH, description="above 0, at most 30 days"
    )
    pnl_metric: str = Field(
        "job_strategy:trading_strategy_pnl_usd:sum_fresh",
        alias="PNL_METRIC",
        description="a metric name, letters, digits, _ and :",
    )
    pnl_selector: str = Field(
        "", alias="PNL_SELECTOR", description='label matchers without braces, such as job="trading_engine"'
    )
    allocator_host: str = Field("127.0.0.1", alias="ALLOCATOR_HOST", min_length=1, description="an address")
    allocator_port: int = Field(8003, alias="ALLOCATOR_PORT", ge=1, le=65_535, description="1 to 65535")
    log_level: str = Field(
        "info",
        alias="DECK_LOG_LEVEL",
        pattern=r"^(debug|info|warning|error)$",
        description="debug, info, warning or error",
    )
    log_format: str = Field(
        "console", alias="DECK_LOG_FORMAT", pattern=r"^(console|json)$", description="console or json"
    )

    @field_validator("pnl_metric")
    @classmethod
    def _is_metric(cls, value: str) -> str:
        if not _METRIC.fullmatch(value):
            raise ValueError("not a metric name")
        return value

    @field_validator("pnl_selector")
    @classmethod
    def _is_selector(cls, value: str) -> str:
        if not _SELECTOR.fullmatch(value):
            raise ValueError("not label matchers")
        return value

    @field_validator("prometheus_ca")
    @classmethod
    def _is_readable(cls, value: Path | None) -> Path | None:
        if value is not None:
            try:
                ssl.create_default_context(cafile=value)
            except OSError as error:  # an SSLError is one
                raise ValueError("not a readable PEM file") from error
        return value

    @field_validator("stale_after_sec")
    @classmethod
    def _is_positive(cls, value: float, info: ValidationInfo) -> float:
        del info
        if value == 0.0:
            raise ValueError("zero: every reading would be stale")
        return value

    @model_validator(mode="before")
    @classmethod
    def _stale_after_default(cls, data: Any) -> Any:
        """Three refreshes, where nothing is said; a REFRESH_SEC that is no number is reported as such."""
        if isinstance(data, dict) and "STALE_AFTER_SEC" not in data:
            try:
                refresh = float(data.get("REFRESH_SEC", 600.0))
            except (TypeError, ValueError):
                refresh = 600.0
            usable = math.isfinite(refresh) and 0 < refresh <= _LARGEST_REFRESH
            return {**data, "STALE_AFTER_SEC": 3 * refresh if usable else 1800.0}
        return data

    @model_validator(mode="after")
    def _fit_together(self) -> Self:
        if self.min_share > self.max_share:
            raise SettingsError(
                f"MIN_SHARE={self.min_share:g}: want 0 to MAX_SHARE, which is {self.max_share:g}"
            )
        if self.prometheus_token and self.prometheus_user:
            raise SettingsError("PROMETHEUS_TOKEN and PROMETHEUS_USER are both set: want one of them")
        if self.prometheus_password and not self.prometheus_user:
            raise SettingsError("PROMETHEUS_PASSWORD is set without PROMETHEUS_USER: want both or none")
        if self.prometheus_ca and not self.prometheus_url.startswith("https:"):
            raise SettingsError(
                f"PROMETHEUS_CA is set and PROMETHEUS_URL={self.prometheus_url} is not https: want https"
            )
        return self

    @property
    def limits(self) -> Limits:
        """What the decision is bound by."""
        return Limits(
            min_share=self.min_share,
            max_share=self.max_share,
            exploration=self.exploration,
            ema_alpha=self.ema_alpha,
            max_step=self.max_step,
            dead_band=self.dead_band,
            min_readings=self.min_readings,
            refresh_seconds=self.refresh_sec,
        )

    @property
    def request_timeout_seconds(self) -> float:
        """Longest a single request may take: a quarter of a period, within 2 to 30 s."""
        return min(30.0, max(2.0, self.refresh_sec / 4))

    def shown(self) -> dict[str, Any]:
        """Every setting by its variable's name, secrets masked."""
        return {
            str(field.alias): _shown(getattr(self, name)) for name, field in type(self).model_fields.items()
        }


def load(environment: Mapping[str, str]) -> Settings:
    """The settings in `environment`, names of other parts of the stack passed over.

    Args:
        environment: Variable name to text, as `deckrails.dotenv.read_environment` gives it.

    Raises:
        SettingsError: Each bad value on its own line, with variable, value and range.
    """
    fields = {str(field.alias): field for field in Settings.model_fields.values()}
    given: dict[str, str] = {name: value for name, value in environment.items() if name in fields}
    if "DECK_TOKEN" not in given and "DECK_TOKEN_FILE" in environment:
        path = environment["DECK_TOKEN_FILE"]
        try:
            given["DECK_TOKEN"] = Path(path).read_text(encoding="utf-8").strip()
        except (OSError, UnicodeDecodeError) as error:
            raise SettingsError(f"DECK_TOKEN_FILE={path}: {error}: want a readable file") from error
    try:
        return Settings.model_validate(given)
    except ValidationError as error:
        lines = []
        for problem in error.errors(include_url=False, include_context=False):
            if not problem["loc"]:  # two settings that do not fit together
                lines.append(problem["msg"].removeprefix("Value error, "))
                continue
            name = str(problem["loc"][0])
            secret = "TOKEN" in name or "PASSWORD" in name
            shown = "(hidden)" if secret else str(given.get(name, problem["input"]))
            lines.append(f"{name}={shown}: want {fields[name].description}")
        raise SettingsError("\n".join(lines)) from error


def _shown(value: object) -> object:
    if isinstance(value, SecretStr):
        return "********"
    return str(value) if isinstance(value, Path) else value
