"""What the allocator needs of the exporter holds on the exporter and on the fake."""

from __future__ import annotations

import pytest
import requests

from allocator.decision import InForce
from allocator.errors import ConflictError, PublishError
from allocator.explain import LONGEST_REASON
from allocator.publisher import DeckPublisher
from scripts import native
from tests.allocator.gate import Gate
from tests.fakes.deck import FakeDeck

TOKEN = "test-token-of-the-deck"
AS_OF = 1_700_000_400.0


@pytest.fixture(scope="module")
def exporter(tmp_path_factory):
    directory = tmp_path_factory.mktemp("deck")
    port = native.free_port()
    settings = {"DECK_TOKEN": TOKEN, "DECK_READ_AUTH": "1"}
    child = native.exporter(port, f"sqlite:///{directory / 'deck.db'}", directory / "log", settings)
    # Everything but health wants a token here.
    child.ready_url = f"http://127.0.0.1:{port}/-/healthy"
    with child.start():
        yield f"http://127.0.0.1:{port}"


@pytest.fixture(params=["fake", "exporter"])
def deck(request):
    if request.param == "fake":
        yield FakeDeck()
        return
    with DeckPublisher(request.getfixturevalue("exporter"), token=TOKEN) as publisher:
        yield publisher


def put(deck, shares, version, as_of=AS_OF):
    return deck.publish(shares, scores={"a": 1.5}, reason="because", as_of=as_of, version=version)


def test_what_is_published_is_in_force(deck):
    """Shares, version and the row they were decided from come back as they went."""
    before = deck.read()
    version = put(deck, {"a": 0.25, "b": 0.75}, before.version)
    assert version > before.version
    assert deck.read() == InForce(version, {"a": 0.25, "b": 0.75}, AS_OF, breaker_open=False)


def test_the_age_of_shares_is_the_exporters(exporter):
    """What was just written is young, by the clock of whoever kept it."""
    with DeckPublisher(exporter, token=TOKEN) as deck:
        put(deck, {"a": 1.0}, deck.read().version)
        age = deck.read().age_seconds
        assert age is not None
        assert age >= 0.0


@pytest.mark.parametrize(
    ("weights", "age"),
    [
        (b'{"version": 3, "age_seconds": 7.5}', 7.5),
        (b'{"version": 4, "age_seconds": 0.1}', None),
        (b'{"version": 3, "age_seconds": null}', None),
        (b"{}", None),
    ],
)
def test_an_age_belongs_to_its_version(weights, age):
    """The age of shares written between the two requests is not that of those read."""
    replies = [(200, b'{"version": 3, "weights": {"a": 1.0}}'), (200, b'{"weights": ' + weights + b"}")]
    with Gate("http://unused", replies=replies) as gate, DeckPublisher(gate.url) as deck:
        assert deck.read().age_seconds == age


def test_of_two_writers_with_one_version_the_second_is_told(deck):
    """A lost race changes nothing."""
    version = put(deck, {"a": 1.0}, deck.read().version)
    put(deck, {"a": 0.5, "b": 0.5}, version)
    with pytest.raises(ConflictError):
        put(deck, {"b": 1.0}, version)
    assert deck.read().shares == {"a": 0.5, "b": 0.5}


def test_a_thousand_shares_that_sum_to_one_are_taken(deck):
    """Rounding of a long sum is no reason to refuse."""
    shares = {f"s{i:04d}": 0.001 for i in range(1000)}
    put(deck, shares, deck.read().version)
    assert deck.read().shares == shares


def test_a_reason_as_long_as_ours_may_be_is_taken(deck):
    """What the loop cuts its reasons to, the exporter takes."""
    before = deck.read()
    reason = "x" * LONGEST_REASON
    assert deck.publish({"a": 1.0}, scores={}, reason=reason, as_of=AS_OF, version=before.version)


def test_a_new_deck_has_no_shares(tmp_path):
    """Version and shares of a deck nobody wrote to are a start that can be written over."""
    port = native.free_port()
    with (
        native.exporter(port, f"sqlite:///{tmp_path / 'deck.db'}", tmp_path / "log").start(),
        DeckPublisher(f"http://127.0.0.1:{port}") as deck,
    ):
        held = deck.read()
        assert held.shares == {}
        assert put(deck, {"a": 1.0}, held.version) == held.version + 1


def test_the_equity_breaker_is_seen(exporter):
    """An operator's trip freezes before any scrape has seen it; another breaker does not."""
    with DeckPublisher(exporter, token=TOKEN) as deck:
        for name, expected in (("venue", False), ("equity", True)):
            trip(exporter, name, tripped=True)
            assert deck.read().breaker_open is expected
        trip(exporter, "equity", tripped=False)
        assert not deck.read().breaker_open


def trip(url: str, name: str, *, tripped: bool) -> None:
    answer = requests.post(
        f"{url}/breakers/{name}",
        json={"tripped": tripped, "reason": "test"},
        headers={"Authorization": f"Bearer {TOKEN}"},
        timeout=10,
    )
    answer.raise_for_status()


def test_a_wrong_token_is_told_and_not_tried_again(exporter):
    """The message names DECK_TOKEN."""
    with (
        DeckPublisher(exporter, token="wrong") as deck,
        pytest.raises(PublishError, match="DECK_TOKEN") as caught,
    ):
        deck.read()
    assert not caught.value.retryable


def test_refused_shares_are_told_with_the_exporters_words(exporter):
    """A 4xx is no use trying again, and says which field."""
    with (
        DeckPublisher(exporter, token=TOKEN) as deck,
        pytest.raises(PublishError, match=r"answers 4\d\d: .*1\.5") as caught,
    ):
        put(deck, {"a": 1.5}, deck.read().version)
    assert not caught.value.retryable
    assert not isinstance(caught.value, ConflictError)


def test_nobody_there_may_be_tried_again():
    """A deck that is away may be back in a second."""
    url = f"http://127.0.0.1:{native.free_port()}"
    with DeckPublisher(url) as deck, pytest.raises(PublishError, match="no answer") as caught:
        deck.read()
    assert caught.value.retryable


@pytest.mark.parametrize(("status", "retryable"), [(503, True), (429, True), (500, True), (400, False)])
def test_which_refusals_may_pass(status, retryable):
    """Overload and restarts pass; a wrong request does not."""
    body = b'{"error":"x","detail":"some words"}'
    with (
        Gate("http://unused", replies=[(status, body)]) as gate,
        DeckPublisher(gate.url) as deck,
        pytest.raises(PublishError, match="some words") as caught,
    ):
        deck.read()
    assert caught.value.retryable is retryable


def test_a_deck_without_status_shows_its_breakers_elsewhere():
    """A route that is not there is not an open breaker."""
    replies = [(200, b'{"version": 3, "weights": {"a": 1.0}}'), (404, b"")]
    with Gate("http://unused", replies=replies) as gate, DeckPublisher(gate.url) as deck:
        assert deck.read() == InForce(3, {"a": 1.0})


def test_what_is_no_deck_is_told():
    """A wrong DECK_URL is named."""
    with (
        Gate("http://unused", replies=[(200, b"<html>")]) as gate,
        DeckPublisher(gate.url) as deck,
        pytest.raises(PublishError, match="is DECK_URL the exporter"),
    ):
        deck.read()


def test_a_dripping_deck_is_given_up_on():
    """The deadline is for the whole answer."""
    with (
        Gate("http://unused", replies=[(200, b'{"version": 3}' + b" " * 200)], drip=1) as gate,
        DeckPublisher(gate.url, timeout_seconds=0.3) as deck,
        pytest.raises(PublishError, match=r"longer than 0\.3 s") as caught,
    ):
        deck.read()
    assert caught.value.retryable
