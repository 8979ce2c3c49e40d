"""A running stack as the drill sees it: pages that follow from what was posted and from the time."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from typing import Any
from urllib.parse import parse_qs, urlsplit

import yaml

from scripts.drill import DrillError, Stack

STACK = Stack("http://deck", "http://prometheus", "http://alertmanager")


class FakeStack:
    """Web for the drill.  Time passes by `sleep` alone.

    Attributes:
        delays: Step to seconds after the trip when it happens: firing, alerted, and each integration.
        refuse: Called with each URL; raises to make that request fail.
        silent: Integrations that never answer; their delay is infinite.
        deadman: Whether a dead man's switch is set.
    """

    def __init__(self, receivers: Mapping[str, int], delays: Mapping[str, float]) -> None:
        self.receivers, self.delays = receivers, delays
        self.time = 1000.0
        self.tripped_at: float | None = None
        self.posts: list[tuple[str, dict[str, Any]]] = []
        self.breakers: dict[str, dict[str, Any]] = {
            name: {"open": False, "reason": None} for name in ("equity", "manual")
        }
        self.silent: set[str] = set()
        self.deadman = False
        self.still_firing = False
        self.other_engine_open = False
        self.refuse: Callable[[str], None] = lambda url: None

    def now(self) -> float:
        return self.time

    def sleep(self, seconds: float) -> None:
        self.time += seconds

    def since(self, what: str) -> bool:
        return self.tripped_at is not None and self.time - self.tripped_at >= self.delays.get(what, 0.0)

    def post(self, url: str, body: Mapping[str, Any]) -> str:
        self.refuse(url)
        self.posts.append((url, dict(body)))
        self.breakers[url.rpartition("/")[2]]["open"] = body["tripped"]
        if body["tripped"]:
            self.tripped_at = self.time
        return "{}"

    def get(self, url: str) -> str:
        self.refuse(url)
        parts = urlsplit(url)
        match (parts.netloc, parts.path):
            case ("deck", "/breakers"):
                return json.dumps({"breakers": self.breakers})
            case ("deck", "/status"):
                return json.dumps({"halted": any(one["open"] for one in self.breakers.values())})
            case ("prometheus", "/api/v1/query"):
                asked = parse_qs(parts.query)["query"][0]
                found = self.since("firing") if asked.startswith("ALERTS") else self.other_engine_open
                return json.dumps({"data": {"result": [1] if found else []}})
            case ("alertmanager", "/api/v2/alerts"):
                return json.dumps([1] if self.still_firing or self.since("alerted") else [])
            case ("alertmanager", "/api/v2/status"):
                pager: dict[str, Any] = {
                    f"{name}_configs": [{}] * count for name, count in self.receivers.items()
                }
                config = {
                    "receivers": [
                        {"name": "exporter", "webhook_configs": [{}]},
                        {"name": "pager", **pager},
                        {"name": "deadman", **({"webhook_configs": [{}]} if self.deadman else {})},
                    ]
                }
                return json.dumps({"config": {"original": yaml.safe_dump(config)}})
            case ("alertmanager", "/metrics"):
                lines = ["# TYPE alertmanager_notification_requests_total counter"]
                for name in ("webhook", *self.receivers):
                    count = self.receivers.get(name, 0) + (name == "webhook")
                    lost = self.delays.get(name, 0.0) == float("inf") and name not in self.silent
                    begun = self.tripped_at is not None
                    answered = 7 + (count if self.since(name) or (lost and begun) else 0)
                    for metric, value in (
                        # A message counts as sent before it is; a request once it was answered.
                        ("notifications_total", 7 + count * begun),
                        ("notification_requests_total", answered),
                        ("notification_requests_failed_total", count * (lost and begun)),
                    ):
                        lines.append(f'alertmanager_{metric}{{integration="{name}"}} {value}')
                return "\n".join(lines)
        raise DrillError(f"{url}: no such page")
