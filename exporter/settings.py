"""DECK_* settings: read once, one frozen value, refused at the start if they mean nothing."""

from __future__ import annotations

import ssl
from collections.abc import Mapping
from ipaddress import ip_address
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, SecretStr, ValidationError

from deckrails.dotenv import KNOWN
from exporter.errors import Invalid, SettingsError
from exporter.messages import check_name
from exporter.operations import AlertRule
from exporter.store_url import read_store_url, shown_url

__all__ = ["Settings", "read_settings"]


def _flag(value: object) -> object:
    if isinstance(value, str):
        lowered = value.strip().lower()
        if lowered in ("1", "true", "yes", "on"):
            return True
        if lowered in ("0", "false", "no", "off"):
            return False
        raise ValueError("want 1 or 0")
    return value


Flag = Annotated[bool, BeforeValidator(_flag)]


def _lowered(value: object) -> object:
    return value.strip().lower() if isinstance(value, str) else value


Word = BeforeValidator(_lowered)


class Settings(BaseModel):
    """Every setting; field names are the variables' without DECK_, in lower case."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    host: str = "127.0.0.1"
    port: int = Field(8002, ge=0, le=65535)
    insecure: Flag = False
    store_url: SecretStr = SecretStr("sqlite:///data/deck.db")
    token: SecretStr | None = None
    token_file: Path | None = None
    tokens_file: Path | None = None
    read_auth: Flag = False
    tls_cert: Path | None = None
    tls_key: Path | None = None
    group_ttl_sec: float = Field(0.0, ge=0, allow_inf_nan=False)
    max_body_bytes: int = Field(4 * 2**20, ge=1)
    max_series: int = Field(1_000_000, ge=1)
    max_series_per_push: int = Field(50_000, ge=1)
    admin_api: Flag = False
    durability: Annotated[Literal["power", "process"], Word] = "power"
    log_level: Annotated[Literal["debug", "info", "warning", "error"], Word] = "info"
    log_format: Annotated[Literal["console", "json"], Word] = "console"
    alert_breakers: str = ""
    accept_crlf: Flag = False
    utf8_names: Flag = False

    @property
    def loopback(self) -> bool:
        """Whether only this machine can reach the service."""
        if self.host.lower() == "localhost":
            return True
        try:
            return ip_address(self.host).is_loopback
        except ValueError:
            return False

    @property
    def has_token(self) -> bool:
        """Whether any token is configured."""
        return bool(self.token or self.token_file or self.tokens_file)

    def alert_rules(self) -> dict[str, AlertRule]:
        """DECK_ALERT_BREAKERS as rules.

        Raises:
            SettingsError: A part that is not ALERTNAME=BREAKER or ALERTNAME=BREAKER:latch, a breaker that is
                no name, or an alert twice.
        """
        rules: dict[str, AlertRule] = {}
        for part in filter(None, (part.strip() for part in self.alert_breakers.split(","))):
            alertname, equals, breaker = (text.strip() for text in part.partition("="))
            breaker, colon, option = breaker.partition(":")
            if not (equals and alertname and breaker) or (colon and option != "latch"):
                raise SettingsError(
                    f"DECK_ALERT_BREAKERS has {part!r}: want ALERTNAME=BREAKER or ALERTNAME=BREAKER:latch"
                )
            if alertname in rules:
                raise SettingsError(
                    f"DECK_ALERT_BREAKERS has {alertname!r} twice: want one breaker for an alert "
                    "(its own label `breaker` may name a second)"
                )
            try:
                check_name(breaker, "DECK_ALERT_BREAKERS", "breaker")
            except Invalid as error:
                raise SettingsError(f"DECK_ALERT_BREAKERS has {part[:60]!r}: {error}") from None
            rules[alertname] = AlertRule(breaker, latch=bool(colon))
        return rules

    def shown(self) -> dict[str, Any]:
        """Every setting for the log, secrets masked."""
        shown = {name: getattr(self, name) for name in type(self).model_fields}
        shown["store_url"] = shown_url(read_store_url(self.store_url.get_secret_value()))
        shown["token"] = "***" if self.token else None
        return {name: str(value) if isinstance(value, Path) else value for name, value in shown.items()}


def read_settings(environment: Mapping[str, str]) -> Settings:
    """Settings from a mapping of names to text; names of other parts of the stack are passed over.

    Raises:
        SettingsError: A value means nothing, or the settings together are not safe.
    """
    fields = {
        name.removeprefix("DECK_").lower(): value
        for name, value in environment.items()
        if name in KNOWN["exporter"]
    }
    try:
        settings = Settings(**fields)  # type: ignore[arg-type]  # texts, which pydantic converts
    except ValidationError as error:
        first = error.errors()[0]
        name = "DECK_" + str(first["loc"][0]).upper()
        came = "" if "token" in name.lower() else f"{first['input']!r}: "
        raise SettingsError(f"{name} is {came}{first['msg']}") from None
    token = settings.token.get_secret_value() if settings.token else ""
    if token != token.strip():  # no header keeps it, so nobody could ever send this token
        raise SettingsError("DECK_TOKEN begins or ends with a space: want the token alone")
    if not settings.loopback and not settings.has_token and not settings.insecure:
        raise SettingsError(
            f"DECK_HOST is {settings.host}, which others can reach: set DECK_TOKEN, DECK_TOKEN_FILE or "
            "DECK_TOKENS_FILE, or say DECK_INSECURE=1"
        )
    if settings.read_auth and not settings.has_token:
        raise SettingsError(
            "DECK_READ_AUTH is 1 and there is no token that could read: set DECK_TOKEN, DECK_TOKEN_FILE or "
            "DECK_TOKENS_FILE"
        )
    if bool(settings.tls_cert) != bool(settings.tls_key):
        raise SettingsError("DECK_TLS_CERT and DECK_TLS_KEY: want both or neither")
    for name in ("token_file", "tokens_file", "tls_cert", "tls_key"):
        path: Path | None = getattr(settings, name)
        if path is not None and not path.is_file():
            # What stands where a token's file should may be the token itself.
            shown = "given" if name == "token_file" else str(path)
            raise SettingsError(f"DECK_{name.upper()} is {shown}: no such file")
    if settings.tls_cert and settings.tls_key:
        _check_certificate(settings.tls_cert, settings.tls_key)
    read_store_url(settings.store_url.get_secret_value())
    settings.alert_rules()
    return settings


def _check_certificate(certificate: Path, key: Path) -> None:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    try:
        # The empty password: a key that needs one would else ask for it on the terminal.
        context.load_cert_chain(certificate, key, password="")
    except OSError as error:  # an SSLError is one
        why = getattr(error, "reason", None) or error.strerror or "not PEM"
        raise SettingsError(
            f"DECK_TLS_CERT is {certificate} and DECK_TLS_KEY is {key}: {why}: "
            "want a PEM certificate chain and its key, without a password"
        ) from error
