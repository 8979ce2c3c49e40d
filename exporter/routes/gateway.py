"""Pushgateway's push API: PUT, POST and DELETE on /metrics/job/…."""

from __future__ import annotations

from exporter.catalogue import is_reserved
from exporter.errors import CallerError, ExporterError, Inconsistent, Invalid, TooLarge, WrongMethod
from exporter.families import FamilyShape, Parsed, compile_family
from exporter.grouping import GroupKey, group_key, parse_labels
from exporter.http import Call, Reply, plain_error
from exporter.layout import Layout
from exporter.operations import DeleteGroup, PushGroup
from exporter.service import Service
from exporter.textformat import parse_text

__all__ = ["handle"]

ALLOWED = "DELETE, OPTIONS, POST, PUT"
_PREFIX = len(b"/metrics/")


async def handle(service: Service, call: Call) -> Reply:
    """Answer a request on a push URL."""
    method = call.method
    if method not in ("PUT", "POST", "DELETE"):
        if method == "OPTIONS":
            return Reply(200, headers=[(b"allow", ALLOWED.encode())])
        return plain_error(WrongMethod("Method Not Allowed", ALLOWED))
    start = service.clock()
    outcomes = service.telemetry.outcomes
    try:
        key = _key(service, call.path)
        if method == "DELETE":
            service.auth.check(call.headers.get(b"authorization"), "push")
            await service.writer.submit(DeleteGroup(key))
            return Reply(202)
        service.auth.check(call.headers.get(b"authorization"), "push")
        samples = await service.writer.submit(_read_push(service, call, key))
    except CallerError as error:
        if method != "DELETE":
            outcomes["gateway", "rejected"].inc()
        service.telemetry.rejections.labels(reason=error.reason).inc()
        if isinstance(error, Inconsistent):
            error = Inconsistent(f"{INVALID}: {error.detail}")
        return plain_error(error)
    except ExporterError as error:
        outcomes["gateway", "error"].inc()
        return plain_error(error)
    outcomes["gateway", "accepted"].inc()
    service.telemetry.samples.inc(samples)
    service.telemetry.push_seconds.observe(service.clock() - start)
    return Reply(200)


_keys: dict[bytes, GroupKey] = {}
_MAX_KEYS = 50_000


def _key(service: Service, path: bytes) -> GroupKey:
    del service
    key = _keys.get(path)
    if key is None:
        key = group_key(parse_labels(path[_PREFIX:]))
        if len(_keys) >= _MAX_KEYS:
            _keys.clear()
        _keys[path] = key
    return key


def _read_push(service: Service, call: Call, key: GroupKey) -> PushGroup:
    settings = service.settings
    recalled = service.memo.recall(key.id, call.body)
    refusal: Inconsistent | None = None
    layout: Layout | None = None
    values: list[bytes] = []
    if recalled is not None:
        layout, values = recalled
    else:
        parsed = parse_text(call.body, accept_crlf=settings.accept_crlf)
        try:
            layout = _layout(service, call.body, parsed, key)
            values = parsed.values
        except Inconsistent as error:
            refusal = error
    return PushGroup(
        key=key,
        layout=layout,
        values=values,
        replace=call.method == "PUT",
        ttl_seconds=_ttl(call),
        series_limit=settings.max_series,
        refusal=refusal,
    )


def _layout(service: Service, body: bytes, parsed: Parsed, key: GroupKey) -> Layout:
    limit = service.settings.max_series_per_push
    shapes: dict[str, FamilyShape] = {}
    if parsed.has_timestamps:
        raise Inconsistent("pushed metrics must not have timestamps")
    series = 0
    for family in parsed.families:
        why = is_reserved(family.name)
        if why is not None:
            raise Inconsistent(f'the name "{family.name}" {why}')
        shapes[family.name] = shape = compile_family(family, key.labels)
        series += len(shape.prefixes)
        if series > limit:
            raise TooLarge(f"more than {limit} series in one push: DECK_MAX_SERIES_PER_PUSH is {limit}")
    return service.memo.remember(key.id, body, parsed, shapes)


INVALID = "pushed metrics are invalid or inconsistent with existing metrics"


def _ttl(call: Call) -> float | None:
    text = call.headers.get(b"x-group-ttl")
    if text is None:
        return None
    try:
        seconds = float(text)
    except ValueError:
        seconds = -1.0
    if not 0 <= seconds < 1e9:
        raise Invalid(f"X-Group-TTL is {text.decode('latin-1')!r}: want seconds, 0 for never", "X-Group-TTL")
    return seconds
