"""io.prometheus.client.MetricFamily, length-delimited: pushed bodies in, scrapes out.

Pure.  The message types are declared here rather than generated, so that no build step and no generated file
is needed; field numbers are those of prometheus/client_model.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator
from typing import Any

from google.protobuf import descriptor_pb2, descriptor_pool, message_factory
from google.protobuf.message import DecodeError, Message

from exporter.errors import Inconsistent, ParseError
from exporter.families import CONSTANT_ZERO, Family, Metric, Parsed
from exporter.golang import go_float
from exporter.native import check_native, has_native_buckets

__all__ = [
    "PROTOBUF",
    "encode_families",
    "is_protobuf",
    "native_with_labels",
    "parse_protobuf",
    "read_delimited",
    "write_delimited",
]

PROTOBUF = "application/vnd.google.protobuf; proto=io.prometheus.client.MetricFamily; encoding=delimited"
_MAX_UINT64 = 2**64 - 1
_PACKAGE = "io.prometheus.client"
_KIND_OF = ("counter", "gauge", "summary", "untyped", "histogram", "gaugehistogram")
_FIELD_OF = {
    "counter": "counter",
    "gauge": "gauge",
    "summary": "summary",
    "untyped": "untyped",
    "histogram": "histogram",
    "gaugehistogram": "histogram",
}

_MESSAGES: dict[str, str] = {
    # number type name; a capital type is a message, a star repeats
    "LabelPair": "1 string name, 2 string value",
    "Gauge": "1 double value",
    "Exemplar": "1 LabelPair* label, 2 double value",
    "Counter": "1 double value, 2 Exemplar exemplar",
    "Quantile": "1 double quantile, 2 double value",
    "Summary": "1 uint64 sample_count, 2 double sample_sum, 3 Quantile* quantile",
    "Untyped": "1 double value",
    "Bucket": "1 uint64 cumulative_count, 4 double cumulative_count_float, 2 double upper_bound, "
    "3 Exemplar exemplar",
    "BucketSpan": "1 sint32 offset, 2 uint32 length",
    "Histogram": "1 uint64 sample_count, 4 double sample_count_float, 2 double sample_sum, 3 Bucket* bucket, "
    "5 sint32 schema, 6 double zero_threshold, 7 uint64 zero_count, 8 double zero_count_float, "
    "9 BucketSpan* negative_span, 10 sint64* negative_delta, 11 double* negative_count, "
    "12 BucketSpan* positive_span, 13 sint64* positive_delta, 14 double* positive_count, "
    "16 Exemplar* exemplars",
    "Metric": "1 LabelPair* label, 2 Gauge gauge, 3 Counter counter, 4 Summary summary, 5 Untyped untyped, "
    "7 Histogram histogram, 6 int64 timestamp_ms",
    "MetricFamily": "1 string name, 2 string help, 3 int32 type, 4 Metric* metric, 5 string unit",
}


def _message_types() -> dict[str, type[Message]]:
    kinds = descriptor_pb2.FieldDescriptorProto
    scalars = {
        "string": kinds.TYPE_STRING,
        "double": kinds.TYPE_DOUBLE,
        "uint64": kinds.TYPE_UINT64,
        "int64": kinds.TYPE_INT64,
        "int32": kinds.TYPE_INT32,
        "uint32": kinds.TYPE_UINT32,
        "sint32": kinds.TYPE_SINT32,
        "sint64": kinds.TYPE_SINT64,
    }
    file = descriptor_pb2.FileDescriptorProto(
        name="deckrails_metrics.proto", package=_PACKAGE, syntax="proto2"
    )
    for name, fields in _MESSAGES.items():
        message = file.message_type.add(name=name)
        for text in fields.split(", "):
            number, kind, field_name = text.split(" ")
            bare = kind.removesuffix("*")
            field = message.field.add(
                name=field_name,
                number=int(number),
                label=kinds.LABEL_REPEATED if kind.endswith("*") else kinds.LABEL_OPTIONAL,
            )
            if bare in scalars:
                field.type = scalars[bare]
            else:
                field.type = kinds.TYPE_MESSAGE
                field.type_name = f".{_PACKAGE}.{bare}"
    # A pool of our own: another library in the process may bring the same names.
    pool = descriptor_pool.DescriptorPool()
    pool.Add(file)
    return {
        name: message_factory.GetMessageClass(pool.FindMessageTypeByName(f"{_PACKAGE}.{name}"))
        for name in _MESSAGES
    }


_TYPES = _message_types()


def new_family() -> Any:
    """An empty MetricFamily."""
    return _TYPES["MetricFamily"]()


def is_protobuf(content_type: bytes | None) -> bool:
    """Whether a Content-Type says delimited MetricFamily, both parameters given, quotes and case aside."""
    media, *parameters = (content_type or b"").decode("latin-1").split(";")
    if media.strip().lower() != "application/vnd.google.protobuf":
        return False
    given = {
        name.strip().lower(): value.strip().strip('"')
        for name, _, value in (parameter.partition("=") for parameter in parameters)
    }
    return given.get("encoding") == "delimited" and given.get("proto") == "io.prometheus.client.MetricFamily"


def read_delimited(body: bytes) -> Iterator[Any]:
    """The families of a body.

    Raises:
        ParseError: It is not length-delimited protobuf.
    """
    at = 0
    while at < len(body):
        size, start = _read_varint(body, at)
        if start + size > len(body):
            raise ParseError(
                f"unexpected EOF: message at byte {at} has {size} bytes, {len(body) - start} came"
            )
        family = new_family()
        try:
            family.ParseFromString(body[start : start + size])
        except (DecodeError, UnicodeDecodeError) as error:
            raise ParseError(f"proto: message at byte {at} cannot be read: {error}") from None
        yield family
        at = start + size


def _read_varint(body: bytes, at: int) -> tuple[int, int]:
    """The number at `at`, seven bits a byte, the lowest first; and where it ends."""
    value = 0
    for i, byte in enumerate(body[at : at + 10]):
        value |= (byte & 0x7F) << (7 * i)
        if byte < 0x80:
            return value, at + i + 1
    raise ParseError(f"unexpected EOF: no message length at byte {at}")


def _varint(value: int) -> bytes:
    out = bytearray()
    while value > 0x7F:
        out.append(value & 0x7F | 0x80)
        value >>= 7
    out.append(value)
    return bytes(out)


def write_delimited(families: Iterable[Any]) -> bytes:
    """Families, each behind its length."""
    parts: list[bytes] = []
    for family in families:
        raw = family.SerializeToString()
        parts.extend((_varint(len(raw)), raw))
    return b"".join(parts)


class _Reader:
    """Messages into the model; numbers into slots."""

    def __init__(self) -> None:
        self.values: list[bytes] = []

    def slot(self, number: float | int) -> int:
        self.values.append(str(number).encode() if isinstance(number, int) else go_float(number).encode())
        return len(self.values) - 1

    def metric(self, name: str, kind: str, message: Any) -> Metric:
        labels = tuple((_text(pair, "name"), _text(pair, "value")) for pair in message.label)
        if len({label for label, _ in labels}) != len(labels):
            raise Inconsistent(f'collected metric "{name}" has two labels of the same name')
        field = _FIELD_OF[kind]
        if not message.HasField(field):
            raise Inconsistent(f'collected metric "{name}" is not a {kind}: it has no {field}')
        body = getattr(message, field)
        if kind == "summary":
            points = tuple((q.quantile, self.slot(q.value)) for q in body.quantile)
            return Metric(
                labels, points=points, sum=self.slot(body.sample_sum), count=self.slot(body.sample_count)
            )
        if field != "histogram":
            return Metric(labels, self.slot(body.value))
        return self.histogram(name, labels, body)

    def histogram(self, name: str, labels: tuple[tuple[str, str], ...], body: Any) -> Metric:
        if has_native_buckets(body):
            check_native(name, body)
        floats = body.sample_count_float or any(bucket.cumulative_count_float for bucket in body.bucket)
        points = []
        for bucket in body.bucket:
            count = (
                bucket.cumulative_count_float or float(bucket.cumulative_count)
                if floats
                else bucket.cumulative_count
            )
            if math.isnan(bucket.upper_bound) or count < 0:
                raise Inconsistent(
                    f'histogram "{name}" has a bucket with bound {bucket.upper_bound} and count {count}'
                )
            points.append((bucket.upper_bound, self.slot(count)))
        count = body.sample_count_float or float(body.sample_count) if floats else body.sample_count
        if count < 0:
            raise Inconsistent(f'histogram "{name}" has the count {count}')
        return Metric(labels, points=tuple(points), sum=self.slot(body.sample_sum), count=self.slot(count))


def is_native(family: Any) -> bool:
    """Whether a histogram has what only protobuf can say."""
    return any(
        metric.HasField("histogram")
        and (
            metric.histogram.positive_span
            or metric.histogram.negative_span
            or metric.histogram.HasField("zero_threshold")
        )
        for metric in family.metric
    )


def native_with_labels(message: Any, grouping: Iterable[tuple[str, str]]) -> bytes:
    """A message, length-delimited, with the grouping labels merged into every metric."""
    overwrite = dict(grouping)
    for metric in message.metric:
        merged = {"instance": "", **{pair.name: pair.value for pair in metric.label}, **overwrite}
        del metric.label[:]
        for name, value in sorted(merged.items()):
            metric.label.add(name=name, value=value)
    return write_delimited([message])


def parse_protobuf(body: bytes) -> Parsed:
    """Families of a pushed body; of two with one name the last counts.

    Raises:
        ParseError: It cannot be read.
        Inconsistent: A family has no valid type, or a metric is not of it.
    """
    messages = {}
    for message in read_delimited(body):
        messages[_text(message, "name")] = message
    reader = _Reader()
    families, native, stamped = [], {}, False
    for name, message in messages.items():
        if not message.metric:
            continue
        if not 0 <= message.type < len(_KIND_OF):
            raise Inconsistent(f'family "{name}" has the unknown type {message.type}')
        kind = _KIND_OF[message.type]
        stamped = stamped or any(metric.HasField("timestamp_ms") for metric in message.metric)
        metrics = tuple(reader.metric(name, kind, metric) for metric in message.metric)
        families.append(
            Family(name, kind, _text(message, "help") if message.HasField("help") else None, metrics)
        )
        if is_native(message):
            native[name] = message
    return Parsed(tuple(families), reader.values, (), stamped, native)


def _text(message: Any, field: str) -> str:
    """A field's text.  Of bytes that are no UTF-8 one runtime makes bytes, and another raises.

    Raises:
        Inconsistent: It is not UTF-8.
    """
    try:
        text = getattr(message, field)
    except UnicodeDecodeError:
        text = b""
    if isinstance(text, bytes):
        raise Inconsistent(f"the {field} of a {message.DESCRIPTOR.name} is not UTF-8")
    return str(text)


def encode_families(parsed: Parsed) -> Iterator[Any]:
    """Families of the model as messages, labels as they are."""
    values = parsed.values
    for family in parsed.families:
        message = new_family()
        message.name = family.name
        if family.help is not None:
            message.help = family.help
        message.type = _KIND_OF.index(family.kind)
        for metric in family.metrics:
            out = message.metric.add()
            for name, value in metric.labels:
                out.label.add(name=name, value=value)
            _encode_value(out, family.kind, metric, values)
        yield message


def _encode_value(out: Any, kind: str, metric: Metric, values: list[bytes]) -> None:
    body = getattr(out, _FIELD_OF[kind])
    if kind not in ("summary", "histogram", "gaugehistogram"):
        body.value = float(values[metric.value])
        return
    body.sample_sum = 0.0 if metric.sum == CONSTANT_ZERO else float(values[metric.sum])
    count = 0.0 if metric.count == CONSTANT_ZERO else float(values[metric.count])
    if kind == "summary":
        body.sample_count = min(int(count), _MAX_UINT64)
        for quantile, slot in metric.points:
            body.quantile.add(quantile=quantile, value=float(values[slot]))
        return
    counts = [float(values[slot]) if slot != CONSTANT_ZERO else count for _, slot in metric.points]
    floats = not all(number.is_integer() and number < 2.0**64 for number in (count, *counts))
    if floats:
        body.sample_count_float = count
    else:
        body.sample_count = int(count)
    for (bound, _), number in zip(metric.points, counts, strict=True):
        if floats:
            body.bucket.add(upper_bound=bound, cumulative_count_float=number)
        else:
            body.bucket.add(upper_bound=bound, cumulative_count=int(number))
