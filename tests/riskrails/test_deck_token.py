"""The deck's token: the same rule as the engine's client, and never shown."""

from __future__ import annotations

from pathlib import Path

import pytest

from exporter.deck_errors import DeckInputError
from exporter.deck_metrics import token_from
from riskrails import RiskInputError
from riskrails.deck import DeckState
from riskrails.deck_token import deck_token
from riskrails.telemetry import Telemetry


@pytest.fixture
def secret(tmp_path: Path) -> str:
    """A file with a token and the line end an editor leaves."""
    file = tmp_path / "token"
    file.write_text("from-file\n")
    return str(file)


@pytest.mark.parametrize("token", [None, "", "from-env"])
@pytest.mark.parametrize("has_file", [False, True])
def test_the_environment_is_read_as_the_engines_client_reads_it(
    token: str | None, has_file: bool, secret: str
) -> None:
    """DECK_TOKEN before DECK_TOKEN_FILE, an empty one is none."""
    environ = {} if token is None else {"DECK_TOKEN": token}
    environ |= {"DECK_TOKEN_FILE": secret} if has_file else {"DECK_TOKEN_FILE": ""}
    assert deck_token(None, environ) == token_from(environ)
    assert deck_token(None, environ) == (token or ("from-file" if has_file else None))


def test_what_is_given_wins_and_an_empty_one_is_none(secret: str) -> None:
    """An engine that says `token=""` sends none, whatever the environment has."""
    environ = {"DECK_TOKEN": "from-env", "DECK_TOKEN_FILE": secret}
    assert deck_token(" mine\n", environ) == "mine"
    assert deck_token("", environ) is None


def test_a_file_that_cannot_be_read_is_refused_by_the_settings_name(tmp_path: Path) -> None:
    """A missing secret is not "no token"; neither is one that is no text."""
    odd = tmp_path / "odd"
    odd.write_bytes(b"hush\xff")
    for file in ("/nowhere/token", str(odd)):
        environ = {"DECK_TOKEN_FILE": file}
        with pytest.raises(DeckInputError):
            token_from(environ)
        with pytest.raises(RiskInputError, match=f"DECK_TOKEN_FILE {file} cannot be read") as refused:
            deck_token(None, environ)
        assert (refused.value.code, refused.value.field) == ("E_DECK", "DECK_TOKEN_FILE")
        assert "hush" not in str(refused.value)


@pytest.mark.parametrize("token", ["hu sh", "hush\nhush", "hüsh", "hush\x00"])
def test_a_token_no_header_can_carry_is_refused_without_being_shown(token: str, tmp_path: Path) -> None:
    """The message names where it came from, never the token."""
    file = tmp_path / "token"
    file.write_text(token, encoding="utf-8")
    for given, environ, name in (
        (token, {}, "token"),
        (None, {"DECK_TOKEN": token}, "DECK_TOKEN"),
        (None, {"DECK_TOKEN_FILE": str(file)}, "DECK_TOKEN_FILE"),
    ):
        with pytest.raises(RiskInputError, match=f"{name} has a space or a sign") as refused:
            deck_token(given, environ)
        assert token not in str(refused.value)


def test_both_that_talk_to_the_deck_refuse_a_file_that_is_not_there(monkeypatch: pytest.MonkeyPatch) -> None:
    """At the start of one, at each push of the other."""
    monkeypatch.delenv("DECK_TOKEN", raising=False)
    monkeypatch.setenv("DECK_TOKEN_FILE", "/nowhere/token")
    with pytest.raises(RiskInputError, match="DECK_TOKEN_FILE"):
        DeckState("http://127.0.0.1:9")
    with pytest.raises(RiskInputError, match="DECK_TOKEN_FILE"):
        Telemetry().push("http://127.0.0.1:9")
