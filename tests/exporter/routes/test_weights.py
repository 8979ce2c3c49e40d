from __future__ import annotations

import pytest

from tests.exporter.deck import START, Deck


def test_weights_are_versioned_and_shown(deck: Deck) -> None:
    """A change gets the next version, is in force at once and stays in the history."""
    assert deck.send("GET", "/allocator/weights").json["version"] == 0
    deck.send("POST", "/allocator/weights", {"weights": {"scalp": 0.5}, "reason": "first"})
    answer = deck.send("POST", "/allocator/weights", {"weights": {"scalp": 0.25}, "reason": "second"})
    assert (answer.status, answer.headers["etag"]) == (200, '"2"')
    got = deck.send("GET", "/allocator/weights")
    assert got.headers["etag"] == '"2"'
    assert got.json["weights"] == {"scalp": 0.25}
    assert got.json["updated_at"] == START
    assert deck.metrics()['allocator_risk_share_ratio{strategy="scalp"}'] == 0.25
    history = deck.send("GET", "/allocator/weights/history").json["history"]
    assert [(h["version"], h["reason"]) for h in history] == [(2, "second"), (1, "first")]


def test_a_lost_race_is_412(deck: Deck) -> None:
    """A decision made on an old version is refused and changes nothing."""
    ok = deck.send("POST", "/allocator/weights", {"weights": {"a": 1}}, {"If-Match": '"0"'})
    assert ok.status == 200
    lost = deck.send("POST", "/allocator/weights", {"weights": {"a": 0}}, {"If-Match": '"0"'})
    assert (lost.status, lost.json["field"]) == (412, "If-Match")
    assert deck.send("GET", "/allocator/weights").json["weights"] == {"a": 1.0}


@pytest.mark.parametrize(
    ("weights", "field"),
    [
        ({"scalp": 1.4}, "weights.scalp"),
        ({"scalp": -0.1}, "weights.scalp"),
        ({"a": 0.6, "b": 0.5}, "weights"),
        ({}, "weights"),
        ({"": 0.5}, "weights."),
        ({"a": "x"}, "weights.a"),
    ],
)
def test_shares_out_of_range_are_refused(deck: Deck, weights: dict[str, object], field: str) -> None:
    """Each share is in [0, 1] and they sum to at most one."""
    answer = deck.send("POST", "/allocator/weights", {"weights": weights})
    assert (answer.status, answer.json["field"]) == (422, field)
    assert deck.send("GET", "/allocator/weights").json["version"] == 0


def test_a_sum_off_by_rounding_is_taken(deck: Deck) -> None:
    """Ten times 0.1 sums to one within the tolerance of 1e-9."""
    weights = {str(i): 0.1 for i in range(10)}
    assert deck.send("POST", "/allocator/weights", {"weights": weights}).status == 200


@pytest.mark.parametrize(
    ("header", "status"),
    [
        ('"0"', 200),
        ("0", 200),
        ("*", 200),
        ('"1"', 412),
        ('"' + "9" * 5000 + '"', 412),
        ('"7", "0"', 200),
        ('"7", W/"0"', 200),
        ('"7", "1"', 412),
        ('"00"', 412),
        ('"0', 422),
        ('"0",', 422),
        ("x", 422),
        ("\xb2", 422),
    ],
)
def test_any_if_match_is_answered(deck: Deck, header: str, status: int) -> None:
    """A version that is not in force is 412 however long, what is no version is 422."""
    answer = deck.send("POST", "/allocator/weights", {"weights": {"a": 1}}, {"If-Match": header})
    assert answer.status == status
    if status != 200:
        assert answer.json["field"] == "If-Match"


@pytest.mark.parametrize(
    ("header", "status"), [('"0"', 304), ('W/"0"', 304), ('"7", W/"0"', 304), ("*", 304), ('"1"', 200)]
)
def test_nothing_new_is_304(deck: Deck, header: str, status: int) -> None:
    """A weak tag and a list of tags name the version too, as on /status."""
    assert deck.send("GET", "/allocator/weights", headers={"If-None-Match": header}).status == status
