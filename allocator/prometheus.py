"""Adapter: any PromQL HTTP API → series and samples.

Prometheus, VictoriaMetrics, Mimir, Thanos: with a path prefix, a tenant, a token or a password, a private
authority.  Each request has one deadline for all of it, so a peer that drips bytes cannot hold a decision.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import msgspec
import numpy as np
import requests
from requests.auth import AuthBase, HTTPBasicAuth
from urllib3.exceptions import HTTPError

from allocator.errors import QueryError
from allocator.history import Grid, Sample, Series
from allocator.queries import Query
from allocator.transport import TooLargeError, fetch, in_words

__all__ = ["PrometheusApi"]

_LARGEST_ANSWER = 1 << 29
_VICTORIA_METRICS = {"max_lookback": "5m", "latency_offset": "1ms"}
"""Makes it look back as far as Prometheus does, and not hide the newest 30 s; others pass over both."""
_RETRYABLE = frozenset({408, 425, 429, 500, 502, 503, 504})


class _Metric(msgspec.Struct):
    metric: dict[str, str]
    values: list[tuple[float, str]] = []
    value: tuple[float, str] | None = None


class _Data(msgspec.Struct, rename={"kind": "resultType"}):
    kind: str
    result: msgspec.Raw


class _Answer(msgspec.Struct):
    status: str
    data: _Data | None = None
    error: str = ""
    warnings: list[str] = []


class _Bearer(AuthBase):
    """The token in a header; as an auth object it also keeps ~/.netrc out."""

    def __init__(self, token: str) -> None:
        self._token = token

    def __call__(self, request: requests.PreparedRequest) -> requests.PreparedRequest:
        request.headers["Authorization"] = f"Bearer {self._token}"
        return request


class PrometheusApi:
    """Instant and range queries against one server.

    Args:
        base_url: Address with its path prefix, without `/api/v1`.
        token: Bearer token, or None.
        user: With `password`, for basic authentication.
        password: See `user`.
        tenant: Sent as X-Scope-OrgID.
        ca: PEM file of the authority to trust instead of the system's.
        timeout_seconds: Longest a request may take, from the first byte sent to the last received.
        on_warning: Called with the query's id and each warning the server gives.
        monotonic: Clock of the deadline.
    """

    def __init__(
        self,
        base_url: str,
        *,
        token: str | None = None,
        user: str | None = None,
        password: str | None = None,
        tenant: str | None = None,
        ca: Path | None = None,
        timeout_seconds: float = 30.0,
        on_warning: Callable[[str, str], None] | None = None,
        monotonic: Callable[[], float] = time.monotonic,
    ) -> None:
        self._api = base_url.rstrip("/") + "/api/v1"
        self._session = requests.Session()
        self._session.headers["Accept"] = "application/json"
        if tenant:
            self._session.headers["X-Scope-OrgID"] = tenant
        self._auth: AuthBase | None = None
        if token:
            self._auth = _Bearer(token)
        elif user:
            self._auth = HTTPBasicAuth(user.encode(), (password or "").encode())
        self._verify: bool | str | None = str(ca) if ca else None
        self._timeout_seconds = timeout_seconds
        self._on_warning = on_warning
        self._monotonic = monotonic

    def range(self, query: Query, grid: Grid) -> list[Series]:
        """The query's series at the grid's times.

        Raises:
            QueryError: Unreachable, too slow, refused, or an answer that is none.
        """
        params = {
            "query": query.promql,
            "start": f"{grid.start:.3f}",
            "end": f"{grid.end:.3f}",
            "step": f"{grid.step:.3f}",
        }
        data = self._get(query, "query_range", params)
        if data.kind != "matrix":
            raise QueryError(f"{query.id}: got a {data.kind}: want a matrix", query=query.id)
        return [
            Series(
                labels=one.metric,
                times=np.array([at for at, _ in one.values], dtype=np.float64),
                values=np.array([float(text) for _, text in one.values], dtype=np.float64),
            )
            for one in self._decode(query, data.result, list[_Metric])
        ]

    def instant(self, query: Query, at: float | None = None) -> list[Sample]:
        """The query's samples at `at`, epoch seconds; at the server's now without it.

        A scalar is one sample without labels.

        Raises:
            QueryError: As for `range`.
        """
        params = {"query": query.promql}
        if at is not None:
            params["time"] = f"{at:.3f}"
        data = self._get(query, "query", params)
        if data.kind == "scalar":
            at_time, text = self._decode(query, data.result, tuple[float, str])
            return [Sample({}, float(text), at_time)]
        if data.kind != "vector":
            raise QueryError(f"{query.id}: got a {data.kind}: want a vector", query=query.id)
        found = self._decode(query, data.result, list[_Metric])
        return [
            Sample(one.metric, float(one.value[1]), one.value[0]) for one in found if one.value is not None
        ]

    def close(self) -> None:
        """Let go of the connections."""
        self._session.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, value: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def _get(self, query: Query, path: str, params: Mapping[str, str]) -> _Data:
        try:
            status, body = fetch(
                self._session,
                "GET",
                f"{self._api}/{path}",
                timeout_seconds=self._timeout_seconds,
                largest=_LARGEST_ANSWER,
                monotonic=self._monotonic,
                params={**params, **_VICTORIA_METRICS},
                auth=self._auth,
                verify=self._verify,
            )
        except requests.exceptions.SSLError as error:
            raise QueryError(
                f"{query.id}: TLS: {in_words(error)}; see PROMETHEUS_CA", query=query.id
            ) from error
        except TooLargeError as error:
            raise QueryError(f"{query.id}: {error}: narrow it with PNL_SELECTOR", query=query.id) from error
        except (requests.RequestException, HTTPError, OSError) as error:
            raise QueryError(
                f"{query.id}: no answer from {self._api}: {in_words(error)}", query=query.id, retryable=True
            ) from error
        if 300 <= status < 400:
            raise QueryError(
                f"{query.id}: {self._api} redirects ({status}): want the final URL in PROMETHEUS_URL",
                query=query.id,
            )
        try:
            answer = msgspec.json.decode(body, type=_Answer)
        except (msgspec.DecodeError, UnicodeDecodeError) as error:
            hint = "; is PROMETHEUS_URL a PromQL API, with its path prefix?" if status in (200, 404) else ""
            if status in (401, 403):
                hint = "; see PROMETHEUS_TOKEN, PROMETHEUS_USER and PROMETHEUS_PASSWORD"
            raise QueryError(
                f"{query.id}: {self._api} answers {status} and no PromQL JSON{hint}",
                query=query.id,
                retryable=status in _RETRYABLE,
            ) from error
        if status != 200 or answer.status != "success" or answer.data is None:
            raise QueryError(
                f"{query.id}: {self._api} answers {status}: {answer.error or answer.status}",
                query=query.id,
                retryable=status in _RETRYABLE,
            )
        if self._on_warning is not None:
            for warning in answer.warnings:
                self._on_warning(query.id, warning)
        return answer.data

    def _decode(self, query: Query, raw: msgspec.Raw, shape: Any) -> Any:
        try:
            return msgspec.json.decode(raw, type=shape)
        except msgspec.DecodeError as error:
            raise QueryError(
                f"{query.id}: result is not what its type says: {error}", query=query.id
            ) from error
