"""The rest of a Pushgateway: its JSON API, wipe, quit and the front page."""

from __future__ import annotations

import html
from datetime import UTC, datetime
from typing import Any

import msgspec

from exporter.errors import ExporterError, NotFound, WrongMethod
from exporter.families import Family
from exporter.golang import go_float
from exporter.groups import Wipe
from exporter.http import JSON, PLAIN, Call, Reply, plain_error
from exporter.native import api_buckets
from exporter.protobuf import read_delimited
from exporter.service import Service
from exporter.state import Group
from exporter.textformat import parse_text

__all__ = ["ALLOWED", "handle"]

_CORS = [
    (b"access-control-allow-headers", b"Accept, Authorization, Content-Type, Origin"),
    (b"access-control-allow-methods", b"GET, POST, DELETE, OPTIONS"),
    (b"access-control-allow-origin", b"*"),
    (b"access-control-expose-headers", b"Date"),
    (b"cache-control", b"no-cache, no-store, must-revalidate"),
]


ALLOWED = {
    "/": "GET, OPTIONS",
    "/-/quit": "GET, OPTIONS, POST, PUT",
    "/api/v1/status": "GET, OPTIONS",
    "/api/v1/metrics": "GET, OPTIONS",
    "/api/v1/admin/wipe": "OPTIONS, PUT",
}
"""Verbs by path."""


async def handle(service: Service, call: Call) -> Reply:
    """Answer a request on one of these paths: `/`, `/-/quit`, `/api/v1/…`."""
    try:
        reply, name = await _answer(service, call)
    except ExporterError as error:
        return plain_error(error)
    service.telemetry.answered(name, reply.status, call.method.lower())
    return reply


async def _answer(service: Service, call: Call) -> tuple[Reply, str]:
    path, method = call.path, call.method
    if path in (b"/", b"/-/quit") and method == "OPTIONS":
        return Reply(200, headers=[(b"allow", ALLOWED[path.decode()].encode())]), "options"
    if path == b"/":
        service.auth.check(call.headers, "read")
        _want(call, "GET")
        return Reply(200, _front_page(service).encode(), "text/html; charset=utf-8"), "status"
    if path == b"/-/quit":
        return _quit(service, call), "quit"
    if method == "OPTIONS":
        return Reply(200, headers=[*_CORS]), "api/v1/options"
    if path == b"/api/v1/status":
        service.auth.check(call.headers, "read")
        _want(call, "GET")
        return _success(_status(service)), "api/v1/status"
    if path == b"/api/v1/metrics":
        service.auth.check(call.headers, "read")
        _want(call, "GET")
        return _success([_group(group) for group in service.state.groups.values()]), "api/v1/metrics"
    if path == b"/api/v1/admin/wipe" and service.settings.admin_api:
        service.auth.check(call.headers, "operate")
        _want(call, "PUT")
        await service.writer.submit(Wipe())
        return Reply(202), "wipe"
    raise NotFound("404 page not found")


def _want(call: Call, method: str) -> None:
    if call.method != method:
        raise WrongMethod("Method Not Allowed", ", ".join(sorted((method, "OPTIONS"))))


def _quit(service: Service, call: Call) -> Reply:
    if call.method == "GET":
        return Reply(405, b"Only POST or PUT requests allowed.", PLAIN)
    if call.method not in ("PUT", "POST"):
        raise WrongMethod("Method Not Allowed", "GET, OPTIONS, POST, PUT")
    if not service.settings.admin_api or service.stop is None:
        return Reply(403, b"Lifecycle API is not enabled.", PLAIN)
    service.auth.check(call.headers, "operate")
    service.stop()
    return Reply(200, b"Requesting termination... Goodbye!", PLAIN)


def _success(data: Any) -> Reply:
    return Reply(200, msgspec.json.encode({"status": "success", "data": data}), JSON, [*_CORS])


def _rfc3339(seconds: float) -> str:
    return datetime.fromtimestamp(seconds, UTC).isoformat().replace("+00:00", "Z")


def _status(service: Service) -> dict[str, Any]:
    return {
        "flags": {name: _flag(value) for name, value in service.settings.shown().items()},
        "start_time": _rfc3339(service.started_at),
        "build_information": {
            "version": service.version,
            "revision": "",
            "branch": "",
            "buildUser": "",
            "buildDate": "",
            "goVersion": "",
        },
    }


def _flag(value: object) -> str:
    return str(value).lower() if isinstance(value, bool) else "" if value is None else str(value)


def _group(group: Group) -> dict[str, Any]:
    labels = dict(group.key.labels)
    shown: dict[str, Any] = {}
    parsed = parse_text(group.text, utf8_names=True)
    for family in parsed.families:
        chunk = group.chunks[family.name]
        stamp = chunk.pushed_at if chunk.pushed_at is not None else group.push_time
        shown[family.name] = _family(family, stamp, parsed.values)
        if chunk.native is not None:
            _show_native(shown[family.name]["metrics"], chunk.native)
    for name, value in (
        ("push_time_seconds", group.push_time),
        ("push_failure_time_seconds", group.failure_time),
    ):
        what = "succeeded" if name == "push_time_seconds" else "failed"
        shown[name] = {
            "time_stamp": _rfc3339(group.push_time or group.failure_time),
            "type": "GAUGE",
            "help": f"Last Unix time when changing this group in the Pushgateway {what}.",
            "metrics": [{"labels": {"instance": "", **labels}, "value": go_float(value)}],
        }
    # These two keys come last: a metric called `labels` must not take their place.
    return {**shown, "labels": labels, "last_push_successful": group.push_time >= group.failure_time}


def _family(family: Family, stamp: float, values: list[bytes]) -> dict[str, Any]:
    def number(slot: int) -> str:
        return "0" if slot < 0 else go_float(float(values[slot]))

    metrics: list[dict[str, Any]] = []
    for metric in family.metrics:
        shown: dict[str, Any] = {"labels": dict(metric.labels)}
        if family.kind == "summary":
            shown["quantiles"] = {go_float(q): number(slot) for q, slot in metric.points}
        elif family.kind in ("histogram", "gaugehistogram"):
            shown["buckets"] = {go_float(bound): number(slot) for bound, slot in metric.points}
        if family.kind in ("summary", "histogram", "gaugehistogram"):
            shown["count"], shown["sum"] = number(metric.count), number(metric.sum)
        else:
            shown["value"] = number(metric.value)
        metrics.append(shown)
    kind = "GAUGE_HISTOGRAM" if family.kind == "gaugehistogram" else family.kind.upper()
    answer: dict[str, Any] = {"time_stamp": _rfc3339(stamp), "type": kind, "metrics": metrics}
    if family.help:
        answer["help"] = family.help
    return answer


def _show_native(metrics: list[dict[str, Any]], message: bytes) -> None:
    """Put native buckets in the place of classic ones, as the reference does where there are both."""
    native = {
        frozenset((pair.name, pair.value) for pair in metric.label): metric.histogram
        for family in read_delimited(message)
        for metric in family.metric
        if metric.histogram.positive_span or metric.histogram.negative_span
    }
    for metric in metrics:
        histogram = native.get(frozenset(metric["labels"].items()))
        if histogram is not None:
            metric["buckets"] = api_buckets(histogram)


def _front_page(service: Service) -> str:
    rows = "".join(
        f"<tr><td>{html.escape(', '.join(f'{k}={v}' for k, v in group.key.labels))}</td>"
        f"<td>{group.series}</td><td>{_when(group.push_time)}</td><td>{_when(group.failure_time)}</td></tr>\n"
        for _, group in sorted(service.state.groups.items())
    )
    return (
        "<!DOCTYPE html><title>Deckrails exporter</title><h1>Deckrails exporter</h1>"
        '<p><a href="/metrics">metrics</a> · <a href="/status">status</a> · <a href="/docs">API</a></p>'
        "<table border=1><tr><th>group</th><th>series</th><th>last push</th><th>last failure</th></tr>\n"
        f"{rows}</table>"
    )


def _when(seconds: float) -> str:
    return _rfc3339(seconds) if seconds else "never"
