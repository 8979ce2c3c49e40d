"""Ask a real Prometheus what Grafana would ask it."""

from __future__ import annotations

import json
import re
import urllib.error
import urllib.parse
import urllib.request
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

BUILT_IN = {"__rate_interval": "15s", "__interval": "1s", "__range": "60s"}
"""What Grafana fills in by itself, for scrapes of one second."""


@dataclass(frozen=True)
class Reply:
    """What Prometheus said, its complaints included."""

    status: str
    series: list[dict[str, Any]] = field(default_factory=list)
    complaints: list[str] = field(default_factory=list)


def filled(text: str, variables: Mapping[str, str]) -> str:
    """`text` with Grafana's variables filled in; an unknown one stays, and Prometheus will complain."""
    values = {**BUILT_IN, **variables}
    return re.sub(
        r"\$(?:\{([A-Za-z_]\w*)(?::\w+)?\}|([A-Za-z_]\w*))",
        lambda found: values.get(found[1] or found[2], found[0]),
        text,
    )


def call(url: str, path: str, params: Mapping[str, str]) -> dict[str, Any]:
    """A GET of the HTTP API; errors come as JSON too."""
    try:
        with urllib.request.urlopen(f"{url}{path}?{urllib.parse.urlencode(params)}", timeout=10) as answer:
            loaded: dict[str, Any] = json.load(answer)
    except urllib.error.HTTPError as error:
        loaded = json.load(error)
    return loaded


def reply(loaded: Mapping[str, Any]) -> Reply:
    """An answer of the query API, taken apart."""
    complaints = [*loaded.get("warnings", []), *loaded.get("infos", [])]
    if "error" in loaded:
        complaints.append(loaded["error"])
    data = loaded.get("data", {})
    result = data.get("result", []) if isinstance(data, dict) else []
    return Reply(loaded["status"], result if isinstance(result, list) else [], complaints)


def ask(
    url: str, expr: str, variables: Mapping[str, str], *, instant: bool, end: float, seconds: float = 60.0
) -> Reply:
    """Run one query as its panel would: at `end`, or over the `seconds` before it in steps of one."""
    query = filled(expr, variables)
    if instant:
        return reply(call(url, "/api/v1/query", {"query": query, "time": f"{end:.3f}"}))
    span = {"start": f"{end - seconds:.3f}", "end": f"{end:.3f}", "step": "1"}
    return reply(call(url, "/api/v1/query_range", {"query": query, **span}))


def label_values(url: str, query: str, variables: Mapping[str, str]) -> tuple[list[str], list[str]]:
    """The values a variable `label_values(selector, label)` offers, and Prometheus's complaints."""
    match = re.fullmatch(r"label_values\((.+), *(\w+)\)", filled(query, variables))
    if match is None:
        return [], [f"{query}: want label_values(selector, label)"]
    loaded = call(url, f"/api/v1/label/{match[2]}/values", {"match[]": match[1]})
    return list(loaded.get("data", [])), reply(loaded).complaints


def has_numbers(series: list[dict[str, Any]]) -> bool:
    """Whether a reply has at least one value that is a number, not NaN."""
    for one in series:
        values = one.get("values") or [one["value"]]
        if any(value not in ("NaN", "+Inf", "-Inf") for _, value in values):
            return True
    return False
