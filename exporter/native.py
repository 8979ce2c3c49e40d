"""Native histograms: what Prometheus takes, and their buckets as the reference's JSON API shows them.

Pure.  Prometheus drops a whole protobuf scrape for one histogram that contradicts itself, so it is refused
here; the rules are those of its own check.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Sequence
from typing import Any

from exporter.errors import Inconsistent
from exporter.golang import go_float

__all__ = ["api_buckets", "check_native", "has_native_buckets"]

_SCHEMAS = range(-4, 9)
"""Exponential ones; custom bounds (-53) have no place in the messages clients send."""


def has_native_buckets(histogram: Any) -> bool:
    """Whether Prometheus reads a histogram message as a native one."""
    return bool(
        histogram.positive_span
        or histogram.negative_span
        or histogram.zero_threshold > 0
        or histogram.zero_count > 0
        or histogram.zero_count_float > 0
    )


def check_native(name: str, histogram: Any) -> None:
    """Refuse a native histogram that Prometheus would.

    Raises:
        Inconsistent: Its schema is none, its spans and buckets do not match, or its counts do not add up.
    """
    if histogram.schema not in _SCHEMAS:
        raise Inconsistent(f'native histogram "{name}" has schema {histogram.schema}: want -4 to 8')
    floats = _is_float(histogram)
    found = histogram.zero_count_float if floats else histogram.zero_count
    for side, spans, counts in _sides(histogram):
        wanted = sum(span.length for span in spans)
        if any(span.offset < 0 for span in spans[1:]):
            raise Inconsistent(
                f'native histogram "{name}" has a {side} span that begins before the last ended'
            )
        if wanted != len(counts):
            raise Inconsistent(
                f'native histogram "{name}" has {len(counts)} {side} buckets: its spans have {wanted}'
            )
        if any(count < 0 for count in counts):
            raise Inconsistent(f'native histogram "{name}" has a {side} bucket with the count {min(counts)}')
        found += sum(counts)
    if floats:
        if histogram.sample_count_float < 0 or histogram.zero_count_float < 0:
            raise Inconsistent(f'native histogram "{name}" has a negative count')
        return
    # An observation that is NaN is in no bucket.
    if found > histogram.sample_count or (
        found != histogram.sample_count and not math.isnan(histogram.sample_sum)
    ):
        raise Inconsistent(
            f'native histogram "{name}" has {found} observations in its buckets and the count '
            f"{histogram.sample_count}"
        )


def api_buckets(histogram: Any) -> list[list[int | str]]:
    """Buckets that are not empty, from below.

    Returns:
        Of each which ends belong to it (0 the upper, 1 the lower, 3 both), lower end, upper end, count.
    """
    (_, positive_spans, positives), (_, negative_spans, negatives) = _sides(histogram)
    schema = histogram.schema
    shown: list[list[int | str]] = [
        [1, go_float(-_bound(at, schema)), go_float(-_bound(at - 1, schema)), go_float(count)]
        for at, count in reversed(list(zip(_places(negative_spans), negatives, strict=False)))
        if count
    ]
    zero = histogram.zero_count_float if _is_float(histogram) else histogram.zero_count
    if zero:
        width = histogram.zero_threshold
        shown.append([3, go_float(-width), go_float(width), go_float(zero)])
    shown += [
        [0, go_float(_bound(at - 1, schema)), go_float(_bound(at, schema)), go_float(count)]
        for at, count in zip(_places(positive_spans), positives, strict=False)
        if count
    ]
    return shown


def _is_float(histogram: Any) -> bool:
    return bool(histogram.sample_count_float > 0 or histogram.zero_count_float > 0)


def _sides(histogram: Any) -> tuple[tuple[str, Sequence[Any], list[float]], ...]:
    """Name, spans and counts of the positive and of the negative buckets."""
    if _is_float(histogram):
        return (
            ("positive", histogram.positive_span, list(histogram.positive_count)),
            ("negative", histogram.negative_span, list(histogram.negative_count)),
        )
    return (
        ("positive", histogram.positive_span, _summed(histogram.positive_delta)),
        ("negative", histogram.negative_span, _summed(histogram.negative_delta)),
    )


def _summed(deltas: Iterable[int]) -> list[float]:
    count = 0
    return [count := count + delta for delta in deltas]


def _places(spans: Iterable[Any]) -> Iterator[int]:
    """The index of each bucket."""
    at = 0
    for span in spans:
        at += span.offset
        yield from range(at, at + span.length)
        at += span.length


def _bound(at: int, schema: int) -> float:
    """The upper end of a bucket: 2 to the power of its index over 2 to the power of the schema."""
    try:
        return float(2.0 ** (at * 2.0**-schema))
    except OverflowError:
        return math.inf
