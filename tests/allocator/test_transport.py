"""One request, one deadline, one end."""

from __future__ import annotations

import pytest
import requests

from allocator.transport import TooLargeError, fetch, in_words
from tests.allocator.gate import Gate


def test_status_and_body_come_back():
    """Whatever the status, it is the caller's to judge."""
    with Gate("http://unused", replies=[(418, b"short and stout")]) as gate, requests.Session() as session:
        assert fetch(session, "GET", gate.url, timeout_seconds=5, largest=100) == (418, b"short and stout")


def test_an_answer_without_end_is_not_held():
    """More than `largest` bytes are refused, not stored."""
    with (
        Gate("http://unused", replies=[(200, b"x" * 1000)], drip=100) as gate,
        requests.Session() as session,
        pytest.raises(TooLargeError, match="larger than 300 bytes"),
    ):
        fetch(session, "GET", gate.url, timeout_seconds=5, largest=300)


def test_the_deadline_is_for_the_whole_answer():
    """Bytes that keep coming do not extend it: a clock that jumps ends the read."""
    times = iter([0.0, 1.0, 99.0])
    with (
        Gate("http://unused", replies=[(200, b"x" * 300)], drip=100) as gate,
        requests.Session() as session,
        pytest.raises(requests.ReadTimeout, match="longer than 5 s"),
    ):
        fetch(session, "GET", gate.url, timeout_seconds=5, largest=10**6, monotonic=lambda: next(times))


@pytest.mark.parametrize(
    ("error", "words"),
    [
        (ValueError("plain: words"), "plain: words"),
        (ValueError(), "ValueError"),
        (OSError(ValueError("HTTPConnection(host='x', port=1): refused: really")), "refused: really"),
        (ValueError("<urllib3.X object at 0x7f>: gone"), "gone"),
    ],
)
def test_wrapping_is_taken_off(error, words):
    """A log line says what went wrong, not through which classes it came."""
    assert in_words(error) == words
