from __future__ import annotations

import gzip
import random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from exporter.encoding import decode_body
from exporter.errors import Malformed, TooLarge

MEMBERS = st.lists(
    st.builds(
        lambda seed, length, level: gzip.compress(random.Random(seed).randbytes(length), level),
        st.integers(0, 9),
        st.sampled_from([0, 1, 4000, 4078, 4096, 9000]),
        st.sampled_from([0, 6]),
    ),
    min_size=1,
    max_size=4,
)


@given(MEMBERS, st.integers(1, 30))
def test_a_body_of_several_members_is_their_sum(members: list[bytes], cut: int) -> None:
    """Wherever one ends; a body that ends within one is refused, and one that is larger than the limit."""
    body = b"".join(members)
    want = gzip.decompress(body)
    assert decode_body(body, b"gzip", len(want)) == want
    if cut < len(members[-1]):
        with pytest.raises(Malformed, match="unexpected EOF"):
            decode_body(body[:-cut], b"gzip", len(want) + 1)
    if want:
        with pytest.raises(TooLarge):
            decode_body(body, b"gzip", len(want) - 1)


def test_many_members_are_read() -> None:
    """The rest of the body is not copied for each."""
    body = gzip.compress(b"") * 1_000_000 + gzip.compress(b"m 1\n")
    assert decode_body(body, b"gzip", 4 * 2**20) == b"m 1\n"
