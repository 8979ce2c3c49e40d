from __future__ import annotations

import base64
from urllib.parse import quote

import pytest
from hypothesis import given
from hypothesis import strategies as st

from exporter.errors import Malformed
from exporter.grouping import group_key, parse_labels, unescape_name

LABELS = st.dictionaries(
    st.from_regex(r"[a-zA-Z][a-zA-Z0-9_]{0,5}", fullmatch=True).filter(lambda name: name != "job"),
    st.text(max_size=8),
    max_size=4,
)


def encoded(text: str) -> str:
    return base64.urlsafe_b64encode(text.encode()).decode() or "="


@given(st.text(min_size=1, max_size=8), LABELS)
def test_any_key_goes_through_base64(job: str, labels: dict[str, str]) -> None:
    """Whatever is in the values, @base64 brings it through a path whole."""
    path = f"job@base64/{encoded(job)}" + "".join(f"/{k}@base64/{encoded(v)}" for k, v in labels.items())
    assert parse_labels(path.encode()) == {**labels, "job": job}


@given(st.text(min_size=1, max_size=8).filter(lambda t: "/" not in t), LABELS)
def test_any_key_without_slashes_goes_through_percent(job: str, labels: dict[str, str]) -> None:
    """Percent-encoding is enough for values that have no slash and are not empty."""
    plain = {k: v.replace("/", "") or "x" for k, v in labels.items()}
    path = f"job/{quote(job, safe='')}" + "".join(f"/{k}/{quote(v, safe='')}" for k, v in plain.items())
    assert parse_labels(path.encode()) == {**plain, "job": job}


@given(st.binary(max_size=30))
def test_any_path_is_read_or_refused(rest: bytes) -> None:
    """No path raises anything but Malformed, and what is read has a job."""
    for head in (b"job/", b"job@base64/"):
        try:
            assert parse_labels(head + rest)["job"]
        except Malformed as error:
            assert error.status == 400


@given(LABELS)
def test_a_key_does_not_depend_on_order(labels: dict[str, str]) -> None:
    """The same labels in another order are the same group, and other labels are another."""
    turned = dict(reversed(labels.items()))
    assert group_key(labels) == group_key(turned)
    assert group_key({**labels, "job": "a"}).id != group_key({**labels, "job": "b"}).id


@pytest.mark.parametrize(
    ("escaped", "name"),
    [
        ("U__a_2e_b", "a.b"),
        ("U__a__b", "a_b"),
        ("U___1F600_", "😀"),
        ("plain", "plain"),
        ("U__bad_zz_", "U__bad_zz_"),
        ("U__surrogate_D800_", "U__surrogate_D800_"),
        ("U__open_2e", "U__open_2e"),
    ],
)
def test_names_are_unescaped(escaped: str, name: str) -> None:
    """U__ names code points; what is not well formed stays as it is."""
    assert unescape_name(escaped) == name
