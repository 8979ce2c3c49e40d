from __future__ import annotations

import gc
import sys
from collections.abc import Callable
from types import FunctionType, ModuleType

import pytest
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
    memo = LayoutMemo(layouts_room=20_000, bodies_room=20_000)
    pusher = memo.pusher(b"job/g")
    for body in bodies * 2:
        cut = cut_body(body)
        numbers, last = memo.numbers(pusher, body), pusher.last()
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
        numbers, given_layout = memo.numbers(pusher, body), pusher.last()
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


def remember(memo: LayoutMemo, url: bytes, body: bytes) -> Layout:
    """Push a body nobody knows; the layout is what a state would hold."""
    pusher, parsed = memo.pusher(url), parse_text(body)
    shapes = {f.name: compile_family(f, pusher.key.labels) for f in parsed.families}
    layout = Layout.of(parsed, shapes)
    memo.remember(pusher, body, cut_body(body), parsed, layout)
    return layout


def is_known(memo: LayoutMemo, url: bytes, body: bytes) -> bool:
    return memo.layout(memo.pusher(url), cut_body(body)) is not None


def deep_size(top: object) -> int:
    """Bytes of all that an object keeps alive."""
    found: dict[int, object] = {}
    waiting = [top]
    while waiting:
        value = waiting.pop()
        if id(value) not in found and not isinstance(value, (type, FunctionType, ModuleType)):
            found[id(value)] = value
            waiting += gc.get_referents(value)
    return sum(map(sys.getsizeof, found.values()))


def many(n: int, build: int) -> bytes:
    return b"".join(b'm{build="%d",i="%d"} 1\n' % (build, i) for i in range(n))


def test_the_memo_forgets_the_oldest() -> None:
    """Of bodies that nobody shows any more the last are known, under the group that pushed them."""
    memo = LayoutMemo(layouts_room=20_000)
    for n in range(30):
        remember(memo, b"job/g", b"m%d 1\n" % n)
    assert not is_known(memo, b"job/g", b"m0 1\n")
    assert is_known(memo, b"job/g", b"m29 7\n")
    assert is_known(memo, b"job/g", b"m28 7\n")
    assert not is_known(memo, b"job/other", b"m29 7\n")
    for _ in range(100):
        remember(memo, b"job/g", b"m29 7\n")
    assert is_known(memo, b"job/g", b"m28 7\n")


@pytest.mark.parametrize(
    "body",
    [
        lambda n: many(50, n),
        lambda n: b"m%d 1\n" % n,
        lambda n: b"".join(b"m%d_%d 1\n" % (n, i) for i in range(14)),
        lambda n: b"# HELP m %d %s\nm 1\n" % (n, b"h" * 10_000),
        lambda n: b"# %d %s\nm 1\n" % (n, b"h" * 10_000),
        lambda n: b'm{a%d="%s"} 1\n' % (n, b"v" * 10_000),
        lambda n: "# HELP m {} {}\nm 1\n".format(n, "é😀" * 1000).encode(),
        lambda n: b"".join(b'm{i="%d",n="%d"} 1\nk{i="%d"} 1\n' % (i, n, i) for i in range(50)),
        lambda n: (
            b"# TYPE h histogram\n" + b"".join(b'h_bucket{n="%d",le="%d"} 1\n' % (n, i) for i in range(50))
        ),
    ],
)
def test_what_is_shown_no_longer_takes_no_more_than_its_room(body: Callable[[int], bytes]) -> None:
    """However many bodies and groups came and went, and whatever they are made of: all bytes are counted."""
    memo = LayoutMemo(layouts_room=400_000, bodies_room=200_000)
    for n in range(400):
        remember(memo, b"job/g/n/%d" % (n // 2), body(n))
    assert is_known(memo, b"job/g/n/199", body(399))
    assert 200_000 < deep_size(memo) < 600_000


def test_what_would_drive_out_all_others_is_not_kept() -> None:
    """A body too large for its room is forgotten with its group, one group's later ones are still known."""
    memo = LayoutMemo(layouts_room=100_000)
    remember(memo, b"job/g", b"m 1\n")
    remember(memo, b"job/h", many(500, 1))
    assert not is_known(memo, b"job/h", many(500, 1))
    assert is_known(memo, b"job/g", b"m 1\n")


def test_what_is_shown_is_known_however_much_it_is() -> None:
    """A fleet that takes more than the room is remembered whole as long as a state holds its layouts."""
    memo = LayoutMemo(layouts_room=100_000)
    shown = [remember(memo, b"job/g/instance/%d" % n, many(20, n)) for n in range(100)]
    assert sum(layout.size for layout in shown) > 300_000
    for n in range(100):
        assert memo.numbers(memo.pusher(b"job/g/instance/%d" % n), many(20, n)) is not None
    shown.clear()
    assert sum(is_known(memo, b"job/g/instance/%d" % n, many(20, n)) for n in range(100)) < 30


def test_a_url_is_known_with_what_came_by_it() -> None:
    """Who pushed nothing that is remembered is no pusher; of one layout's URLs the last is."""
    memo = LayoutMemo()
    empty = deep_size(memo)
    for n in range(100):
        memo.pusher(b"job/g/instance/%d" % n)
    assert deep_size(memo) == empty
    remember(memo, b"job/g", b"m 1\n")
    one = deep_size(memo)
    for n in range(100):
        spelt = memo.pusher(b"job/g/" + b"/".join([b"job/x"] * n) if n else b"job/%67")
        assert memo.layout(spelt, cut_body(b"m 1\n")) is not None
        assert memo.pusher(spelt.url) is spelt
    assert deep_size(memo) < one + 1000


def test_a_url_is_forgotten_with_its_layout() -> None:
    """Where nothing is kept and nothing shown, nothing is left."""
    memo = LayoutMemo(layouts_room=0, bodies_room=0)
    empty = deep_size(memo)
    for n in range(100):
        layout = remember(memo, b"job/%d" % n, b"m 1\n")
        assert memo.numbers(memo.pusher(b"job/%d" % n), b"m 1\n") is not None
        del layout
    assert deep_size(memo) < empty + 10_000  # a dictionary does not shrink at once
