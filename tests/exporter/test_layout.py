from __future__ import annotations

from hypothesis import event, example, given
from hypothesis import strategies as st

from exporter.errors import CallerError
from exporter.families import compile_family
from exporter.layout import Layout, LayoutMemo, cut_body
from exporter.textformat import parse_text
from tests.exporter.test_textformat import BODIES

LINES = st.lists(
    st.one_of(
        st.builds(
            lambda n, v: f"{n} {v}\n", st.sampled_from("abc"), st.sampled_from(["1", "2.5", "-3", "NaN"])
        ),
        st.builds(
            lambda b, v: f'h_bucket{{le="{b}"}} {v}\n',
            st.sampled_from(["1", "2"]),
            st.sampled_from(["1", "2"]),
        ),
        st.sampled_from(
            ["# TYPE h histogram\n", "# HELP a see 5\n", "# a 1\n", "\n", "h_count 3\n", "h_sum 1.5\n"]
        ),
    ),
    max_size=8,
).map(lambda lines: "".join(lines).encode())


def layout_of(body: bytes) -> tuple[Layout, list[bytes]]:
    parsed = parse_text(body)
    return Layout.of(
        parsed, {f.name: compile_family(f, [("job", "j")]) for f in parsed.families}
    ), parsed.values


@given(st.lists(st.one_of(LINES, BODIES), min_size=1, max_size=5))
def test_a_remembered_body_reads_as_a_parsed_one(bodies: list[bytes]) -> None:
    """Whatever was pushed before, what the memo recalls is what the parser would say."""
    memo = LayoutMemo(capacity=10)
    pusher = memo.pusher(b"job/g")
    for body in bodies * 2:
        cut = cut_body(body)
        numbers, last = memo.numbers(pusher, body), pusher.layout
        recalled, known = memo.layout(pusher, cut), memo.parsed(cut)
        try:
            layout, values = layout_of(body)
        except CallerError:
            assert recalled is None
            assert numbers is None
            continue
        if numbers is not None:
            event("in the frame of the last")
            assert numbers == cut.numbers
            assert last is recalled
        if recalled is not None:
            assert recalled.text(cut.numbers) == layout.text(values)
        if known is not None:
            parsed = parse_text(body)
            assert (known.families, known.values) == (parsed.families, parsed.values)
        memo.remember(pusher, body, cut, parse_text(body), layout)


NUMBERS = st.sampled_from(
    [
        b"0",
        b"-0",
        b"17",
        b"2.50",
        b"1e5",
        b"+1",
        b"NaN",
        b"-Inf",
        b"1 2",
        b"1\t",
        b"1\r",
        b"",
        b"0x1",
        b"007",
        b"9" * 16,
    ]
)
FRAME = (
    b'# HELP a see 5\na %s\na{b="c 1"} %s\n# TYPE h histogram\nh_bucket{le="1"} 3\nh_count %s\n\n# end 7\n'
)


@example([(b"1", b"2", b"2.50"), (b"1", b"2", b"-0")], 0, b"")
@given(
    st.lists(st.tuples(NUMBERS, NUMBERS, NUMBERS), min_size=1, max_size=4),
    st.integers(0, 6),
    st.binary(max_size=2),
)
def test_a_frame_finds_the_numbers_or_nothing(
    pushes: list[tuple[bytes, bytes, bytes]], cut_off: int, added: bytes
) -> None:
    """Whatever stands where numbers stood: the same numbers as the parser, or the long way."""
    memo = LayoutMemo()
    pusher = memo.pusher(b"job/g")
    first = FRAME % (b"1", b"2", b"3")
    layout, values = layout_of(first)
    memo.remember(pusher, first, cut_body(first), parse_text(first), layout)
    assert memo.numbers(pusher, first) == values
    for numbers in pushes:
        whole = FRAME % numbers
        for body in (whole, whole[: len(whole) - cut_off] + added):
            found = memo.numbers(pusher, body)
            plain = all(number in (b"0", b"-0", b"17", b"2.50", b"1", b"2") for number in numbers)
            assert (found is not None) == (body == whole and plain and numbers[2].isdigit())
            assert found in (None, parse_text(whole).values if plain else None)


BYTES = st.lists(
    st.sampled_from([b"a ", b"b ", b"1", b"\n", b"# 2\n", b"\xff", b"\xfe", b"1\n"]), max_size=8
).map(b"".join)


@given(BYTES, BYTES)
@example(b"a 1\nb 2\n", b"a \xffb 1\n\xff\n")
@example(b"a 1\nb 2\n", b"a 1\n\xfe2\n")
def test_one_head_is_one_text(known: bytes, other: bytes) -> None:
    """No bytes that a body may bring make it pass for another whose numbers only differ."""
    try:
        known.decode()
    except UnicodeDecodeError:
        return  # such a body is never remembered
    one, two = cut_body(known), cut_body(other)
    if one.head == two.head:
        assert len(one.numbers) == len(two.numbers)
        if two.plain:
            other.decode()


def test_a_group_with_two_bodies_is_never_taken_for_the_other() -> None:
    """Whichever came last, the frame that is tried and the layout that is given belong together."""
    memo = LayoutMemo()
    pusher = memo.pusher(b"job/g")
    bodies = {body: layout_of(body)[0] for body in (b"a 1\n", b"b 1\nc 2\n")}
    for body, layout in bodies.items():
        memo.remember(pusher, body, cut_body(body), parse_text(body), layout)
    for body in [*bodies, *reversed(bodies)] * 2:
        numbers, given_layout = memo.numbers(pusher, body), pusher.layout
        if numbers is None:
            cut = cut_body(body)
            numbers, given_layout = cut.numbers, memo.layout(pusher, cut)
        assert given_layout is bodies[body]
        assert numbers == parse_text(body).values


def test_the_whole_text_is_the_families_one_by_one() -> None:
    """One fill for the store and one per family for the scrape give the same lines."""
    layout, values = layout_of(
        b'# TYPE h histogram\nh_bucket{le="1"} 3\nh_count 4\n# HELP a x\na 1\na{b="c"} 2\n'
    )
    assert layout.text(values) == (
        b'# TYPE h histogram\nh_bucket{instance="",job="j",le="1"} 3\n'
        b'h_bucket{instance="",job="j",le="+Inf"} 4\n'
        b'h_sum{instance="",job="j"} 0\nh_count{instance="",job="j"} 4\n'
        b'# HELP a x\n# TYPE a untyped\na{instance="",job="j"} 1\na{b="c",instance="",job="j"} 2\n'
    )
    assert b"".join(chunk.body for chunk in layout.fill(values).values()) in layout.text(values).replace(
        b"# HELP a x\n# TYPE a untyped\n", b""
    )


def test_the_memo_forgets_the_oldest() -> None:
    """It never keeps more than its capacity, neither of bodies nor of URLs."""
    memo = LayoutMemo(capacity=10)
    pusher = memo.pusher(b"job/g")
    for n in range(30):
        body = b"m%d 1\n" % n
        layout, _ = layout_of(body)
        memo.remember(pusher, body, cut_body(body), parse_text(body), layout)
    assert memo.layout(pusher, cut_body(b"m0 1\n")) is None
    assert memo.layout(pusher, cut_body(b"m29 7\n")) is not None
    assert memo.layout(pusher, cut_body(b"m28 7\n")) is not None
    assert memo.layout(memo.pusher(b"job/other"), cut_body(b"m29 7\n")) is None
    again = [memo.pusher(b"job/%d" % n) for n in range(10)]
    assert memo.pusher(b"job/9") is again[9]
    assert memo.pusher(b"job/g") is not pusher
    assert memo.pusher(b"job/g").key == pusher.key
