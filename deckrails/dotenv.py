"""Settings from the environment and `.env`, with a misspelt line refused.

One `.env` serves the exporter, the allocator, the demo and compose, so each reader must know the names of
the others to tell a misspelling from a neighbour's setting.  KNOWN is that list; `.env.example` explains
each name and a test holds the two equal.
"""

from __future__ import annotations

import difflib
import io
import os
import re
from collections.abc import Mapping
from pathlib import Path

from dotenv.parser import parse_stream

__all__ = ["KNOWN", "DotenvError", "misspelt", "read_environment"]

KNOWN: dict[str, tuple[str, ...]] = {
    "exporter": (
        "DECK_HOST",
        "DECK_PORT",
        "DECK_STORE_URL",
        "DECK_TOKEN",
        "DECK_TOKEN_FILE",
        "DECK_TOKENS_FILE",
        "DECK_READ_AUTH",
        "DECK_INSECURE",
        "DECK_TLS_CERT",
        "DECK_TLS_KEY",
        "DECK_GROUP_TTL_SEC",
        "DECK_MAX_BODY_BYTES",
        "DECK_MAX_SERIES",
        "DECK_MAX_SERIES_PER_PUSH",
        "DECK_ADMIN_API",
        "DECK_DURABILITY",
        "DECK_LOG_LEVEL",
        "DECK_LOG_FORMAT",
        "DECK_ALERT_BREAKERS",
        "DECK_ACCEPT_CRLF",
        "DECK_UTF8_NAMES",
    ),
    "allocator": (
        "DECK_URL",
        "PROMETHEUS_URL",
        "PROMETHEUS_TOKEN",
        "PROMETHEUS_USER",
        "PROMETHEUS_PASSWORD",
        "PROMETHEUS_TENANT",
        "PROMETHEUS_CA",
        "REFRESH_SEC",
        "MAX_SHARE",
        "MIN_SHARE",
        "EXPLORATION",
        "EMA_ALPHA",
        "MAX_STEP",
        "DEAD_BAND",
        "MIN_READINGS",
        "STALE_AFTER_SEC",
        "PNL_METRIC",
        "PNL_SELECTOR",
        "ALLOCATOR_HOST",
        "ALLOCATOR_PORT",
    ),
    "alertmanager": (
        "ALERT_PAGER",
        "ALERT_CHAT",
        "ALERT_LOG",
        "ALERT_SLACK_WEBHOOK_URL",
        "ALERT_SLACK_WEBHOOK_URL_FILE",
        "ALERT_SLACK_CHANNEL",
        "ALERT_TELEGRAM_TOKEN",
        "ALERT_TELEGRAM_TOKEN_FILE",
        "ALERT_TELEGRAM_CHAT_ID",
        "ALERT_DISCORD_WEBHOOK_URL",
        "ALERT_DISCORD_WEBHOOK_URL_FILE",
        "ALERT_EMAIL_TO",
        "ALERT_EMAIL_FROM",
        "ALERT_SMTP_HOST",
        "ALERT_SMTP_USER",
        "ALERT_SMTP_PASSWORD",
        "ALERT_SMTP_PASSWORD_FILE",
        "ALERT_SMTP_TLS",
        "ALERT_WEBHOOK_URL",
        "ALERT_WEBHOOK_URL_FILE",
        "ALERT_WEBHOOK_TOKEN",
        "ALERT_WEBHOOK_TOKEN_FILE",
        "ALERT_DEADMAN_URL",
        "ALERT_DEADMAN_URL_FILE",
        "ALERT_DECK_TOKEN",
        "ALERT_DECK_TOKEN_FILE",
        "ALERT_RUNBOOK_BASE_URL",
        "ALERT_GRAFANA_URL",
        "SCRAPE_TOKEN",
        "SCRAPE_TOKEN_FILE",
    ),
    "build": ("DECK_REVISION",),
    "client": ("DECK_ENGINE", "DECK_SPOOL_DIR"),
    "demo": ("DEMO_SECONDS", "PORT_OFFSET", "GRAFANA_HOME"),
    "compose": (
        "OPS_SERVICE_NAME",
        "COMPOSE_FILE",
        "COMPOSE_PROFILES",
        "COMPOSE_PROJECT_NAME",
        "PROMETHEUS_VERSION",
        "ALERTMANAGER_VERSION",
        "GRAFANA_VERSION",
        "POSTGRES_VERSION",
        "VICTORIAMETRICS_VERSION",
        "HAPROXY_VERSION",
        "DECKRAILS_VERSION",
        "DECKRAILS_PYTHON_VERSION",
        "PROMETHEUS_PORT",
        "ALERTMANAGER_PORT",
        "GRAFANA_PORT",
        "PROMETHEUS_RETENTION_TIME",
        "PROMETHEUS_RETENTION_SIZE",
        "PROMETHEUS_REMOTE_WRITE_URL",
        "PROMETHEUS_EXTERNAL_URL",
        "ALERTMANAGER_EXTERNAL_URL",
        "GRAFANA_ROOT_URL",
        "DECKRAILS_SECRETS_DIR",
        "DECKRAILS_RENDERED_DIR",
    ),
}
"""Every name that may stand in `.env`, by who reads it."""


class DotenvError(ValueError):
    """A line of `.env` that no part of the stack would read; mend the line and start again."""


def read_environment(path: Path = Path(".env"), environ: Mapping[str, str] | None = None) -> dict[str, str]:
    """Every known setting that is set: `.env` first, the environment on top, empty values dropped.

    Args:
        path: The file to read; a missing file is an empty one.
        environ: The process's environment; `os.environ` by default.

    Returns:
        Setting name to text, known names only.

    Raises:
        DotenvError: A line that is not `NAME=value`, or whose name nobody reads; a file that cannot be read.
    """
    known = {name for names in KNOWN.values() for name in names}
    settings: dict[str, str] = {}
    if path.is_file():
        for binding in parse_stream(io.StringIO(_text_of(path))):
            where = f"{path} line {binding.original.line}"
            if binding.error:
                raise DotenvError(f"{where}: {_before_value(binding.original.string)}: want NAME=value")
            if binding.key is None:
                continue
            if binding.key not in known:
                close = difflib.get_close_matches(binding.key, known, n=1)
                hint = f"; did you mean {close[0]}?" if close else ""
                raise DotenvError(f"{where}: nobody reads {_before_value(binding.key)}{hint}")
            if binding.value is None:
                raise DotenvError(f"{where}: {binding.key} has no value: want {binding.key}=value")
            settings[binding.key] = binding.value
    settings.update(
        {name: value for name, value in (os.environ if environ is None else environ).items() if name in known}
    )
    return {name: value for name, value in settings.items() if value != ""}


def _text_of(path: Path) -> str:
    try:
        content = path.read_bytes()
    except OSError as error:
        raise DotenvError(f"{path} cannot be read: {error.strerror}") from error
    try:
        return content.decode("utf-8")
    except UnicodeDecodeError as error:
        line = content.count(b"\n", 0, error.start) + 1
        raise DotenvError(f"{path} line {line}: byte 0x{content[error.start]:02x} is not UTF-8") from None


def misspelt(environ: Mapping[str, str] | None = None) -> dict[str, str]:
    """DECK_ variables of the process that nobody reads and whose name is nearly a known one.

    Others may set variables of their own there, so this is a thing to warn of and no more.

    Returns:
        Name as it stands to the name that was probably meant.
    """
    known = {name for names in KNOWN.values() for name in names}
    found: dict[str, str] = {}
    for name in sorted(os.environ if environ is None else environ):
        if name.startswith("DECK_") and name not in known:
            close = difflib.get_close_matches(name, known, n=1, cutoff=_NEARLY)
            if close:
                found[name] = close[0]
    return found


_NEARLY = 0.85
"""Of difflib: two letters swapped, one missing or one too many in a name of ten."""


def _before_value(line: str) -> str:
    """The name a line begins with; nothing else of it, for the rest may be a secret."""
    name = re.match(r"\s*(?:export\s+)?([A-Z][A-Z0-9_]*)(?=[\s=:]|$)", line)
    return name[1] if name else "a line that begins with no name in capitals"
