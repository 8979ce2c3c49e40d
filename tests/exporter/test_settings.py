from __future__ import annotations

from pathlib import Path

import pytest

from deckrails.dotenv import KNOWN
from exporter.errors import SettingsError
from exporter.operations import AlertRule
from exporter.settings import Settings, read_settings


def test_the_defaults_are_the_documented_ones() -> None:
    """An empty environment gives a loopback service with durable commits and the written limits."""
    settings = read_settings({})
    assert (settings.host, settings.port) == ("127.0.0.1", 8002)
    assert settings.store_url.get_secret_value() == "sqlite:///data/deck.db"
    assert (settings.max_body_bytes, settings.max_series, settings.max_series_per_push) == (
        4194304,
        1000000,
        50000,
    )
    assert (settings.durability, settings.group_ttl_sec, settings.admin_api) == ("power", 0, False)


def test_every_known_name_is_a_setting_and_the_other_way_round() -> None:
    """`.env` accepts exactly what the exporter reads."""
    assert {f"DECK_{name.upper()}" for name in Settings.model_fields} == set(KNOWN["exporter"])


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("DECK_PORT", "eighty"),
        ("DECK_PORT", "70000"),
        ("DECK_DURABILITY", "maybe"),
        ("DECK_MAX_SERIES", "0"),
        ("DECK_GROUP_TTL_SEC", "-1"),
        ("DECK_GROUP_TTL_SEC", "nan"),
        ("DECK_ADMIN_API", "perhaps"),
        ("DECK_ALERT_BREAKERS", "TradingDrawdown"),
        ("DECK_ALERT_BREAKERS", "A=b:hold"),
        ("DECK_ALERT_BREAKERS", "A=b,B=c,A=c"),
        ("DECK_READ_AUTH", "1"),
        ("DECK_ALERT_BREAKERS", f"A={'b' * 129}"),
        ("DECK_ALERT_BREAKERS", "A=b\tc"),
        ("DECK_TOKENS_FILE", "/nowhere/tokens"),
        ("DECK_TLS_CERT", __file__),
        ("DECK_STORE_URL", "nonsense"),
        ("DECK_TOKEN", " "),
        ("DECK_TOKEN", "s3cret\n"),
        ("DECK_LOG_LEVEL", "loud"),
    ],
)
def test_a_setting_that_means_nothing_stops_the_start(name: str, value: str) -> None:
    """The message names the setting and what came."""
    with pytest.raises(SettingsError, match=name):
        read_settings({name: value})


@pytest.mark.parametrize("host", ["0.0.0.0", "::", "192.168.1.5", "deck.internal"])
def test_others_are_let_in_only_with_a_token(host: str, tmp_path: Path) -> None:
    """A host beyond loopback needs a token, or the danger said aloud."""
    with pytest.raises(SettingsError, match="DECK_INSECURE=1"):
        read_settings({"DECK_HOST": host})
    assert read_settings({"DECK_HOST": host, "DECK_INSECURE": "1"}).host == host
    assert read_settings({"DECK_HOST": host, "DECK_TOKEN": "t"}).host == host


def test_a_word_may_be_written_in_capitals() -> None:
    """INFO is what most other services want."""
    settings = read_settings(
        {"DECK_LOG_LEVEL": "WARNING", "DECK_LOG_FORMAT": "JSON", "DECK_DURABILITY": "Power"}
    )
    assert (settings.log_level, settings.log_format, settings.durability) == ("warning", "json", "power")


@pytest.mark.parametrize("host", ["127.0.0.1", "::1", "localhost", "LocalHost", "127.9.9.9"])
def test_loopback_needs_no_token(host: str) -> None:
    """Only this machine can reach it."""
    assert read_settings({"DECK_HOST": host}).loopback


def test_secrets_are_masked() -> None:
    """Neither the log line nor the repr shows a token or a database password."""
    settings = read_settings({"DECK_TOKEN": "s3cret", "DECK_STORE_URL": "postgresql+psycopg://u:pa55@h/d"})
    assert "s3cret" not in repr(settings) + str(settings.shown())
    assert "pa55" not in repr(settings) + str(settings.shown())


def test_alerts_are_mapped_to_breakers() -> None:
    """ALERTNAME=BREAKER and ALERTNAME=BREAKER:latch, blanks allowed."""
    settings = read_settings({"DECK_ALERT_BREAKERS": " TradingDrawdown=equity:latch , X=venue,"})
    assert settings.alert_rules() == {
        "TradingDrawdown": AlertRule("equity", latch=True),
        "X": AlertRule("venue", latch=False),
    }


def test_a_wrong_token_setting_is_not_shown() -> None:
    """A message about a token never has it."""
    with pytest.raises(SettingsError) as refused:
        read_settings({"DECK_TOKEN_FILE": "s3cret-pasted-in-the-wrong-place"})
    assert "DECK_TOKEN_FILE" in str(refused.value)
    assert "s3cret" not in str(refused.value)


def test_settings_of_other_parts_are_passed_over() -> None:
    """One `.env` serves all: a name that the client or the allocator reads is none of ours."""
    others = {name: "x" for part, names in KNOWN.items() if part != "exporter" for name in names}
    assert read_settings(others) == read_settings({})


def test_a_certificate_that_is_none_stops_the_start() -> None:
    """The message names both settings."""
    with pytest.raises(SettingsError, match=r"DECK_TLS_CERT .* DECK_TLS_KEY"):
        read_settings({"DECK_TLS_CERT": __file__, "DECK_TLS_KEY": __file__})


def test_no_setting_shows_a_password_of_the_query() -> None:
    """Libpq takes a password there too."""
    settings = read_settings({"DECK_STORE_URL": "postgresql+psycopg://u@h/d?password=s3cretpw"})
    assert "s3cretpw" not in repr(settings) + str(settings.shown())
