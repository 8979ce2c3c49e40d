"""Pushgateway's push API: PUT, POST and DELETE on /metrics/job/…."""

from __future__ import annotations

import asyncio
import math
from collections.abc import Callable, Mapping
from typing import Any

from exporter.catalogue import ENGINE_JOB, PUSHED_KINDS, is_reserved
from exporter.encoding import decode_body
from exporter.errors import CallerError, ExporterError, Inconsistent, ParseError, TooLarge, WrongMethod
from exporter.families import (
    Family,
    FamilyShape,
    Parsed,
    check_family,
    compile_family,
    count_labels,
    count_lines,
    too_many_series,
)
from exporter.grouping import GroupKey, group_key, parse_labels
from exporter.groups import DeleteGroup, PushGroup
from exporter.http import Call, Reply, group_ttl, plain_error
from exporter.layout import Cut, Layout, Pusher, cut_body
from exporter.protobuf import is_protobuf, native_with_labels, parse_protobuf
from exporter.service import Service
from exporter.settings import Settings
from exporter.textformat import parse_text

__all__ = ["count_refusal", "handle", "push"]

ACCEPTED = Reply(200)
ALLOWED = "DELETE, OPTIONS, POST, PUT"
INVALID = "pushed metrics are invalid or inconsistent with existing metrics"
_MAX_COUNT = 2.0**64
"""Beyond it lies no count: the reference keeps 64 bits, and so does a protobuf scrape."""
_MOST_LABELS = 16
"""Characters of labels in the lines of a push, to a byte of DECK_MAX_BODY_BYTES (JC): no text is near it."""
_PREFIX = len(b"/metrics/")
_NO_NATIVE: Mapping[str, bytes] = {}


async def handle(service: Service, call: Call) -> Reply:
    """Answer a request on a push URL."""
    if call.method == "DELETE":
        reply = await _delete(service, call)
        service.telemetry.answered("delete", reply.status, "delete")
        return reply
    if call.method == "OPTIONS":
        return Reply(200, headers=[(b"allow", ALLOWED.encode())])
    if call.method not in ("PUT", "POST"):
        return plain_error(WrongMethod("Method Not Allowed", ALLOWED))
    answered: asyncio.Future[Reply] = asyncio.get_running_loop().create_future()
    push(service, call, lambda reply: None if answered.cancelled() else answered.set_result(reply))
    return await answered


def push(service: Service, call: Call, answer: Callable[[Reply], None]) -> None:
    """Read a push and queue it; `answer` is called once, now if it is refused, else when it is durable."""
    start = service.clock()

    def done(result: Any) -> None:
        telemetry = service.telemetry
        if isinstance(result, int):
            telemetry.outcomes["gateway", "accepted"].inc()
            telemetry.samples.inc(result)
            reply = ACCEPTED
        else:
            reply = _refusal(service, result)
        seconds = service.clock() - start
        telemetry.push_seconds.observe(seconds)
        telemetry.answered("push", reply.status, call.method)
        by_seconds, by_bytes = telemetry.by_method[call.method]
        by_seconds.observe(seconds)
        by_bytes.observe(len(call.body))
        answer(reply)

    try:
        service.auth.check(call.headers, "push")
        service.writer.enqueue(read_push(service, call), done)
    except ExporterError as error:
        done(error)


def _refusal(service: Service, error: Any) -> Reply:
    if not isinstance(error, CallerError):
        service.telemetry.outcomes["gateway", "error"].inc()
        return plain_error(error)
    count_refusal(service, error)
    if isinstance(error, Inconsistent):
        error = Inconsistent(f"{INVALID}: {error.detail}")
    return plain_error(error)


def count_refusal(service: Service, error: CallerError) -> None:
    """Count a push that was refused."""
    service.telemetry.outcomes["gateway", "rejected"].inc()
    service.telemetry.rejections.labels(reason=error.reason).inc()


async def _delete(service: Service, call: Call) -> Reply:
    try:
        service.auth.check(call.headers, "push")
        labels = parse_labels(call.path[_PREFIX:], utf8_names=service.settings.utf8_names, limit=None)
        await service.writer.submit(DeleteGroup(group_key(labels)))
    except CallerError as error:
        service.telemetry.rejections.labels(reason=error.reason).inc()
        return plain_error(error)
    except ExporterError as error:
        return plain_error(error)
    return Reply(202)


def _pusher(service: Service, path: bytes) -> Pusher:
    return service.memo.pusher(path[_PREFIX:], utf8_names=service.settings.utf8_names)


def read_push(service: Service, call: Call) -> PushGroup:
    """The operation a push asks for.

    Raises:
        CallerError: It cannot be read; what can be read but not be taken comes as the operation's refusal.
    """
    settings = service.settings
    pusher = _pusher(service, call.path)
    key = pusher.key
    encoding = call.headers.get(b"content-encoding")
    body = call.body if encoding is None else decode_body(call.body, encoding, settings.max_body_bytes)
    binary = is_protobuf(call.headers.get(b"content-type"))
    cut: Cut | None = None
    refusal: Inconsistent | None = None
    layout: Layout | None = None
    values: list[bytes] = []
    native = _NO_NATIVE
    text: bytes | None = None
    if not binary:
        numbers = service.memo.numbers(pusher, body)
        if numbers is not None:
            layout, values = pusher.last(), numbers
        else:
            cut = cut_body(body)
            layout, values = service.memo.layout(pusher, cut), cut.numbers
        # Read back, such a body is this layout with these numbers, whatever settings then say of line ends.
        if layout is not None and b"\r" not in body:
            text = body
    if layout is None:
        try:
            parsed = _parsed(service, body, cut)
            shapes = _shapes(parsed, key, settings)
            native = {
                name: native_with_labels(message, key.labels) for name, message in parsed.native.items()
            }
        except Inconsistent as error:
            refusal = error
        else:
            values = parsed.values
            layout = Layout.of(parsed, shapes)
            service.memo.remember(pusher, body, cut, parsed, layout)
    return PushGroup(
        key=key,
        layout=layout,
        values=values,
        replace=call.method == "PUT",
        ttl_seconds=group_ttl(call.headers.get(b"x-group-ttl")),
        series_limit=settings.max_series,
        native=native,
        refusal=refusal,
        text=text,
    )


def _parsed(service: Service, body: bytes, cut: Cut | None) -> Parsed:
    if cut is None:
        return parse_protobuf(body)
    settings = service.settings
    known = service.memo.parsed(cut)
    if known is not None:
        return known
    parsed = parse_text(
        body,
        accept_crlf=settings.accept_crlf,
        utf8_names=settings.utf8_names,
        max_series=settings.max_series_per_push,
    )
    for slot in parsed.counts:
        if _MAX_COUNT < float(parsed.values[slot]) < math.inf:
            raise ParseError(
                f"text format parsing error: a count of {parsed.values[slot].decode()}: want at most 2^64 - 1"
            )
    return parsed


def _shapes(parsed: Parsed, key: GroupKey, settings: Settings) -> dict[str, FamilyShape]:
    if parsed.has_timestamps:
        raise Inconsistent("pushed metrics must not have timestamps")
    # First of all: to make the lines of what is refused anyway would hold everybody else up.
    limit = settings.max_series_per_push
    series = sum(map(count_lines, parsed.families))
    if series > limit:
        raise too_many_series(limit)
    # A long URL stands in each line, a protobuf histogram's labels in each of its own.
    labels = series * len(key.id) + sum(map(count_labels, parsed.families))
    if labels > _MOST_LABELS * settings.max_body_bytes:
        raise TooLarge(
            f"{series} series with {labels} characters of labels: "
            f"want at most {_MOST_LABELS} times DECK_MAX_BODY_BYTES, which is {settings.max_body_bytes}"
        )
    shapes: dict[str, FamilyShape] = {}
    for family in parsed.families:
        why = is_reserved(family.name)
        if why is not None:
            raise Inconsistent(f'the name "{family.name}" {why}')
        check_family(family, utf8_names=settings.utf8_names)
        check_not_the_decks(family, key)
        shapes[family.name] = compile_family(family, key.labels)
    return shapes


def check_not_the_decks(family: Family, key: GroupKey) -> None:
    """Refuse what would stand where an engine's own JSON push puts its values, and block that push.

    Raises:
        Inconsistent: A metric of the family would be a series of an engine's group.
    """
    if family.name not in PUSHED_KINDS:
        return
    grouping = dict(key.labels)
    if grouping["job"] != ENGINE_JOB:
        return
    for metric in family.metrics:
        engine = {**dict(metric.labels), **grouping}.get("instance")
        if engine:
            raise Inconsistent(
                f'the deck itself fills "{family.name}" of job="{ENGINE_JOB}", instance="{engine}" from '
                "POST /metrics/push: push it there, or under another job"
            )
