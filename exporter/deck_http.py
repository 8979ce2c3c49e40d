"""One request to the deck: the connection, the retries, and what each answer means.

The clock, the waiting and the dice are handed in, so that a test needs no time.
"""

from __future__ import annotations

import email.utils
import ipaddress
import json
import os
import random
import threading
import time
from collections import deque
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Final
from urllib.parse import urlsplit

import requests
from requests.auth import AuthBase
from urllib3.exceptions import HTTPError

from exporter.deck_deadline import DeadlineAdapter
from exporter.deck_errors import (
    DeckAnswerError,
    DeckAuthError,
    DeckError,
    DeckInputError,
    DeckRefusedError,
    DeckUnavailableError,
)
from exporter.deck_payload import number, seconds, shown

__all__ = ["Answer", "DeckHttp", "RetryPolicy", "deck_url"]

Answer = dict[str, Any]
"""The deck's answer, the JSON object as it came."""

LARGEST_ANSWER: Final = 16 * 1024 * 1024
LONGEST_TIMEOUT: Final = 86_400.0
CHUNK_BYTES: Final = 64 * 1024

CONTENT_STATUSES: Final = frozenset({400, 409, 413, 422})
"""The answers that judge what was sent; any other 4xx is about the token, the address or a proxy."""


@dataclass(frozen=True, slots=True)
class RetryPolicy:
    """How often and how patiently a request is tried.

    Attributes:
        attempts: Tries in all, the first included.
        base_seconds: The first wait is drawn from 0 to this; each next one from twice as much
            ("full jitter": many engines that lost the same deck must not come back in step).
        cap_seconds: No single wait is longer; a `Retry-After` beyond it ends the tries at once.
    """

    attempts: int = 4
    base_seconds: float = 0.1
    cap_seconds: float = 2.0

    def __post_init__(self) -> None:
        """Refuse a policy that never tries, or waits for no time there is."""
        if type(self.attempts) is not int or self.attempts < 1:
            raise DeckInputError(
                error="out_of_range",
                detail=f"attempts is {shown(self.attempts)}: want 1 or more",
                field="attempts",
            )
        seconds(self.base_seconds, "base_seconds", longest=LONGEST_TIMEOUT)
        seconds(self.cap_seconds, "cap_seconds", longest=LONGEST_TIMEOUT)

    def wait_seconds(self, failures: int, dice: Callable[[], float]) -> float:
        """How long to wait after so many failures in a row; `dice` gives a number in [0, 1)."""
        return min(self.cap_seconds, self.base_seconds * 2.0 ** min(failures - 1, 30)) * dice()


class _Bearer(AuthBase):
    """The token as a header; as an auth object, so that a ~/.netrc entry cannot take its place."""

    def __init__(self, token: str | None) -> None:
        self._token = token

    def __call__(self, request: requests.PreparedRequest) -> requests.PreparedRequest:
        if self._token:
            request.headers["Authorization"] = f"Bearer {self._token}"
        return request


def deck_url(url: str) -> str:
    """The deck's address without a trailing slash; a path before the deck's own routes stays.

    Raises:
        DeckInputError: It is not an http(s) address with a host, or says more than where the deck is.
    """
    if isinstance(url, str) and "@" in url:  # before all else, and unshown: there may be a password in it
        raise DeckInputError(
            error="bad_url",
            detail="DECK_URL has a password or an @ in it: want http://host:port and DECK_TOKEN",
            field="DECK_URL",
        )
    if not isinstance(url, str) or not _is_address(url.strip()):
        raise DeckInputError(
            error="bad_url", detail=f"DECK_URL is {shown(url)}: want http://host:port", field="DECK_URL"
        )
    return url.strip().rstrip("/")


def _is_address(url: str) -> bool:
    if " " in url or not url.isprintable():  # urlsplit would drop a tab or a line end without a word
        return False
    try:
        parts = urlsplit(url)
        port = parts.port
    except ValueError:  # a port beyond 65535, half an IPv6 address
        return False
    says_more = bool(parts.query or parts.fragment)
    return parts.scheme in {"http", "https"} and bool(parts.hostname) and port != 0 and not says_more


def _checked_token(token: str | None) -> str | None:
    if token is None:
        return None
    if (
        not isinstance(token, str)
        or " " in token.strip()
        or not (token.isascii() and token.strip().isprintable())
    ):
        raise DeckInputError(
            error="bad_token",
            detail="DECK_TOKEN is no text, or has a space or a sign no header can carry",
            field="DECK_TOKEN",
        )
    return token.strip() or None


def _checked_timeouts(pair: tuple[float, float]) -> tuple[float, float]:
    if isinstance(pair, tuple | list) and len(pair) == 2:
        connect, answer = (number(span, "timeout_seconds") for span in pair)
        if 0 < connect <= LONGEST_TIMEOUT and 0 < answer <= LONGEST_TIMEOUT:
            return connect, answer
    raise DeckInputError(
        error="out_of_range",
        detail=f"timeout_seconds is {shown(pair)}: want two spans above 0, to connect and for the answer",
        field="timeout_seconds",
    )


def _checked_retry(retry: RetryPolicy | None) -> RetryPolicy:
    if retry is None or isinstance(retry, RetryPolicy):
        return retry or RetryPolicy()
    raise DeckInputError(
        error="wrong_type", detail=f"retry is {shown(retry)}: want a RetryPolicy", field="retry"
    )


def _checked_verify(verify: bool | str | None) -> bool | str | None:
    # An empty text would switch the check of the certificate off, for a bundle somebody forgot to name.
    if verify is None or isinstance(verify, bool) or (isinstance(verify, str | os.PathLike) and verify):
        return verify
    raise DeckInputError(
        error="wrong_type", detail=f"verify is {shown(verify)}: want a CA bundle or False", field="verify"
    )


def _is_loopback(url: str) -> bool:
    host = urlsplit(url).hostname or ""
    try:
        return host == "localhost" or ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


def retry_after_seconds(header: str | None, now: Callable[[], float]) -> float | None:
    """What a `Retry-After` header asks to wait, given as seconds or as a date; None if it says neither."""
    if not header:
        return None
    if header.strip().isdecimal():
        return float(header)
    try:
        at = email.utils.parsedate_to_datetime(header)
    except ValueError:
        return None
    return max(0.0, at.timestamp() - now())


class DeckHttp:
    """Requests to one deck; safe to use from several threads, each request on a connection of its own."""

    def __init__(
        self,
        url: str,
        token: str | None,
        *,
        timeout_seconds: tuple[float, float] = (1.0, 3.0),
        retry: RetryPolicy | None = None,
        verify: bool | str | None = None,
        sleep: Callable[[float], object] = time.sleep,
        now: Callable[[], float] = time.time,
        dice: Callable[[], float] = random.random,
    ) -> None:
        self.url = deck_url(url)
        self.retry = _checked_retry(retry)
        self.retried = 0
        self._auth = _Bearer(_checked_token(token))
        self.timeout_seconds = _checked_timeouts(timeout_seconds)
        self._verify = _checked_verify(verify)
        self._sleep = sleep
        self._now = now
        self._dice = dice
        self._idle: deque[requests.Session] = deque()
        self._guard = threading.Lock()

    def call(
        self,
        method: str,
        path: str,
        body: bytes | None = None,
        params: Mapping[str, str] | None = None,
        attempts: int | None = None,
    ) -> Answer:
        """Ask until there is an answer or the attempts are spent.

        Returns:
            The JSON object of a 2xx.

        Raises:
            DeckRefusedError: A 4xx other than 429 (DeckAuthError for 401 and 403).
            DeckUnavailableError: No connection, a timeout, 429 or 5xx, at the last attempt.
            DeckAnswerError: A redirect, a 2xx that is not a JSON object, an answer without end.
        """
        allowed = attempts or self.retry.attempts
        for attempt in range(1, allowed + 1):
            try:
                return self._once(method, path, body, params, attempt)
            except DeckUnavailableError as failure:
                wait = failure.retry_after_seconds
                if attempt == allowed or (wait is not None and wait > self.retry.cap_seconds):
                    raise
                if wait is None:
                    wait = self.retry.wait_seconds(attempt, self._dice)
            with self._guard:
                self.retried += 1
            self._sleep(wait)
        raise AssertionError("unreachable: the last attempt returns or raises")  # pragma: no cover

    def _once(
        self, method: str, path: str, body: bytes | None, params: Mapping[str, str] | None, attempt: int
    ) -> Answer:
        session = self._take_session()
        try:
            with session.request(
                method,
                self.url + path,
                data=body,
                params=params,
                headers={"Content-Type": "application/json"} if body is not None else None,
                auth=self._auth,
                timeout=self.timeout_seconds,
                stream=True,
                allow_redirects=False,  # a redirect would turn a POST into a GET and lose the trade
                verify=self._verify,
            ) as answer:
                reply = _Reply(answer.status_code, answer.reason or "", answer.headers, _body(answer))
        except DeckAnswerError:
            session.close()
            raise
        except (requests.exceptions.InvalidURL, requests.exceptions.InvalidHeader) as cause:
            session.close()
            raise DeckAnswerError(f"{self.url}: {cause}") from cause
        except (OSError, HTTPError) as cause:  # of requests, of a CA bundle that is not there, of urllib3
            session.close()
            raise DeckUnavailableError(
                f"no answer from the deck at {self.url}{path}: {_reason(cause)}",
                status=None,
                attempts=attempt,
            ) from cause
        self._idle.append(session)
        return self._judge(reply, path, attempt)

    def _judge(self, reply: _Reply, path: str, attempt: int) -> Answer:
        status = reply.status
        if 200 <= status < 300:
            found = _json_object(reply)
            if found is None:
                raise DeckAnswerError(
                    f"{self.url}{path} answered {status} without a JSON object: is DECK_URL a deck?"
                )
            return found
        if status == 429 or status >= 500:
            raise DeckUnavailableError(
                f"the deck at {self.url}{path} answered {status}: {_said(reply)}",
                status=status,
                attempts=attempt,
                retry_after_seconds=retry_after_seconds(reply.headers.get("Retry-After"), self._now),
            )
        if status < 400:
            raise DeckAnswerError(
                f"{self.url}{path} sends on to {reply.headers.get('Location')!r} ({status}): "
                "set DECK_URL to where the deck is"
            )
        raise _refusal(status, reply)

    def _take_session(self) -> requests.Session:
        try:
            return self._idle.pop()
        except IndexError:
            session = requests.Session()
            for scheme in ("http://", "https://"):
                session.mount(scheme, DeadlineAdapter())
            # A proxy from the environment must not catch what goes to this very machine.
            session.trust_env = not _is_loopback(self.url)
            return session

    def close(self) -> None:
        """Close the idle connections; the next call opens new ones."""
        while self._idle:
            self._idle.pop().close()

    def forget(self) -> None:
        """Drop the connections without a word on the wire: after a fork they are the parent's."""
        self._idle = deque()
        self._guard = threading.Lock()


@dataclass(frozen=True, slots=True)
class _Reply:
    """An answer that was read to its end."""

    status: int
    reason: str
    headers: Mapping[str, str]
    body: bytes


def _body(answer: requests.Response) -> bytes:
    parts: list[bytes] = []
    size = 0
    for part in answer.iter_content(CHUNK_BYTES):
        parts.append(part)
        size += len(part)
        if size > LARGEST_ANSWER:
            raise DeckAnswerError(
                f"{answer.url} answered {answer.status_code} with more than {LARGEST_ANSWER} bytes: "
                "is DECK_URL a deck?"
            )
    return b"".join(parts)


def _json_object(reply: _Reply) -> Answer | None:
    try:
        found = json.loads(reply.body)
    except (ValueError, RecursionError):  # a page of brackets is JSON too
        return None
    return found if isinstance(found, dict) else None


def _said(reply: _Reply) -> str:
    found = _json_object(reply) or {}
    words = found.get("detail") or reply.body[:4096].decode(errors="replace") or reply.reason
    return " ".join(str(words).split())[:300]  # a web page becomes one line of the log


def _reason(cause: BaseException) -> str:
    """The innermost cause, without the object addresses that requests and urllib3 wrap around it."""
    inner: BaseException = cause
    while (deeper := inner.__cause__ or inner.__context__) is not None:
        inner = deeper
    return f"{type(inner).__name__}: {inner}" if str(inner) else type(inner).__name__


def _refusal(status: int, reply: _Reply) -> DeckError:
    found = _json_object(reply) or {}
    error = str(found.get("error") or f"http_{status}")
    detail = _said(reply)
    field = found.get("field")
    field = str(field) if field is not None else None
    if status in {401, 403}:
        return DeckAuthError(status=status, error=error, detail=detail, field=field)
    is_verdict = status in CONTENT_STATUSES and ("error" in found or "detail" in found)
    return DeckRefusedError(status=status, error=error, detail=detail, field=field, is_verdict=is_verdict)
