from __future__ import annotations

import contextlib
import math
import tracemalloc

import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from prometheus_client.parser import text_string_to_metric_families

from exporter.errors import CallerError, ParseError, TooLarge
from exporter.families import (
    Chunk,
    FamilyShape,
    Parsed,
    check_family,
    compile_family,
    count_lines,
    fill,
    group_text,
)
from exporter.textformat import _Body, _Cursor, canonical_number, parse_text

NAMES = st.from_regex(r"[a-z_]{1,3}", fullmatch=True)
LABELS = st.dictionaries(
    st.from_regex(r"[a-zA-Z_][a-zA-Z0-9_]{0,4}", fullmatch=True).filter(
        lambda name: name not in ("__name__", "le", "quantile")
    ),
    st.text(max_size=5),
    max_size=3,
)
VALUES = st.one_of(
    st.floats().map(repr),
    st.integers(-(10**20), 10**20).map(str),
    st.sampled_from(["+Inf", "-inf", "NaN", "nan", "Infinity", "1e6", ".5", "5.", "-0", "007"]),
)
BLANKS = st.sampled_from(["", " ", "\t", "  "])


def escape(text: str) -> str:
    return text.replace("\\", r"\\").replace("\n", r"\n").replace('"', r"\"")


@st.composite
def sample_lines(draw: st.DrawFn) -> str:
    """A sample line in any of the ways the format allows it to be written."""
    labels = draw(LABELS)
    between = draw(BLANKS)
    inside = ",".join(f'{between}{k}{between}="{escape(v)}"{between}' for k, v in labels.items())
    comma = draw(st.sampled_from(["", ","])) if labels else ""
    bare: bool = draw(st.booleans())
    braces = f"{{{inside}{comma}}}" if labels or bare else ""
    blank = draw(st.sampled_from([" ", "\t", "   "])) if not braces else draw(BLANKS)
    return f"{draw(BLANKS)}{draw(NAMES)}{braces}{blank}{draw(VALUES)}"


BODIES = st.lists(
    st.one_of(
        sample_lines(),
        st.builds("# HELP {} {}".format, NAMES, st.text(max_size=5)),
        st.builds("# TYPE {} {}".format, NAMES, st.sampled_from(["gauge", "counter", "untyped", "GAUGE"])),
        st.text(max_size=8),
    ),
    max_size=6,
).map(lambda lines: "".join(line + "\n" for line in lines).encode("utf-8", "surrogateescape"))


def slowly(body: bytes) -> Parsed:
    """The same body, every line through the cursor."""
    body.decode("utf-8")
    out = _Body()
    lines = body.split(b"\n")
    for number, line in enumerate(lines, 1):
        if line:
            _Cursor(line, number, number < len(lines), out, utf8_names=False).read()
    return out.finish()


def outcome(call: object, body: bytes) -> object:
    try:
        parsed = call(body)  # type: ignore[operator]  # either parser
    except CallerError as error:
        return str(error)
    return parsed.families, parsed.values, parsed.counts, parsed.has_timestamps


@given(BODIES)
@example(b"# TYPE s summary\ns_count 2.7\ns_sum 1\ns_count 3\n")
@example(b"# TYPE s summary\n# HELP s_count x\ns_count 1\n")
@example(b"# HELP h_bucket x\n# TYPE h histogram\nh_bucket 1\n")
@example(b'm{a="1",b="2",a="3"} 1\n')
def test_the_quick_way_and_the_slow_way_agree(body: bytes) -> None:
    """The regular expressions read and refuse exactly what the byte-by-byte cursor does."""
    assert outcome(parse_text, body) == outcome(slowly, body)


@given(st.binary(max_size=60))
def test_any_bytes_are_read_or_refused(body: bytes) -> None:
    """No input raises anything but ParseError."""
    try:
        parse_text(body)
        parse_text(body, accept_crlf=True, utf8_names=True)
    except ParseError as error:
        assert str(error).startswith("text format parsing error in line ")


@given(st.text(alphabet='a{}="\\,# 1\n\tHELPTYeinf_', max_size=40))
def test_any_text_of_the_format_is_read_or_refused(text: str) -> None:
    """Nothing that looks like the format raises anything but ParseError."""
    try:
        parse_text(text.encode(), utf8_names=True)
    except ParseError as error:
        assert "in line" in str(error)


def with_grouping(labels: tuple[tuple[str, str], ...]) -> tuple[tuple[str, str], ...]:
    return tuple(sorted({"instance": "", **dict(labels), "job": "j"}.items()))


def seen_as(shape: FamilyShape) -> str:
    """The reference client reads a counter as if its name ended in _total."""
    return shape.name + ("_total" if shape.kind == "counter" and not shape.name.endswith("_total") else "")


@given(BODIES)
@example(b"# TYPE a counter\na 1\n")
def test_what_is_shown_is_what_was_read(body: bytes) -> None:
    """Rendered and read again, by us and by the reference client's parser, a body says the same."""
    try:
        parsed = parse_text(body)
        for family in parsed.families:
            check_family(family)
        shapes = [compile_family(family, [("job", "j")]) for family in parsed.families]
    except CallerError:
        return
    assert [len(shape.prefixes) for shape in shapes] == list(map(count_lines, parsed.families))
    text = group_text([Chunk(shape, fill(shape, parsed.values)) for shape in shapes])
    again = parse_text(text)
    shapes_again = [compile_family(family, [("job", "j")]) for family in again.families]
    assert group_text([Chunk(s, fill(s, again.values)) for s in shapes_again]) == text
    ours = {
        (seen_as(shape), with_grouping(m.labels)): parsed.values[m.value]
        for shape, family in zip(shapes, parsed.families, strict=True)
        for m in family.metrics
    }
    theirs = {
        (sample.name, tuple(sorted(sample.labels.items()))): sample.value
        for family in text_string_to_metric_families(text.decode())
        for sample in family.samples
    }
    assert theirs.keys() == ours.keys()
    for key, value in theirs.items():
        assert value == float(ours[key]) or (math.isnan(value) and math.isnan(float(ours[key])))


@given(st.text(max_size=12))
def test_a_number_means_the_same_before_and_after(text: str) -> None:
    """canonical_number takes no more than Python's float and keeps its value."""
    number = canonical_number(text)
    if number is not None:
        want, have = float(text), float(number)
        assert have == want or (math.isnan(have) and math.isnan(want))


@pytest.mark.parametrize(
    "text", ["", "+", "-", ".", "1_0", "0x1", " 1", "1 ", "+NaN", "1e", "١", "1e999", "infin"]
)
def test_what_is_no_number(text: str) -> None:
    """Hex, underscores, blanks, other digits, a signed NaN and what overflows are refused."""
    assert canonical_number(text) is None


def test_lines_of_a_histogram_become_one_metric() -> None:
    """Buckets, sum and count of equal labels belong together, in the order pushed."""
    body = (
        b'# TYPE h histogram\nh_bucket{a="x",le="1"} 1\nh_bucket{le="1",a="y"} 2\n'
        b'h_bucket{a="x",le="+Inf"} 3\nh_sum{a="x"} 4.5\nh_count{a="x"} 3\n'
    )
    (family,) = parse_text(body).families
    assert (family.kind, count_lines(family)) == ("histogram", 8)
    assert [m.labels for m in family.metrics] == [(("a", "x"),), (("a", "y"),)]
    assert [bound for bound, _ in family.metrics[0].points] == [1.0, math.inf]
    assert fill(compile_family(family, []), parse_text(body).values).decode().splitlines() == [
        'h_bucket{a="x",instance="",le="1"} 1',
        'h_bucket{a="x",instance="",le="+Inf"} 3',
        'h_sum{a="x",instance=""} 4.5',
        'h_count{a="x",instance=""} 3',
        'h_bucket{a="y",instance="",le="1"} 2',
        'h_bucket{a="y",instance="",le="+Inf"} 0',
        'h_sum{a="y",instance=""} 0',
        'h_count{a="y",instance=""} 0',
    ]


@pytest.mark.parametrize(
    ("more", "why"),
    [(b'le="1"} 1', None), (b'a5=""} 1', "duplicate label names"), (b'le="1"} x', "expected float as value")],
)
def test_a_line_of_many_labels_is_read(more: bytes, why: str | None) -> None:
    """The slow way looks for none of them among all before it."""
    body = b"m{%s,%s\n" % (b",".join(b'a%d=""' % i for i in range(100_000)), more)
    if why is None:
        assert len(parse_text(body).families[0].metrics[0].labels) == 100_001
        return
    with pytest.raises(ParseError, match=why):
        parse_text(body)


@pytest.mark.parametrize("value", [b"x" * 100_000, b"\\n" * 50_000])
@pytest.mark.parametrize("end", [b'"} 1\n', b'"} 1 \n', b'" 1\n'])
def test_a_long_value_takes_memory_as_long_as_itself(value: bytes, end: bytes) -> None:
    """Read or refused, it is not remembered character by character."""
    tracemalloc.start()
    with contextlib.suppress(ParseError):
        parse_text(b'm{a="' + value + end)
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert peak < 25 * len(value)


@pytest.mark.parametrize(
    "body",
    [
        b'm{a="1"} 1\nm{a="2"} 1\nm{a="3"} 1\n',
        b'# TYPE s summary\ns{quantile="0"} 1\ns_sum 1\ns{quantile="1"} 1\ns 1\ns{quantile="2"} 1\n',
        b'# TYPE h histogram\nh_bucket{le="1"} 1\nn 1\nh_count 1\n n 2\n',
    ],
)
def test_a_body_of_too_many_series_is_not_read_on(body: bytes) -> None:
    """What stands behind the first that is too many is not looked at; lines that are no series count not."""
    assert len(parse_text(body, max_series=3).values) >= 3
    with pytest.raises(TooLarge, match="more than 2 series in one push: DECK_MAX_SERIES_PER_PUSH is 2"):
        parse_text(body + b"no sample\n", max_series=2)
