"""One HTTP request with one deadline for all of it, and an end to what is read."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any

import requests

__all__ = ["TooLargeError", "fetch", "in_words"]

_CONNECT_SECONDS = 5.0
_CHUNK = 1 << 16


class TooLargeError(requests.RequestException):
    """The answer is larger than anybody wants to hold; ask for less."""


def fetch(
    session: requests.Session,
    method: str,
    url: str,
    *,
    timeout_seconds: float,
    largest: int,
    monotonic: Callable[[], float] = time.monotonic,
    **options: Any,
) -> tuple[int, bytes]:
    """Status and body; redirects are not followed, since another host would not get the credentials.

    Args:
        session: Connections to reuse.
        method: HTTP method.
        url: Address.
        timeout_seconds: From the first byte sent to the last received.
        largest: Bytes of body that are still read.
        monotonic: Clock of the deadline.
        options: Handed to requests.

    Raises:
        requests.RequestException: No answer, or not in time, or a TooLargeError.
    """
    deadline = monotonic() + timeout_seconds
    with session.request(
        method,
        url,
        timeout=(min(_CONNECT_SECONDS, timeout_seconds), timeout_seconds),
        stream=True,
        allow_redirects=False,
        **options,
    ) as response:
        parts: list[bytes] = []
        size = 0
        # read1 gives what is there; a plain read would wait for a full chunk past every deadline.
        while part := response.raw.read1(_CHUNK, decode_content=True):
            parts.append(part)
            size += len(part)
            if monotonic() > deadline:
                raise requests.ReadTimeout(f"the answer took longer than {timeout_seconds:g} s")
            if size > largest:
                raise TooLargeError(f"the answer is larger than {largest} bytes")
        return response.status_code, b"".join(parts)


def in_words(error: BaseException) -> str:
    """The innermost words of a chain that libraries wrap several times over."""
    reason = getattr(error, "reason", None)
    if isinstance(reason, BaseException):
        return in_words(reason)
    if error.args and isinstance(error.args[0], BaseException):
        return in_words(error.args[0])
    text = str(error) or type(error).__name__
    # The library puts the connection, as an object or a call, before the words.
    head, _, tail = text.partition(": ")
    return tail if tail and ("(host=" in head or " object at 0x" in head) else text
