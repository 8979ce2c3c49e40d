"""Tokens and scopes.

Only hashes of tokens are kept in memory, and every known one is compared in constant time, so neither the
answer's time nor a dump of this process tells a token.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import hmac
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from ipaddress import ip_address
from pathlib import Path

from exporter.errors import Forbidden, SettingsError, Unauthorized

__all__ = ["SCOPES", "Auth", "Caller", "read_tokens"]

SCOPES = frozenset({"push", "allocate", "operate", "read"})
_LINE = re.compile(r"([0-9a-fA-F]{64})[ \t]+([a-z,]+)(?:[ \t]+(\S.*))?\Z")


@dataclass(frozen=True, slots=True)
class Caller:
    """Who a token belongs to.

    Attributes:
        name: For the histories; empty without authentication.
    """

    name: str
    scopes: frozenset[str]


ANYONE = Caller("", SCOPES)


@dataclass(frozen=True, slots=True)
class Token:
    """A token by its SHA-256, in hex."""

    digest: str
    caller: Caller


def read_tokens(token: str | None, token_file: Path | None, tokens_file: Path | None) -> list[Token]:
    """The configured tokens.

    Raises:
        SettingsError: A file cannot be read or a line of it means nothing; the message never has a token.
    """
    tokens: list[Token] = []
    lines: dict[str, int] = {}
    for value in (token, _read(token_file, "DECK_TOKEN_FILE").strip() if token_file else None):
        if value is not None:
            if not value:
                raise SettingsError("DECK_TOKEN_FILE is empty: want one token")
            tokens.append(Token(_digest(value.encode()), Caller("token", SCOPES)))
    if tokens_file:
        for number, line in enumerate(_read(tokens_file, "DECK_TOKENS_FILE").splitlines(), 1):
            if not line.strip() or line.lstrip().startswith("#"):
                continue
            found = _LINE.match(line.strip())
            scopes = frozenset(filter(None, found[2].split(","))) if found else frozenset()
            if not found or not scopes or scopes - SCOPES:
                raise SettingsError(
                    f"DECK_TOKENS_FILE line {number}: want `sha256-of-token scope,scope name` with scopes "
                    f"{', '.join(sorted(SCOPES))}"
                )
            digest = found[1].lower()
            if digest in lines:
                raise SettingsError(
                    f"DECK_TOKENS_FILE line {number}: the token of line {lines[digest]} once more: want one "
                    "line with all its scopes"
                )
            lines[digest] = number
            tokens.append(Token(digest, Caller((found[3] or f"line {number}").strip(), scopes)))
        if not tokens:
            raise SettingsError("DECK_TOKENS_FILE has no token")
    return tokens


def _read(path: Path, name: str) -> str:
    try:
        return path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise SettingsError(f"{name} cannot be read: {error}") from None


def _digest(token: bytes) -> str:
    return hashlib.sha256(token).hexdigest()


class Auth:
    """Checks where a request comes from and what its token may do."""

    def __init__(self, tokens: Iterable[Token] = (), *, read_auth: bool = False) -> None:
        self._tokens = list(tokens)
        self._read_auth = read_auth

    def check(self, headers: Mapping[bytes, bytes], scope: str | None) -> Caller:
        """Who calls.

        Args:
            headers: By lower-case name; Authorization is `Bearer TOKEN`, or `Basic` with it as password.
            scope: What the route asks for; None for routes open to all.

        Raises:
            Unauthorized: A token is needed and there is none or an unknown one.
            Forbidden: The token has other scopes, or a web page of another site would write.
        """
        if scope not in (None, "read") and b"origin" in headers:
            self._refuse_foreign_page(headers[b"origin"], headers.get(b"host", b""))
        if not self._tokens or scope is None or (scope == "read" and not self._read_auth):
            return ANYONE
        presented = _token_of(headers.get(b"authorization"))
        if presented is None:
            raise Unauthorized(
                "this route needs a token: send `Authorization: Bearer TOKEN`, or Basic with it as password"
            )
        digest = _digest(presented)
        caller: Caller | None = None
        for token in self._tokens:
            if hmac.compare_digest(token.digest, digest):
                caller = token.caller
        if caller is None:
            raise Unauthorized("the token is not known")
        if scope not in caller.scopes:
            raise Forbidden(
                f"the token {caller.name!r} has no scope {scope}: it has {', '.join(sorted(caller.scopes))}"
            )
        return caller

    def _refuse_foreign_page(self, origin: bytes, host: bytes) -> None:
        """Let no web page of another site write: a browser sends its form to a loopback deck without asking.

        Without tokens a page is the deck's own under an address or localhost alone: any other name may have
        been pointed here by the page's owner (DNS rebinding).  What is no browser sends no Origin.
        """
        own = origin.partition(b"://")[2].lower() == host.lower()
        if own and (self._tokens or _is_of_this_machine(host)):
            return
        shown = origin[:80].decode("latin-1")
        raise Forbidden(f"Origin is {shown!r}: a web page of another site may not write here", "Origin")


def _is_of_this_machine(host: bytes) -> bool:
    name = re.sub(r":[0-9]*$", "", host.decode("latin-1")).lower()
    if name == "localhost" or name.endswith(".localhost"):
        return True
    try:
        ip_address(name.strip("[]"))
    except ValueError:
        return False
    return True


def _token_of(header: bytes | None) -> bytes | None:
    if header is None:
        return None
    scheme, _, rest = header.strip().partition(b" ")
    rest = rest.strip()
    if scheme.lower() == b"bearer":
        return rest or None
    if scheme.lower() == b"basic":
        try:
            decoded = base64.b64decode(rest, validate=True)
        except (binascii.Error, ValueError):
            return None
        return decoded.partition(b":")[2] or None
    return None
