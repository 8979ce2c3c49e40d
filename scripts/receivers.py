"""Settings to Alertmanager receivers.  Pure but for reading the secret files that the settings name.

Alertmanager reads no environment, so what `.env` says becomes its configuration here.  A notifier is off
until its settings are there; half of them is an error, because a pager that is half set up pages nobody.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

__all__ = [
    "NOTIFIERS",
    "ReceiverError",
    "Settings",
    "configured",
    "deadman",
    "roles",
    "secret",
    "token",
    "url",
]

Settings = Mapping[str, str]
"""Setting name to text, as `deckrails.dotenv.read_environment` gives them."""

TITLE = '{{ template "deck.title" . }}'
TEXT = '{{ template "deck.text" . }}'
MESSAGE = '{{ template "deck.message" . }}'

SMTP_PORT = re.compile(r"[1-9][0-9]{0,4}")
MAX_PORT = 65535


class ReceiverError(ValueError):
    """A receiver's setting is missing or wrong; mend it in `.env` and render again."""


def _read(path: str, name: str) -> str:
    try:
        text = Path(path).read_text(encoding="utf-8").strip()
    except OSError as err:
        raise ReceiverError(f"{name}={path}: cannot read the secret: {err.strerror}") from err
    except UnicodeDecodeError as err:
        raise ReceiverError(f"{name}={path}: cannot read the secret: want UTF-8 text") from err
    if not text:
        raise ReceiverError(f"{name}={path}: the file is empty: want the secret in it")
    return text


def _only_one(settings: Settings, name: str) -> None:
    if name in settings and f"{name}_FILE" in settings:
        raise ReceiverError(f"{name} and {name}_FILE are both set: want one of them")


def secret(settings: Settings, name: str) -> str | None:
    """The secret itself, from `name` or from the file that `name`_FILE names."""
    _only_one(settings, name)
    if f"{name}_FILE" in settings:
        return _read(settings[f"{name}_FILE"], f"{name}_FILE")
    return settings.get(name)


def secret_field(settings: Settings, name: str, field: str) -> dict[str, str]:
    """`{field: secret}` or `{field_file: path}`, for fields whose file form Alertmanager 0.25 knows."""
    _only_one(settings, name)
    path = settings.get(f"{name}_FILE")
    if path is not None:
        _read(path, f"{name}_FILE")
        return {f"{field}_file": str(Path(path).resolve())}
    return {field: settings[name]} if name in settings else {}


def token(settings: Settings, *names: str) -> dict[str, Any]:
    """An `authorization` block from the first of `names` that is set; empty if none is."""
    for name in names:
        found = secret_field(settings, name, "credentials")
        if found:
            return {"authorization": found}
    return {}


def url(value: str, name: str) -> str:
    """The value, if Alertmanager takes it for a URL; it may be a secret, so a refusal does not repeat it.

    Raises:
        ReceiverError: It is none.
    """
    if not value.startswith(("http://", "https://")):
        raise ReceiverError(f"{name} does not start with http:// or https://: want a URL")
    if any(letter.isspace() or not letter.isprintable() for letter in value):
        raise ReceiverError(f"{name} has a blank or a line break in it: want a URL")
    try:
        parts = urlsplit(value)
        host = parts.hostname
        parts.port  # noqa: B018 - reading it is what checks it
    except ValueError as err:
        raise ReceiverError(f"{name} is no URL: want http(s)://host, a port from 0 to 65535") from err
    if not host:
        raise ReceiverError(f"{name} names no host: want a URL")
    return value


def _need(settings: Settings, names: tuple[str, ...], what: str) -> None:
    missing = [name for name in names if name not in settings and f"{name}_FILE" not in settings]
    if missing:
        raise ReceiverError(f"{what} is half set up: {', '.join(missing)} is missing")


def slack(settings: Settings) -> dict[str, Any]:
    """Slack's incoming webhook; channel only where the webhook allows another than its own."""
    found = secret(settings, "ALERT_SLACK_WEBHOOK_URL")
    if found is None:
        raise ReceiverError("slack is half set up: ALERT_SLACK_WEBHOOK_URL is missing")
    url(found, "ALERT_SLACK_WEBHOOK_URL")
    channel = settings.get("ALERT_SLACK_CHANNEL")
    return {
        **secret_field(settings, "ALERT_SLACK_WEBHOOK_URL", "api_url"),
        **({"channel": channel} if channel else {}),
        "send_resolved": True,
        "title": TITLE,
        "text": TEXT,
    }


def telegram(settings: Settings) -> dict[str, Any]:
    """A Telegram bot's message; the token has no file form before Alertmanager 0.26, so it is written in."""
    _need(settings, ("ALERT_TELEGRAM_TOKEN", "ALERT_TELEGRAM_CHAT_ID"), "telegram")
    chat = settings["ALERT_TELEGRAM_CHAT_ID"]
    try:
        chat_id = int(chat)
    except ValueError:
        chat_id = 0
    if chat_id == 0:
        raise ReceiverError(f"ALERT_TELEGRAM_CHAT_ID={chat}: want a whole number, -100… for a group")
    return {
        "bot_token": secret(settings, "ALERT_TELEGRAM_TOKEN"),
        "chat_id": chat_id,
        "api_url": "https://api.telegram.org",
        "send_resolved": True,
        "parse_mode": "",  # plain text: a strategy's name cannot break the markup and lose the message
        "message": MESSAGE,
    }


def discord(settings: Settings) -> dict[str, Any]:
    """Discord's webhook, whose file form is newer than 0.25."""
    found = secret(settings, "ALERT_DISCORD_WEBHOOK_URL")
    if found is None:
        raise ReceiverError("discord is half set up: ALERT_DISCORD_WEBHOOK_URL is missing")
    return {
        "webhook_url": url(found, "ALERT_DISCORD_WEBHOOK_URL"),
        "send_resolved": True,
        "title": TITLE,
        "message": TEXT,
    }


def email(settings: Settings) -> dict[str, Any]:
    """E-mail over SMTP with STARTTLS; without a user it speaks to a relay that asks for none."""
    _need(settings, ("ALERT_EMAIL_TO", "ALERT_EMAIL_FROM", "ALERT_SMTP_HOST"), "email")
    for name in ("ALERT_EMAIL_TO", "ALERT_EMAIL_FROM"):
        if "@" not in settings[name]:
            raise ReceiverError(f"{name}={settings[name]}: want an e-mail address")
    host, _, port = settings["ALERT_SMTP_HOST"].rpartition(":")
    if not host or not SMTP_PORT.fullmatch(port) or int(port) > MAX_PORT:
        raise ReceiverError(
            f"ALERT_SMTP_HOST={settings['ALERT_SMTP_HOST']}: want host:port, for example mail.example.org:587"
        )
    tls = settings.get("ALERT_SMTP_TLS", "1")
    if tls not in {"0", "1"}:
        raise ReceiverError(f"ALERT_SMTP_TLS={tls}: want 1, or 0 for a relay on this host")
    login: dict[str, Any] = {}
    if {"ALERT_SMTP_USER", "ALERT_SMTP_PASSWORD", "ALERT_SMTP_PASSWORD_FILE"} & set(settings):
        _need(settings, ("ALERT_SMTP_USER", "ALERT_SMTP_PASSWORD"), "the SMTP login")
        login = {
            "auth_username": settings["ALERT_SMTP_USER"],
            **secret_field(settings, "ALERT_SMTP_PASSWORD", "auth_password"),
        }
    return {
        "to": settings["ALERT_EMAIL_TO"],
        "from": settings["ALERT_EMAIL_FROM"],
        "smarthost": settings["ALERT_SMTP_HOST"],
        **login,
        "require_tls": tls == "1",
        "send_resolved": True,
        "headers": {"Subject": TITLE},
        "text": TEXT,
        "html": "",
    }


def webhook(settings: Settings) -> dict[str, Any]:
    """Any service that takes Alertmanager's webhook; the URL's file form is newer than 0.25."""
    found = secret(settings, "ALERT_WEBHOOK_URL")
    if found is None:
        raise ReceiverError("webhook is half set up: ALERT_WEBHOOK_URL is missing")
    auth = token(settings, "ALERT_WEBHOOK_TOKEN")
    return {
        "url": url(found, "ALERT_WEBHOOK_URL"),
        "send_resolved": True,
        **({"http_config": auth} if auth else {}),
    }


NOTIFIERS: dict[str, tuple[str, tuple[str, ...], Callable[[Settings], dict[str, Any]]]] = {
    # name in ALERT_PAGER and ALERT_CHAT: (Alertmanager's key, settings of which any turns it on, builder)
    "slack": (
        "slack_configs",
        ("ALERT_SLACK_WEBHOOK_URL", "ALERT_SLACK_WEBHOOK_URL_FILE", "ALERT_SLACK_CHANNEL"),
        slack,
    ),
    "telegram": (
        "telegram_configs",
        ("ALERT_TELEGRAM_TOKEN", "ALERT_TELEGRAM_TOKEN_FILE", "ALERT_TELEGRAM_CHAT_ID"),
        telegram,
    ),
    "discord": (
        "discord_configs",
        ("ALERT_DISCORD_WEBHOOK_URL", "ALERT_DISCORD_WEBHOOK_URL_FILE"),
        discord,
    ),
    "email": (
        "email_configs",
        (
            "ALERT_EMAIL_TO",
            "ALERT_EMAIL_FROM",
            "ALERT_SMTP_HOST",
            "ALERT_SMTP_USER",
            "ALERT_SMTP_PASSWORD",
            "ALERT_SMTP_PASSWORD_FILE",
        ),
        email,
    ),
    "webhook": (
        "webhook_configs",
        ("ALERT_WEBHOOK_URL", "ALERT_WEBHOOK_URL_FILE", "ALERT_WEBHOOK_TOKEN", "ALERT_WEBHOOK_TOKEN_FILE"),
        webhook,
    ),
}


def configured(settings: Settings) -> dict[str, dict[str, Any]]:
    """Each notifier that is set, with its configuration.

    Raises:
        ReceiverError: One is half set up, or a value is not what its receiver takes.
    """
    return {
        name: build(settings)
        for name, (_, switches, build) in NOTIFIERS.items()
        if any(switch in settings for switch in switches)
    }


def roles(settings: Settings, notifiers: Mapping[str, Any]) -> dict[str, tuple[str, ...]]:
    """Which notifiers serve pager, chat and log.

    `ALERT_PAGER=telegram,email` names them; by default all serve pager and chat, and none the log.

    Raises:
        ReceiverError: A list names a notifier that does not exist or is not set.
    """
    out: dict[str, tuple[str, ...]] = {}
    for role, default in (("pager", tuple(notifiers)), ("chat", tuple(notifiers)), ("log", ())):
        name = f"ALERT_{role.upper()}"
        if name not in settings:
            out[role] = default
            continue
        wanted = tuple(part.strip() for part in settings[name].split(",") if part.strip())
        for one in wanted:
            if one not in NOTIFIERS:
                raise ReceiverError(
                    f"{name}={settings[name]}: no receiver {one}: want {', '.join(NOTIFIERS)}"
                )
            if one not in notifiers:
                raise ReceiverError(f"{name}={settings[name]}: {one} has no settings of its own")
        out[role] = wanted
    return out


def deadman(settings: Settings) -> dict[str, Any] | None:
    """The dead man's switch: a URL that is called every minute, and calls a person when the calls stop."""
    found = secret(settings, "ALERT_DEADMAN_URL")
    return None if found is None else {"url": url(found, "ALERT_DEADMAN_URL"), "send_resolved": False}
