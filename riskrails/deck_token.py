"""The token that the deck asks for, by the rule of the engine's client.

riskrails imports nobody, so the rule stands here once more; a test holds both equal.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from riskrails.errors import RiskInputError

__all__ = ["deck_token"]


def deck_token(given: str | None, environ: Mapping[str, str]) -> str | None:
    """What was given, else DECK_TOKEN, else the content of the file that DECK_TOKEN_FILE names; None if none.

    Raises:
        RiskInputError: E_DECK; the file cannot be read, or a header cannot carry the token.  It is not shown.
    """
    token, name = given, "token"
    if given is not None and not isinstance(given, str):
        raise RiskInputError("E_DECK", "token", f"token is a {type(given).__name__}: want a text")
    if token is None:
        token, name = environ.get("DECK_TOKEN"), "DECK_TOKEN"
        file = environ.get("DECK_TOKEN_FILE")
        if not token and file:
            token, name = _content(file), "DECK_TOKEN_FILE"
    token = (token or "").strip()
    # Checked here: http.client would show it in its own refusal.
    if not token.isascii() or not token.isprintable() or " " in token:
        raise RiskInputError("E_DECK", name, f"{name} has a space or a sign no header can carry")
    return token or None


def _content(file: str) -> str:
    try:
        return Path(file).read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as cause:
        message = f"DECK_TOKEN_FILE {file} cannot be read: {cause}"
        raise RiskInputError("E_DECK", "DECK_TOKEN_FILE", message) from cause
