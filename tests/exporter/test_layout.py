from __future__ import annotations

from hypothesis import given
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
        recalled, known = memo.layout(pusher, cut), memo.parsed(cut)
        try:
            layout, values = layout_of(body)
        except CallerError:
            assert recalled is None
            continue
        if recalled is not None:
            assert recalled.text(cut.numbers) == layout.text(values)
        if known is not None:
            parsed = parse_text(body)
            assert (known.families, known.values) == (parsed.families, parsed.values)
        memo.remember(pusher, body, cut, parse_text(body), layout)


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
