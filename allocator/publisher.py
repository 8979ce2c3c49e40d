"""Adapter: shares in force ↔ the exporter.

Shares are read from its API, never from a scrape, which is late.  They are written with the version just
read, so that of two allocators one is told it lost.
"""

from __future__ import annotations

from collections.abc import Mapping
from types import TracebackType
from typing import Any, Self, TypeVar

import msgspec
import requests
from urllib3.exceptions import HTTPError

from allocator.decision import InForce
from allocator.errors import ConflictError, PublishError
from allocator.transport import fetch, in_words

__all__ = ["DeckPublisher"]

_LARGEST_ANSWER = 1 << 26
_T = TypeVar("_T")


class _Weights(msgspec.Struct):
    version: int
    weights: dict[str, float] = {}
    as_of: float | None = None


class _Written(msgspec.Struct, frozen=True):
    version: int | None = None
    age_seconds: float | None = None


class _Breaker(msgspec.Struct):
    open: bool = False


class _Status(msgspec.Struct):
    breakers: dict[str, _Breaker] = {}
    weights: _Written = _Written()


class _Error(msgspec.Struct):
    error: str = ""
    detail: str = ""


class DeckPublisher:
    """The exporter's routes that an allocator needs.

    Args:
        base_url: The exporter's address.
        token: Sent as bearer token.
        timeout_seconds: Longest a request may take.
    """

    def __init__(self, base_url: str, *, token: str | None = None, timeout_seconds: float = 10.0) -> None:
        self._base = base_url.rstrip("/")
        self._session = requests.Session()
        # As a default header it would be overridden by ~/.netrc; as an auth callable it is not.
        self._token = token
        self._timeout_seconds = timeout_seconds

    def read(self) -> InForce:
        """The shares in force, their version and age, and whether the equity breaker is open.

        Raises:
            PublishError: The exporter is unreachable or refuses.
        """
        weights = self._decode(self._call("GET", "/allocator/weights"), _Weights)
        answer = self._call("GET", "/status", accept=(200, 404))
        # A deck without the route shows its breakers to Prometheus alone.
        status = self._decode(answer, _Status) if answer[0] == 200 else _Status()
        equity = status.breakers.get("equity", _Breaker())
        written = status.weights
        # The age is by the exporter's clock; of another version it would be another write's.
        age = written.age_seconds if written.version == weights.version else None
        return InForce(weights.version, weights.weights, weights.as_of, equity.open, age)

    def publish(
        self,
        shares: Mapping[str, float],
        *,
        scores: Mapping[str, float],
        reason: str,
        as_of: float,
        version: int,
    ) -> int:
        """Put shares in force in place of `version`; the new version.

        Raises:
            ConflictError: `version` is no longer in force.
            PublishError: The exporter is unreachable or refuses.
        """
        body = {"weights": dict(shares), "scores": dict(scores), "reason": reason, "as_of": as_of}
        answer = self._call("POST", "/allocator/weights", body=body, version=version)
        return self._decode(answer, _Weights).version

    def close(self) -> None:
        """Let go of the connections."""
        self._session.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, value: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def _authorise(self, request: requests.PreparedRequest) -> requests.PreparedRequest:
        if self._token:
            request.headers["Authorization"] = f"Bearer {self._token}"
        return request

    def _call(
        self,
        method: str,
        path: str,
        *,
        body: Mapping[str, Any] | None = None,
        version: int | None = None,
        accept: tuple[int, ...] = (200, 201, 202),
    ) -> tuple[int, bytes]:
        """Status and body of an accepted answer."""
        headers = {"Accept": "application/json"}
        if version is not None:
            headers["If-Match"] = f'"{version}"'
        try:
            status, said = fetch(
                self._session,
                method,
                self._base + path,
                timeout_seconds=self._timeout_seconds,
                largest=_LARGEST_ANSWER,
                json=body,
                headers=headers,
                auth=self._authorise,
            )
        except (requests.RequestException, HTTPError, OSError) as error:
            raise PublishError(f"no answer from {self._base}{path}: {in_words(error)}") from error
        if status in accept:
            return status, said
        where = f"{method} {path} answers {status}"
        if status == 412:
            raise ConflictError(f"{where}: version {version} is no longer in force")
        if status in (401, 403):
            raise PublishError(f"{where}: {_detail(said)}; see DECK_TOKEN and its scopes", retryable=False)
        raise PublishError(f"{where}: {_detail(said)}", retryable=status >= 500 or status in (408, 429))

    def _decode(self, answer: tuple[int, bytes], shape: type[_T]) -> _T:
        status, body = answer
        try:
            return msgspec.json.decode(body, type=shape)
        except (msgspec.DecodeError, UnicodeDecodeError) as error:
            raise PublishError(
                f"{self._base} answers {status} with what is no deck's JSON: {error}; "
                "is DECK_URL the exporter?",
                retryable=False,
            ) from error


def _detail(body: bytes) -> str:
    """What the exporter said went wrong; the start of the body where it is not its JSON."""
    try:
        said = msgspec.json.decode(body, type=_Error)
    except (msgspec.DecodeError, UnicodeDecodeError):
        return body[:200].decode(errors="replace")
    return said.detail or said.error
