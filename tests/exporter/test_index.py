from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from exporter.errors import Inconsistent
from exporter.families import FamilyShape, compile_family
from exporter.grouping import group_key
from exporter.index import Index
from exporter.textformat import parse_text

FAMILIES = {
    "gauge": b"# TYPE m gauge\nm 1\n",
    "counter": b"# TYPE m counter\nm 1\n",
    "foreign": b'# TYPE m gauge\nm{instance="b"} 1\n',
    "histogram": b"# TYPE h histogram\nh_count 1\n",
    "summary": b"# TYPE h summary\nh_count 1\n",
    "count": b"h_count 1\n",
    "bucket": b"h_bucket 1\n",
    "own": b"# TYPE process_x counter\nprocess_x 1\n",
    "own wrong": b"# TYPE process_x gauge\nprocess_x 1\n",
}
KEYS = [{"job": "j"}, {"job": "j", "instance": "b"}, {"job": "k"}]


def shapes(which: list[str], labels: dict[str, str]) -> dict[str, FamilyShape]:
    found: dict[str, FamilyShape] = {}
    for name in which:
        for family in parse_text(FAMILIES[name]).families:
            found[family.name] = compile_family(family, group_key(labels).labels)
    return found


def verdict(groups: dict[str, dict[str, FamilyShape]]) -> bool:
    """Whether all groups stand together, checked from nothing."""
    index = Index({"process_x": "counter"})
    try:
        for gid, wanted in groups.items():
            index.replace(gid, {}, wanted)
    except Inconsistent:
        return False
    return True


STEPS = st.lists(
    st.tuples(st.integers(0, 2), st.lists(st.sampled_from(sorted(FAMILIES)), max_size=3)), max_size=12
)


@given(STEPS, st.integers(0, 12))
def test_the_index_decides_as_a_check_of_everything_would(
    steps: list[tuple[int, list[str]]], commit_at: int
) -> None:
    """After any history, with a rollback in it, a push is refused exactly if all together would clash."""
    index = Index({"process_x": "counter"})
    groups: dict[str, dict[str, FamilyShape]] = {}
    kept, mark = dict(groups), index.mark()
    for number, (which, names) in enumerate(steps):
        if number == commit_at:
            index.rollback(mark)
            groups = dict(kept)
        labels = KEYS[which]
        gid, wanted = group_key(labels).id, shapes(names, labels)
        fits = verdict({**groups, gid: wanted})
        if fits:
            index.replace(gid, groups.get(gid, {}), wanted)
            groups[gid] = wanted
        else:
            with pytest.raises(Inconsistent):
                index.replace(gid, groups.get(gid, {}), wanted)
        if number % 3 == 2:
            index.commit(mark)
            kept, mark = dict(groups), index.mark()


def test_the_refusal_names_the_other_side() -> None:
    """Type, parent or group of what is there already."""
    index = Index({"process_x": "counter"})
    index.replace("g1", {}, shapes(["histogram", "gauge"], KEYS[1]))
    for names, key, said in (
        (["counter"], KEYS[2], "type counter but the name is already used with type gauge"),
        (["foreign"], KEYS[0], "in the group g1"),
        (["count"], KEYS[2], 'collides with previously collected histogram named "h"'),
        (["own wrong"], KEYS[2], "already used with type counter"),
    ):
        with pytest.raises(Inconsistent, match=said):
            index.replace("g2", {}, shapes(names, key))
