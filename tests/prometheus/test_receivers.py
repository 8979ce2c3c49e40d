from __future__ import annotations

from pathlib import Path

import pytest

from scripts import receivers
from scripts.receivers import ReceiverError

SLACK = {"ALERT_SLACK_WEBHOOK_URL": "https://hooks.example.org/a"}
TELEGRAM = {"ALERT_TELEGRAM_TOKEN": "1:x", "ALERT_TELEGRAM_CHAT_ID": "-1001"}
EMAIL = {
    "ALERT_EMAIL_TO": "a@example.org",
    "ALERT_EMAIL_FROM": "b@example.org",
    "ALERT_SMTP_HOST": "mail.example.org:587",
}


def test_nothing_set_is_no_receiver() -> None:
    """Settings of other parts turn no receiver on."""
    assert receivers.configured({"DECK_TOKEN": "t", "ALERT_GRAFANA_URL": "http://g"}) == {}


def test_each_receiver_is_on_once_it_is_set() -> None:
    """All five receivers stand beside each other."""
    settings = {
        **SLACK,
        **TELEGRAM,
        **EMAIL,
        "ALERT_DISCORD_WEBHOOK_URL": "https://discord.example.org/x",
        "ALERT_WEBHOOK_URL": "http://127.0.0.1:9/hook",
    }
    found = receivers.configured(settings)
    assert set(found) == set(receivers.NOTIFIERS)
    assert all(one["send_resolved"] for one in found.values())
    assert found["telegram"]["chat_id"] == -1001


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"ALERT_TELEGRAM_TOKEN": "1:x"}, "telegram is half set up: ALERT_TELEGRAM_CHAT_ID is missing"),
        ({"ALERT_TELEGRAM_CHAT_ID": "5"}, "telegram is half set up: ALERT_TELEGRAM_TOKEN is missing"),
        ({**TELEGRAM, "ALERT_TELEGRAM_CHAT_ID": "@x"}, "ALERT_TELEGRAM_CHAT_ID=@x: want a whole number"),
        ({**TELEGRAM, "ALERT_TELEGRAM_CHAT_ID": "0"}, "ALERT_TELEGRAM_CHAT_ID=0: want a whole number"),
        ({"ALERT_SLACK_CHANNEL": "#a"}, "slack is half set up: ALERT_SLACK_WEBHOOK_URL is missing"),
        ({"ALERT_SLACK_WEBHOOK_URL": "hooks"}, "ALERT_SLACK_WEBHOOK_URL does not start with http"),
        ({"ALERT_EMAIL_TO": "a@example.org"}, "ALERT_EMAIL_FROM, ALERT_SMTP_HOST is missing"),
        ({**EMAIL, "ALERT_SMTP_HOST": "mail"}, "ALERT_SMTP_HOST=mail: want host:port"),
        ({**EMAIL, "ALERT_SMTP_HOST": "mail:65536"}, "ALERT_SMTP_HOST=mail:65536: want host:port"),
        ({**EMAIL, "ALERT_SMTP_TLS": "no"}, "ALERT_SMTP_TLS=no: want 1, or 0"),
        ({**EMAIL, "ALERT_EMAIL_TO": "ops"}, "ALERT_EMAIL_TO=ops: want an e-mail address"),
        ({**EMAIL, "ALERT_EMAIL_FROM": "deck"}, "ALERT_EMAIL_FROM=deck: want an e-mail address"),
        ({**EMAIL, "ALERT_SMTP_USER": "u"}, "ALERT_SMTP_PASSWORD is missing"),
        ({**EMAIL, "ALERT_SMTP_PASSWORD": "p"}, "the SMTP login is half set up: ALERT_SMTP_USER is missing"),
        ({"ALERT_SMTP_PASSWORD_FILE": "/x"}, "email is half set up: ALERT_EMAIL_TO"),
        ({"ALERT_WEBHOOK_TOKEN": "t"}, "webhook is half set up: ALERT_WEBHOOK_URL is missing"),
        ({"ALERT_WEBHOOK_URL": "ftp://x"}, "ALERT_WEBHOOK_URL does not start with http"),
        ({"ALERT_WEBHOOK_URL": "http://"}, "ALERT_WEBHOOK_URL names no host"),
        ({"ALERT_WEBHOOK_URL": "http://:80/x"}, "ALERT_WEBHOOK_URL names no host"),
        ({"ALERT_WEBHOOK_URL": "http://a b/x"}, "ALERT_WEBHOOK_URL has a blank or a line break"),
        ({"ALERT_WEBHOOK_URL": "http://a:65536/x"}, "ALERT_WEBHOOK_URL is no URL: want"),
        ({"ALERT_WEBHOOK_URL": "http://[::1/x"}, "ALERT_WEBHOOK_URL is no URL: want"),
        ({**SLACK, "ALERT_SLACK_WEBHOOK_URL_FILE": "/x"}, "are both set: want one of them"),
        (
            {"ALERT_SLACK_WEBHOOK_URL_FILE": "/nowhere/x"},
            "ALERT_SLACK_WEBHOOK_URL_FILE=/nowhere/x: cannot read",
        ),
    ],
)
def test_half_a_receiver_is_refused(settings: dict[str, str], message: str) -> None:
    """A receiver that would page nobody stops the start and names the variable."""
    with pytest.raises(ReceiverError, match=message):
        receivers.configured(settings)


def test_a_refused_url_is_not_repeated() -> None:
    """A webhook's URL is a secret, so the message that refuses it does not show it."""
    with pytest.raises(ReceiverError) as caught:
        receivers.configured({"ALERT_SLACK_WEBHOOK_URL": "hooks.example.org/T0/secret"})
    assert "secret" not in str(caught.value)


def test_a_secret_file_is_named_where_alertmanager_reads_files(tmp_path: Path) -> None:
    """Slack's URL and the mail password stay in their files; Alertmanager 0.25 reads them itself."""
    path = tmp_path / "secret"
    path.write_text("https://hooks.example.org/b\n")
    settings = {
        **EMAIL,
        "ALERT_SLACK_WEBHOOK_URL_FILE": str(path),
        "ALERT_SMTP_USER": "u",
        "ALERT_SMTP_PASSWORD_FILE": str(path),
    }
    found = receivers.configured(settings)
    assert found["slack"]["api_url_file"] == str(path)
    assert found["email"]["auth_password_file"] == str(path)
    assert "hooks.example.org" not in repr(found)


def test_a_secret_file_is_read_where_alertmanager_cannot(tmp_path: Path) -> None:
    """Telegram's token and Discord's and the generic URL have no file form in 0.25: they are written in."""
    path = tmp_path / "secret"
    path.write_text(" https://example.org/b\n")
    settings = {
        "ALERT_TELEGRAM_TOKEN_FILE": str(path),
        "ALERT_TELEGRAM_CHAT_ID": "1",
        "ALERT_DISCORD_WEBHOOK_URL_FILE": str(path),
        "ALERT_WEBHOOK_URL_FILE": str(path),
    }
    found = receivers.configured(settings)
    assert found["telegram"]["bot_token"] == "https://example.org/b"
    assert found["discord"]["webhook_url"] == "https://example.org/b"
    assert found["webhook"]["url"] == "https://example.org/b"


def test_an_empty_secret_file_is_refused(tmp_path: Path) -> None:
    """A secret that was never written is an error at the start, not at the first page."""
    path = tmp_path / "secret"
    path.write_text("\n")
    with pytest.raises(ReceiverError, match="the file is empty"):
        receivers.configured({"ALERT_WEBHOOK_URL_FILE": str(path)})


def test_a_secret_file_that_is_no_text_names_its_setting(tmp_path: Path) -> None:
    """Bytes that are no UTF-8 are refused like any other bad value, by the name in `.env`."""
    path = tmp_path / "secret"
    path.write_bytes(b"\xff\xfe")
    with pytest.raises(ReceiverError, match=r"ALERT_WEBHOOK_URL_FILE=.*want UTF-8 text"):
        receivers.configured({"ALERT_WEBHOOK_URL_FILE": str(path)})


def test_all_that_are_set_serve_pager_and_chat() -> None:
    """Without a choice every receiver hears pages and warnings, and nobody the log."""
    assert receivers.roles({}, {"slack": {}, "email": {}}) == {
        "pager": ("slack", "email"),
        "chat": ("slack", "email"),
        "log": (),
    }


def test_roles_choose_among_the_receivers_that_are_set() -> None:
    """The pager may be another than the chat."""
    settings = {"ALERT_PAGER": "email", "ALERT_CHAT": "slack, email", "ALERT_LOG": "slack"}
    assert receivers.roles(settings, {"slack": {}, "email": {}}) == {
        "pager": ("email",),
        "chat": ("slack", "email"),
        "log": ("slack",),
    }


@pytest.mark.parametrize(
    ("value", "message"),
    [("sms", "no receiver sms: want slack, telegram"), ("telegram", "telegram has no settings of its own")],
)
def test_a_role_names_receivers_that_exist(value: str, message: str) -> None:
    """A pager that is misspelt or not set up is refused at the start."""
    with pytest.raises(ReceiverError, match=f"ALERT_PAGER={value}: {message}"):
        receivers.roles({"ALERT_PAGER": value}, {"slack": {}})


def test_the_switch_is_off_until_set() -> None:
    """The dead man's switch has a URL or does not exist, and never hears of a resolve."""
    assert receivers.deadman({}) is None
    found = receivers.deadman({"ALERT_DEADMAN_URL": "https://hc.example.org/1"})
    assert found == {"url": "https://hc.example.org/1", "send_resolved": False}


def test_the_first_token_that_is_set_is_used(tmp_path: Path) -> None:
    """A token of its own goes before the shared one, from its file where it has one."""
    path = tmp_path / "token"
    path.write_text("t")
    assert receivers.token({}, "ALERT_DECK_TOKEN", "DECK_TOKEN") == {}
    both = {"ALERT_DECK_TOKEN_FILE": str(path), "DECK_TOKEN": "shared"}
    assert receivers.token(both, "ALERT_DECK_TOKEN", "DECK_TOKEN") == {
        "authorization": {"credentials_file": str(path)}
    }
    assert receivers.token({"DECK_TOKEN": "shared"}, "ALERT_DECK_TOKEN", "DECK_TOKEN") == {
        "authorization": {"credentials": "shared"}
    }
