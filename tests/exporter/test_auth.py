from __future__ import annotations

import base64
import hashlib
from pathlib import Path

import pytest

from exporter.auth import Auth, read_tokens
from exporter.errors import Forbidden, SettingsError, Unauthorized
from tests.exporter.conftest import Starter


def sha(token: str) -> str:
    return hashlib.sha256(token.encode()).hexdigest()


def basic(user: str, password: str) -> str:
    return "Basic " + base64.b64encode(f"{user}:{password}".encode()).decode()


def sent(authorization: bytes | None) -> dict[bytes, bytes]:
    return {} if authorization is None else {b"authorization": authorization}


@pytest.fixture
def tokens_file(tmp_path: Path) -> Path:
    path = tmp_path / "tokens"
    lines = [
        f"{sha('engine')} push,read the engine",
        f"{sha('alloc').upper()} allocate",
        f"{sha('ops')}  operate  ops",
    ]
    path.write_text("# who may what\n\n" + "\n".join(lines) + "\n")
    return path


def test_a_token_opens_its_scopes_only(tokens_file: Path) -> None:
    """A known token without the scope is 403 and named; an unknown one or none is 401."""
    auth = Auth(read_tokens(None, None, tokens_file))
    assert auth.check(sent(b"Bearer engine"), "push").name == "the engine"
    assert auth.check(sent(b"bearer alloc"), "allocate").name == "line 4"
    with pytest.raises(Forbidden, match="'the engine' has no scope operate"):
        auth.check(sent(b"Bearer engine"), "operate")
    for header in (None, b"", b"Bearer", b"Bearer nobody", b"Basic !", b"Digest x", b"engine"):
        with pytest.raises(Unauthorized) as refused:
            auth.check(sent(header), "push")
        assert "nobody" not in str(refused.value)


def test_basic_has_the_token_as_password(tokens_file: Path) -> None:
    """Pushgateway's clients send Basic; any user name goes, a colon in the token too."""
    auth = Auth([*read_tokens(None, None, tokens_file), *read_tokens("with:colon", None, None)])
    assert auth.check(sent(basic("anyone", "engine").encode()), "push").name == "the engine"
    assert auth.check(sent(basic("", "with:colon").encode()), "operate").name == "token"
    with pytest.raises(Unauthorized):
        auth.check(sent(basic("engine", "").encode()), "push")


def test_reading_is_open_until_it_is_closed(tokens_file: Path) -> None:
    """DECK_READ_AUTH guards /metrics and /status; health needs no token ever."""
    tokens = read_tokens(None, None, tokens_file)
    Auth(tokens).check(sent(None), "read")
    closed = Auth(tokens, read_auth=True)
    closed.check(sent(None), None)
    with pytest.raises(Unauthorized):
        closed.check(sent(None), "read")
    assert closed.check(sent(b"Bearer engine"), "read").name == "the engine"


@pytest.mark.parametrize(
    "line",
    ["abc push", f"{'0' * 64}", f"{'0' * 64} root", f"{'0' * 64} push;read", "secret-token push name"],
)
def test_a_bad_line_is_refused_without_showing_it(tmp_path: Path, line: str) -> None:
    """The message has the line's number, never its text: it may be a token."""
    path = tmp_path / "tokens"
    path.write_text(f"{sha('a')} push\n{line}\n")
    with pytest.raises(SettingsError, match="line 2") as refused:
        read_tokens(None, None, path)
    assert "secret" not in str(refused.value)


@pytest.mark.parametrize("content", ["", "# nothing\n"])
def test_a_file_without_a_token_is_refused(tmp_path: Path, content: str) -> None:
    """An empty file must not mean that nobody needs a token."""
    path = tmp_path / "tokens"
    path.write_text(content)
    with pytest.raises(SettingsError):
        read_tokens(None, None, path)
    with pytest.raises(SettingsError):
        read_tokens(None, path if not content else None, path if content else None)


def test_a_token_has_one_line(tmp_path: Path) -> None:
    """Of two lines one would count and the other's scopes would be lost without a word."""
    path = tmp_path / "tokens"
    path.write_text(f"{sha('a')} push\n{sha('b')} push\n{sha('a').upper()} read\n")
    with pytest.raises(SettingsError, match="line 3: the token of line 1"):
        read_tokens(None, None, path)


def test_only_hashes_are_kept(tokens_file: Path) -> None:
    """No token can be read out of the process's settings."""
    auth = Auth([*read_tokens("in-the-clear", None, tokens_file)])
    assert "in-the-clear" not in repr(vars(auth))


ROUTES = [
    ("POST", "/metrics/push", {"equity_usd": 1}, "push"),
    ("POST", "/trades", [], "push"),
    ("GET", "/trades", None, "read"),
    ("GET", "/status", None, "read"),
    ("POST", "/allocator/weights", {"weights": {"a": 1}}, "allocate"),
    ("GET", "/allocator/weights", None, "read"),
    ("GET", "/allocator/weights/history", None, "read"),
    ("GET", "/breakers", None, "read"),
    ("GET", "/breakers/history", None, "read"),
    ("POST", "/breakers/manual", {"tripped": False, "reason": "x"}, "operate"),
    ("POST", "/alerts", {"version": "4", "alerts": []}, "operate"),
    ("GET", "/metrics", None, "read"),
    ("PUT", "/metrics/job/j", b"m 1\n", "push"),
    ("POST", "/metrics/job/j", b"m 1\n", "push"),
    ("DELETE", "/metrics/job/j", None, "push"),
    ("GET", "/api/v1/metrics", None, "read"),
    ("GET", "/api/v1/status", None, "read"),
    ("PUT", "/api/v1/admin/wipe", None, "operate"),
    ("PUT", "/-/quit", None, "operate"),
    ("GET", "/", None, "read"),
]


def test_every_route_asks_for_its_scope(make_deck: Starter, tmp_path: Path) -> None:
    """Without a token 401 with a challenge, with another scope 403, with the scope neither."""
    path = tmp_path / "tokens"
    path.write_text("".join(f"{sha(scope)} {scope}\n" for scope in ("push", "allocate", "operate", "read")))
    deck = make_deck(DECK_TOKENS_FILE=str(path), DECK_READ_AUTH="1", DECK_ADMIN_API="1")
    deck.app.service.stop = lambda: None
    for method, route, body, scope in ROUTES:
        none = deck.send(method, route, body)
        assert (none.status, "www-authenticate" in none.headers) == (401, True), (method, route)
        other = "read" if scope != "read" else "push"
        assert deck.send(method, route, body, {"Authorization": f"Bearer {other}"}).status == 403, (
            method,
            route,
        )
        with_scope = deck.send(method, route, body, {"Authorization": basic("me", scope)})
        assert with_scope.status not in (401, 403), (method, route)
    for open_to_all in ("/-/healthy", "/-/ready"):
        assert deck.send("GET", open_to_all).status == 200


@pytest.mark.parametrize(
    ("host", "origin"),
    [
        ("127.0.0.1:8002", "https://evil.example"),
        ("127.0.0.1:8002", "null"),
        ("127.0.0.1:8002", "http://127.0.0.1:9999"),
        ("127.0.0.1:8002", "127.0.0.1:8002"),
        ("evil.example:8002", "http://evil.example:8002"),
        ("localhost.evil.example", "http://localhost.evil.example"),
    ],
)
def test_a_web_page_of_another_site_writes_nothing(make_deck: Starter, host: str, origin: str) -> None:
    """A browser posts text to a loopback deck for any page it shows; the deck refuses and changes nothing.

    The page may come under a name that its owner has pointed to this machine.
    """
    deck = make_deck(DECK_ADMIN_API="1")
    deck.app.service.stop = lambda: pytest.fail("a web page stopped the deck")
    for method, route, body, scope in ROUTES:
        headers = {"Host": host, "Origin": origin, "Content-Type": "text/plain"}
        answer = deck.send(method, route, body, headers)
        assert (answer.status == 403) == (scope != "read"), (method, route)
        if scope != "read":
            assert "a web page of another site may not write here" in answer.text
    assert deck.send("GET", "/status").json["weights"]["version"] == 0
    assert deck.send("GET", "/status").json["groups"] == 0


@pytest.mark.parametrize(
    ("token", "host", "origin"),
    [
        (None, "127.0.0.1:8002", None),
        (None, "deck:8002", None),
        (None, "127.0.0.1:8002", "http://127.0.0.1:8002"),
        (None, "LOCALHOST:8002", "http://localhost:8002"),
        (None, "[::1]:8002", "http://[::1]:8002"),
        ("t", "deck.example.com", "https://deck.example.com"),
    ],
)
def test_programs_and_the_decks_own_page_write(
    make_deck: Starter, token: str | None, host: str, origin: str | None
) -> None:
    """What sends no Origin is no browser; under a name of its own a deck needs a token anyway."""
    deck = make_deck(**({"DECK_TOKEN": token} if token else {}))
    headers = {"Host": host, **({"Origin": origin} if origin else {})}
    if token:
        headers["Authorization"] = f"Bearer {token}"
    assert deck.send("POST", "/allocator/weights", {"weights": {"a": 1}}, headers).status == 200
    assert deck.send("PUT", "/metrics/job/j", b"m 1\n", headers).status == 200


def test_who_did_it_is_in_the_history(make_deck: Starter, tmp_path: Path) -> None:
    """Weights and breakers remember the name of the token that changed them."""
    path = tmp_path / "tokens"
    path.write_text(f"{sha('a')} allocate the allocator\n{sha('o')} operate Ada\n")
    deck = make_deck(DECK_TOKENS_FILE=str(path))
    deck.send("POST", "/allocator/weights", {"weights": {"a": 1}}, {"Authorization": "Bearer a"})
    body = {"tripped": True, "reason": "x"}
    deck.send("POST", "/breakers/manual", body, {"Authorization": "Bearer o"})
    assert deck.send("GET", "/allocator/weights/history").json["history"][0]["who"] == "the allocator"
    assert deck.send("GET", "/breakers/history").json["history"][0]["who"] == "Ada"
