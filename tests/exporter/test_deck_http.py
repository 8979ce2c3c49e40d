"""One request: how often it is tried, how long it waits, and what each answer means."""

from __future__ import annotations

import socket
import threading
from collections.abc import Iterator
from contextlib import suppress
from typing import Any, Self

import pytest

from exporter.deck_errors import (
    DeckAnswerError,
    DeckAuthError,
    DeckInputError,
    DeckRefusedError,
    DeckUnavailableError,
)
from exporter.deck_http import DeckHttp, RetryPolicy, deck_url, retry_after_seconds
from tests.fakes.http_deck import Scripted, StandInDeck


@pytest.fixture
def deck() -> Iterator[StandInDeck]:
    with StandInDeck() as running:
        yield running


class Waits(list[float]):
    """Remembers the waits instead of waiting."""

    def __call__(self, seconds: float) -> None:
        self.append(seconds)


@pytest.fixture
def waits() -> Waits:
    return Waits()


@pytest.fixture
def http(deck: StandInDeck, waits: Waits) -> Iterator[DeckHttp]:
    client = DeckHttp(deck.url, "secret", sleep=waits, dice=lambda: 1.0, now=lambda: 1_700_000_000.0)
    yield client
    client.close()


def push(http: DeckHttp) -> dict[str, Any]:
    return http.call("POST", "/metrics/push", b'{"equity_usd":1.0}')


def test_a_2xx_gives_the_decks_object_and_the_token_goes_as_bearer(deck: StandInDeck, http: DeckHttp) -> None:
    """One request, no retry."""
    assert push(http) == {"accepted": 1}
    assert deck.seen[0].headers["Authorization"] == "Bearer secret"
    assert http.retried == 0


@pytest.mark.parametrize("status", [429, 500, 502, 503, 0])
def test_what_may_pass_is_tried_again_with_growing_waits(
    deck: StandInDeck, http: DeckHttp, waits: Waits, status: int
) -> None:
    """429, 5xx and a connection that hangs up (0 here) are worth another try."""
    deck.script += [Scripted(status, {"error": "busy", "detail": "later"})] * 2
    assert push(http) == {"accepted": 1}
    assert waits == [0.1, 0.2]
    assert http.retried == 2


def test_the_tries_are_bounded_and_the_error_says_what_the_deck_said(
    deck: StandInDeck, http: DeckHttp, waits: Waits
) -> None:
    """Four attempts, three waits, then the caller hears it."""
    deck.script += [Scripted(503, {"error": "disk_full", "detail": "the disk is full"})] * 9
    with pytest.raises(DeckUnavailableError, match="503: the disk is full") as failed:
        push(http)
    assert (failed.value.status, failed.value.attempts, len(deck.seen), len(waits)) == (503, 4, 4, 3)


def test_a_deck_that_is_not_there_is_named_with_its_address() -> None:
    """Connection refused, in words a person can act on."""
    deck = StandInDeck().start()
    deck.stop()
    http = DeckHttp(deck.url, None, sleep=Waits())
    with pytest.raises(DeckUnavailableError, match=rf"{deck.url}/status.*refused") as failed:
        http.call("GET", "/status")
    assert failed.value.status is None


def test_retry_after_is_obeyed_and_one_that_is_too_long_ends_the_tries(
    deck: StandInDeck, http: DeckHttp, waits: Waits
) -> None:
    """Hammering a deck that asked for peace helps nobody; waiting a minute in a call helps nobody either."""
    deck.script.append(Scripted(429, {"error": "limit", "detail": "x"}, {"Retry-After": "2"}))
    deck.script.append(Scripted(429, {"error": "limit", "detail": "x"}, {"Retry-After": "60"}))
    with pytest.raises(DeckUnavailableError) as failed:
        push(http)
    assert waits == [2.0]
    assert failed.value.retry_after_seconds == 60.0


@pytest.mark.parametrize(
    ("header", "want"),
    [
        (None, None),
        ("3", 3.0),
        ("Tue, 14 Nov 2023 22:13:25 GMT", 5.0),
        ("Tue, 14 Nov 2023 22:13:00 GMT", 0.0),
        ("soon", None),
        ("-5", None),
        ("\u00b2", None),
    ],
)
def test_retry_after_is_read_as_seconds_or_a_date(header: str | None, want: float | None) -> None:
    """Both forms of the header; a past date means now, nonsense means nothing."""
    assert retry_after_seconds(header, lambda: 1_700_000_000.0) == want


def test_jitter_spreads_the_waits_over_the_whole_interval() -> None:
    """Engines that lost the same deck must not come back in step."""
    policy = RetryPolicy(base_seconds=1.0, cap_seconds=4.0)
    assert [policy.wait_seconds(n, lambda: 1.0) for n in (1, 2, 3, 4, 5000)] == [1, 2, 4, 4, 4]
    assert policy.wait_seconds(3, lambda: 0.0) == 0.0
    assert policy.wait_seconds(3, lambda: 0.25) == 1.0


@pytest.mark.parametrize("status", [400, 404, 409, 412, 413, 422])
def test_a_refusal_is_not_tried_again_and_carries_what_the_deck_said(
    deck: StandInDeck, http: DeckHttp, status: int
) -> None:
    """Sending it again would be refused again."""
    deck.script.append(
        Scripted(status, {"error": "out_of_range", "detail": "1.4: want 0 to 1", "field": "a.b"})
    )
    with pytest.raises(DeckRefusedError, match=r"out_of_range: 1\.4: want 0 to 1 \(field a\.b\)") as refused:
        push(http)
    error = refused.value
    assert (error.status, error.error, error.detail, error.field) == (
        status,
        "out_of_range",
        "1.4: want 0 to 1",
        "a.b",
    )
    assert error.is_verdict is (status in {400, 409, 413, 422})
    assert len(deck.seen) == 1


@pytest.mark.parametrize("status", [401, 403])
def test_a_token_the_deck_does_not_take_is_an_error_of_its_own(
    deck: StandInDeck, http: DeckHttp, status: int
) -> None:
    """The content was not judged, so no trade may be set aside for it; and the token is in no message."""
    deck.script.append(Scripted(status, {"error": "unauthorized", "detail": "no such token", "field": None}))
    with pytest.raises(DeckAuthError, match="no such token") as refused:
        push(http)
    assert not refused.value.is_verdict
    assert "secret" not in str(refused.value)


def test_a_proxys_own_400_is_no_verdict_on_the_content(deck: StandInDeck, http: DeckHttp) -> None:
    """Only a JSON refusal is the deck's judgement; a web page says that something else stands in between."""
    deck.script.append(Scripted(400, "<html>\n  400 Bad Request\n</html>"))
    with pytest.raises(DeckRefusedError, match="http_400: <html> 400 Bad Request </html>") as refused:
        push(http)
    assert not refused.value.is_verdict


@pytest.mark.parametrize(
    "answer", [Scripted(200, "<html>hello</html>"), Scripted(200, [1]), Scripted(204, "")]
)
def test_a_2xx_that_is_not_a_decks_is_no_success(deck: StandInDeck, http: DeckHttp, answer: Scripted) -> None:
    """A login page answers 200 too; a trade given to it is not delivered."""
    deck.script.append(answer)
    with pytest.raises(DeckAnswerError, match="is DECK_URL a deck"):
        push(http)


def test_a_redirect_is_not_followed(deck: StandInDeck, http: DeckHttp) -> None:
    """Followed, a POST would turn into a GET and the trade would be gone with a 200."""
    deck.script.append(Scripted(301, {}, {"Location": "https://elsewhere/"}))
    with pytest.raises(DeckAnswerError, match="https://elsewhere/"):
        push(http)
    assert len(deck.seen) == 1


class Rude:
    """A server of raw bytes: sends `head` once, then `drip` again and again until it is hung up on."""

    def __init__(self, head: bytes, drip: bytes = b"", gap_seconds: float = 0.0) -> None:
        self.head, self.drip, self.gap_seconds = head, drip, gap_seconds
        self.sent = 0
        self._done = threading.Event()

    def __enter__(self) -> Self:
        self._door = socket.create_server(("127.0.0.1", 0))
        self.url = f"http://127.0.0.1:{self._door.getsockname()[1]}"
        self._thread = threading.Thread(target=self._serve)
        self._thread.start()
        return self

    def _serve(self) -> None:
        guest, _ = self._door.accept()
        with guest, suppress(OSError):
            guest.settimeout(10)
            guest.recv(65536)
            guest.sendall(self.head)
            while not self._done.wait(self.gap_seconds):
                self.sent += guest.send(self.drip)

    def __exit__(self, *_: object) -> None:
        self._done.set()
        self._thread.join()
        self._door.close()


@pytest.mark.parametrize(
    ("head", "drip"),
    [
        (b"", b""),
        (b"", b"H"),
        (b"", b"HTTP/1.1 100 Continue\r\n\r\n"),
        (b"HTTP/1.1 200 OK\r\nX-Name: ", b"a"),
        (b"HTTP/1.1 200 OK\r\nContent-Length: 1000000000\r\n\r\n", b" "),
        (b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n", b"1\r\n \r\n"),
        (b"HTTP/1.1 503 Busy\r\n\r\n", b" "),
    ],
)
def test_an_answer_that_drips_is_given_up_at_the_deadline(head: bytes, drip: bytes) -> None:
    """Each byte is in time and the whole never is; the deadline is for the whole, headers included."""
    with Rude(head, drip, gap_seconds=0.02) as rude:
        http = DeckHttp(rude.url, None, timeout_seconds=(1.0, 0.2), retry=RetryPolicy(attempts=1))
        caller = threading.Thread(target=_fails, args=(http, DeckUnavailableError), daemon=True)
        caller.start()
        caller.join(10)
        assert not caller.is_alive()


def _fails(http: DeckHttp, kind: type[Exception]) -> None:
    with pytest.raises(kind):
        push(http)


@pytest.mark.parametrize("length", [b"", b"Content-Length: 1000000000\r\n"])
def test_an_answer_without_end_is_not_read_to_its_end(length: bytes) -> None:
    """No deck says so much; the engine's memory is not for it."""
    with Rude(b"HTTP/1.1 200 OK\r\n" + length + b"\r\n", b" " * 100_000) as rude:
        http = DeckHttp(rude.url, None, timeout_seconds=(1.0, 20.0), retry=RetryPolicy(attempts=1))
        with pytest.raises(DeckAnswerError, match="more than 16777216 bytes"):
            push(http)
    assert rude.sent < 100_000_000


@pytest.mark.parametrize(
    ("head", "kind"),
    [
        (b"SSH-2.0-OpenSSH_9.2\r\n", DeckUnavailableError),
        (b"\x15\x03\x01\x00\x02\x02\x16" * 20_000, DeckUnavailableError),
        (b"HTTP/1.1 200 OK\r\nContent-Length: 50\r\n\r\n{}", DeckUnavailableError),
        (b"HTTP/1.1 200 OK\r\nContent-Encoding: gzip\r\nContent-Length: 2\r\n\r\n{}", DeckUnavailableError),
        (b"HTTP/1.1 200 OK\r\nContent-Length: 200000\r\n\r\n" + b"[" * 200_000, DeckAnswerError),
        (b"HTTP/1.1 400 No\r\nContent-Length: 200000\r\n\r\n" + b"[" * 200_000, DeckRefusedError),
    ],
)
def test_bytes_that_are_no_answer_are_an_error_of_the_client(head: bytes, kind: type[Exception]) -> None:
    """Another protocol, half a body, a wrong encoding, a page of brackets: a DeckError each."""
    with Rude(head, gap_seconds=0.05) as rude:
        http = DeckHttp(rude.url, None, timeout_seconds=(1.0, 1.0), retry=RetryPolicy(attempts=1))
        with pytest.raises(kind):
            push(http)


def test_a_ca_bundle_that_is_gone_is_an_error_of_the_client(deck: StandInDeck) -> None:
    """Certificates are replaced under a running engine."""
    http = DeckHttp("https" + deck.url[4:], None, verify="/nowhere/ca.pem", retry=RetryPolicy(attempts=1))
    with pytest.raises(DeckUnavailableError, match="/nowhere/ca"):
        push(http)


@pytest.mark.parametrize(
    "url",
    [
        "localhost:8002",
        "//deck:8002",
        "ftp://deck",
        "",
        "http://",
        "http://:8002",
        "http://deck:99999",
        "http://deck:0",
        "http://deck:port",
        "http://[::1",
        "http://the deck:8002",
        "http://deck\t:8002",
        "http://deck:8002/?engine=a",
        "http://deck:8002/#top",
        5,
        b"http://deck:8002",
    ],
)
def test_an_address_that_cannot_work_is_refused_at_birth(url: Any) -> None:
    """Before the first push, with the setting's name."""
    with pytest.raises(DeckInputError, match="DECK_URL"):
        DeckHttp(url, None)


@pytest.mark.parametrize(
    "url",
    ["http://user:hush@deck:8002", "user:hush@deck:8002", "ftp://u:hush@deck", "http://u:hush@deck:99999"],
)
def test_a_password_in_an_address_is_refused_without_being_shown(url: str) -> None:
    """Whatever else is wrong with the address: the message may end in a log."""
    with pytest.raises(DeckInputError, match="DECK_URL") as refused:
        DeckHttp(url, None)
    assert "hush" not in str(refused.value)


@pytest.mark.parametrize("token", ["a b", "ключ", "a\nb", "a\x00"])
def test_a_token_no_header_can_carry_is_refused_without_being_shown(token: str) -> None:
    """The message names the setting, never the token."""
    with pytest.raises(DeckInputError, match="DECK_TOKEN") as refused:
        DeckHttp("http://deck:8002", token)
    assert token not in str(refused.value)


def test_a_trailing_slash_of_the_address_is_dropped() -> None:
    """`http://deck:8002/` and `http://deck:8002` are one deck; a proxy's prefix and IPv6 are fine."""
    assert deck_url(" http://deck:8002/ ") == "http://deck:8002"
    assert deck_url("https://proxy/decks/one/") == "https://proxy/decks/one"
    assert deck_url("http://[::1]:8002") == "http://[::1]:8002"


def test_a_proxy_of_the_environment_does_not_catch_what_stays_on_this_machine(
    deck: StandInDeck, http: DeckHttp, monkeypatch: pytest.MonkeyPatch
) -> None:
    """An engine behind a company proxy still reaches the deck beside it."""
    monkeypatch.setenv("HTTP_PROXY", "http://127.0.0.1:9")
    monkeypatch.delenv("NO_PROXY", raising=False)
    assert push(http) == {"accepted": 1}
