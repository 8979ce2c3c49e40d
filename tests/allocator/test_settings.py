"""Settings: defaults, ranges, secrets, what does not fit together."""

from __future__ import annotations

import pytest
from pydantic import ValidationError

from allocator.decision import Limits
from allocator.errors import SettingsError
from allocator.settings import Settings, load
from deckrails.dotenv import KNOWN


def test_defaults_are_the_documented_ones():
    """An empty environment is the default of every setting."""
    settings = load({})
    assert settings.limits == Limits()
    assert (settings.deck_url, settings.prometheus_url) == ("http://localhost:8002", "http://localhost:9090")
    assert (settings.refresh_sec, settings.stale_after_sec) == (600.0, 1800.0)
    assert settings.pnl_metric == "job_strategy:trading_strategy_pnl_usd:sum_fresh"
    assert (settings.allocator_host, settings.allocator_port) == ("127.0.0.1", 8003)


def test_every_known_name_is_read():
    """The names that `.env` may hold for the allocator are the names it reads."""
    own = {str(field.alias) for field in Settings.model_fields.values()}
    assert own - {"DECK_TOKEN", "DECK_LOG_LEVEL", "DECK_LOG_FORMAT"} == set(KNOWN["allocator"])


def test_staleness_follows_the_period():
    """Three refreshes, unless something is said."""
    assert load({"REFRESH_SEC": "2"}).stale_after_sec == 6.0
    assert load({"REFRESH_SEC": "2", "STALE_AFTER_SEC": "30"}).stale_after_sec == 30.0


@pytest.mark.parametrize(
    ("name", "value", "wanted"),
    [
        ("MAX_SHARE", "1.4", "above 0, at most 1"),
        ("MAX_SHARE", "0", "above 0, at most 1"),
        ("MIN_SHARE", "-0.1", "0 to MAX_SHARE"),
        ("MIN_SHARE", "0.7", "0 to MAX_SHARE"),
        ("MIN_SHARE", "nan", "0 to MAX_SHARE"),
        ("EXPLORATION", "2", "0 to 1"),
        ("EMA_ALPHA", "0", "above 0, at most 1"),
        ("MAX_STEP", "0", "above 0, at most 1"),
        ("DEAD_BAND", "1", "0 to below 1"),
        ("MIN_READINGS", "2.5", "1 to 4032"),
        ("MIN_READINGS", "0", "1 to 4032"),
        ("REFRESH_SEC", "soon", "0.1 to 86400"),
        ("REFRESH_SEC", "inf", "0.1 to 86400"),
        ("REFRESH_SEC", "0", "0.1 to 86400"),
        ("STALE_AFTER_SEC", "0", "above 0"),
        ("ALLOCATOR_PORT", "70000", "1 to 65535"),
        ("PROMETHEUS_URL", "localhost:9090", "http"),
        ("PROMETHEUS_URL", "http://user:pw@host", "without user"),
        ("DECK_URL", "ftp://host", "http"),
        ("PROMETHEUS_TENANT", "two words", "no space"),
        ("PROMETHEUS_CA", "/nowhere.pem", "readable PEM file"),
        ("PNL_METRIC", "a b", "metric name"),
        ("PNL_SELECTOR", '{job="x"}', "without braces"),
        ("PNL_SELECTOR", 'job="x"} or {a="b"', "without braces"),
        ("DECK_LOG_LEVEL", "loud", "debug, info"),
        ("DECK_LOG_FORMAT", "xml", "console or json"),
    ],
)
def test_a_bad_setting_is_named_with_its_value_and_range(name, value, wanted):
    """Who reads the message knows which variable, what it was, what it may be."""
    with pytest.raises(SettingsError) as caught:
        load({name: value})
    assert f"{name}={value}: want " in str(caught.value)
    assert wanted in str(caught.value)


def test_all_bad_settings_are_told_at_once():
    """One line each."""
    with pytest.raises(SettingsError) as caught:
        load({"MAX_SHARE": "9", "EMA_ALPHA": "9"})
    assert len(str(caught.value).splitlines()) == 2


def test_a_file_that_is_no_certificate_is_refused(tmp_path):
    """PROMETHEUS_CA is looked into at the start, not at the first query."""
    (tmp_path / "ca.pem").write_text("no certificate")
    with pytest.raises(SettingsError, match="readable PEM file"):
        load({"PROMETHEUS_URL": "https://p", "PROMETHEUS_CA": str(tmp_path / "ca.pem")})


@pytest.mark.parametrize(
    ("given", "says"),
    [
        ({"PROMETHEUS_TOKEN": "t", "PROMETHEUS_USER": "u"}, "both set"),
        ({"PROMETHEUS_PASSWORD": "p"}, "without PROMETHEUS_USER"),
        ({"MIN_SHARE": "0.5", "MAX_SHARE": "0.4"}, "which is 0.4"),
    ],
)
def test_settings_that_do_not_fit_together_are_refused(given, says):
    """Two settings that contradict each other stop the start."""
    with pytest.raises(SettingsError, match=says):
        load(given)


@pytest.mark.parametrize("selector", ["", 'job="x"', "job='x', a=~\"b.*\"", 'a!="",b!~"c{2}",'])
def test_selectors_that_prometheus_takes_are_taken(selector):
    """Matchers, several, in either quotes, braces inside quotes."""
    assert load({"PNL_SELECTOR": selector}).pnl_selector == selector


def test_secrets_are_masked_where_settings_are_shown():
    """A token appears neither in the log nor in an error."""
    settings = load({"DECK_TOKEN": "hush-1", "PROMETHEUS_USER": "u", "PROMETHEUS_PASSWORD": "hush-2"})
    assert "hush" not in str(settings.shown()) + repr(settings)
    assert settings.shown()["DECK_TOKEN"] == "********"


def test_the_token_may_stand_in_a_file(tmp_path):
    """DECK_TOKEN_FILE is the same token, from a secret's file."""
    (tmp_path / "token").write_text("hush\n")
    token = load({"DECK_TOKEN_FILE": str(tmp_path / "token")}).deck_token
    assert token is not None
    assert token.get_secret_value() == "hush"
    with pytest.raises(SettingsError, match="DECK_TOKEN_FILE=/nowhere"):
        load({"DECK_TOKEN_FILE": "/nowhere"})


def test_settings_are_frozen():
    """Read once, never changed."""
    with pytest.raises(ValidationError):
        setattr(load({}), "refresh_sec", 5)  # noqa: B010 - what the type forbids too


def test_a_request_may_take_a_quarter_of_the_period():
    """Bounded to 2 to 30 s."""
    assert load({}).request_timeout_seconds == 30.0
    assert load({"REFRESH_SEC": "1"}).request_timeout_seconds == 2.0
    assert load({"REFRESH_SEC": "60"}).request_timeout_seconds == 15.0


def test_a_trailing_slash_does_not_matter():
    """Paths are appended to what is left."""
    assert load({"PROMETHEUS_URL": "http://p:1/select/0/prometheus/"}).prometheus_url.endswith("prometheus")
