from __future__ import annotations

import math
from collections.abc import Iterable

import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from prometheus_client import CollectorRegistry, Counter, Histogram, Summary, generate_latest
from prometheus_client.openmetrics.parser import text_string_to_metric_families as read_openmetrics
from prometheus_client.parser import text_string_to_metric_families as read_text

from exporter.errors import Inconsistent
from exporter.exposition import render_text
from exporter.families import Chunk, compile_family, fill
from exporter.grouping import group_key
from exporter.index import Index
from exporter.openmetrics import render_openmetrics
from exporter.state import Group, State
from exporter.textformat import parse_text

Sample = tuple[str, frozenset[tuple[str, str]], str]


def state_of(bodies: Iterable[str]) -> State:
    """A state with a group for each body; one that contradicts those before it is left out."""
    state = State(Index())
    for number, body in enumerate(bodies):
        key = group_key({"job": str(number)})
        parsed = parse_text(body.encode())
        try:
            shapes = {family.name: compile_family(family, key.labels) for family in parsed.families}
            state.index.replace(key.id, {}, shapes)
        except Inconsistent:
            continue
        chunks = {name: Chunk(shape, fill(shape, parsed.values)) for name, shape in shapes.items()}
        state.put_group(key.id, Group(key, chunks))
    return state


def page(*bodies: str) -> str:
    return b"".join(render_openmetrics(state_of(bodies), [])).decode()


def kinds(text: str) -> dict[str, str]:
    return {family.name: family.type for family in read_openmetrics(text)}


def sample(name: str, labels: dict[str, str], value: float) -> Sample:
    # A bound is one number however it is written; only a line's own point label may be written anew.
    point = "le" if name.endswith("_bucket") else "quantile"
    told = {k: repr(float(v)) if k == point else v for k, v in labels.items()}
    return name, frozenset(told.items()), repr(value)


VALUES = st.sampled_from(["0", "1", "2.5", "-1", "NaN", "+Inf", "-0.5", "1e3"])
LABELS = st.sampled_from(["", 'x="} -5",', 'x="_bucket{} ",', 'x=" nan",', 'x="\\" 1\\n",', 'x="é",'])
NAMES = st.builds(
    "{}{}{}".format,
    st.sampled_from(["a", "b", ""]),
    st.sampled_from(["", "_total", "_created", "_sum", "_count", "_gsum"]),
    st.sampled_from(["", "_total", "_created"]),
).filter(bool)


@st.composite
def histograms(draw: st.DrawFn, name: str) -> str:
    bounds = sorted(draw(st.sets(st.sampled_from([-1.5, -1.0, 0.0, 0.5, 1.0, 1e6]), max_size=3)))
    labels, count, lines = draw(LABELS), 0, []
    for bound in [*bounds, math.inf]:
        count += draw(st.integers(0, 3))
        lines.append(f'{name}_bucket{{{labels}le="{bound:g}"}} {count}\n'.replace('"inf"', '"+Inf"'))
    sums = f"{name}_sum{{{labels}}} {draw(VALUES)}\n{name}_count{{{labels}}} {count}\n"
    return f"# TYPE {name} histogram\n" + "".join(lines) + sums


@st.composite
def summaries(draw: st.DrawFn, name: str) -> str:
    labels = draw(LABELS)
    quantiles = draw(st.sets(st.sampled_from(["0", "1", "0.5", "0.99", "2", "-1", "NaN"]), max_size=2))
    lines = [f'{name}{{{labels}quantile="{quantile}"}} {draw(VALUES)}\n' for quantile in sorted(quantiles)]
    sums = f"{name}_sum{{{labels}}} {draw(VALUES)}\n{name}_count{{{labels}}} {draw(st.integers(0, 3))}\n"
    return f"# TYPE {name} summary\n" + "".join(lines) + sums


@st.composite
def families(draw: st.DrawFn) -> str:
    name, kind = draw(NAMES), draw(st.sampled_from(["gauge", "counter", "untyped", "histogram", "summary"]))
    if kind == "histogram":
        return draw(histograms(name))
    if kind == "summary":
        return draw(summaries(name))
    return f"# TYPE {name} {kind}\n{name}{{{draw(LABELS)}}} {draw(VALUES)}\n"


@given(st.lists(families(), max_size=6))
@example(["# TYPE _total counter\n_total 5\n"])
@example(["# TYPE a_total counter\na_total 1\n", '# TYPE a histogram\na_bucket{le="+Inf"} 0\na_count 0\n'])
@example(['# TYPE a_created gauge\na_created{x="1"} 1\n', "# TYPE a_total counter\na_total 1\n"])
def test_whatever_is_pushed_the_strict_reader_reads_all_of_it(bodies: list[str]) -> None:
    """No family costs the page; each number stands there, the sums of negative observations apart."""
    state = state_of(bodies)
    found = {
        sample(s.name, s.labels, s.value)
        for family in read_openmetrics(b"".join(render_openmetrics(state, [])).decode())
        for s in family.samples
    }
    # That reader of text takes no name that is but a suffix: it is given the lines alone.
    lines = "".join(
        line + "\n"
        for line in b"".join(render_text(state, [])).decode().splitlines()
        if not line.startswith("#")
    )
    want = {sample(s.name, s.labels, s.value) for family in read_text(lines) for s in family.samples}
    missing = {name for name, *_ in want - found}
    assert found <= want
    assert all(name.endswith(("_sum", "_count")) for name in missing)
    assert not missing or any("le" in dict(labels) and dict(labels)["le"][0] == "-" for _, labels, _ in want)


def test_what_pythons_client_pushes_keeps_its_types(monkeypatch: pytest.MonkeyPatch) -> None:
    """Its creation times, gauges of their own in text, stand among the lines they belong to."""
    # Its default, which our own programs switch off for all of their process.
    monkeypatch.setattr("prometheus_client.metrics._use_created", True)
    registry = CollectorRegistry()
    counter = Counter("jobs", "j", ["kind"], registry=registry)
    for kind in "ab":
        counter.labels(kind).inc()
    Histogram("took", "t", ["kind"], registry=registry).labels("a").observe(0.3)
    Summary("size", "s", registry=registry).observe(3)
    pushed = generate_latest(registry).decode()
    assert "# TYPE jobs_created gauge\n" in pushed
    text = page(pushed, pushed)
    assert kinds(text) == {"jobs": "counter", "took": "histogram", "size": "summary"}
    read = {s.name for family in read_openmetrics(text) for s in family.samples}
    assert {"jobs_created", "took_created", "size_created"} <= read
    assert text.count("jobs_created{") == 4


@pytest.mark.parametrize(
    ("body", "found"),
    [
        ("# TYPE _total counter\n_total 5\n", {"_total": "unknown"}),
        (
            "# TYPE a_created gauge\na_created 1\n# TYPE a_total counter\na_total 1\n",
            {"a": "counter"},
        ),
        (
            '# TYPE a_created gauge\na_created{x="1"} 1\n# TYPE a_total counter\na_total 1\n',
            {"a_created": "gauge", "a_total": "unknown"},
        ),
        (
            "# TYPE a_created counter\na_created 1\n# TYPE a_total counter\na_total 1\n",
            {"a_created": "unknown", "a_total": "unknown"},
        ),
        (
            "# TYPE a gauge\na 1\n# TYPE a_total counter\na_total 1\n",
            {"a": "gauge", "a_total": "unknown"},
        ),
        (
            '# TYPE h histogram\nh_bucket{le="+Inf"} 1\nh_sum 1\nh_count 1\n'
            "# TYPE h_sum_total counter\nh_sum_total 1\n",
            {"h": "histogram", "h_sum_total": "unknown"},
        ),
        (
            '# TYPE s summary\ns{quantile="2"} 1\ns_sum 1\ns_count 1\n',
            {"s": "unknown", "s_sum": "unknown", "s_count": "unknown"},
        ),
        ('# TYPE s summary\ns{quantile="1"} 1\ns_sum 1\ns_count 1\n', {"s": "summary"}),
    ],
)
def test_a_type_stands_where_its_rules_are_kept(body: str, found: dict[str, str]) -> None:
    """No two families claim one name, and a family without a type loses no line."""
    assert kinds(page(body)) == found


def test_a_metric_loses_its_sum_for_its_own_negative_bounds_only() -> None:
    """Those of another group leave it alone, and so do those of another metric of the group."""
    above, below = (
        f'h_bucket{{x="{x}",le="{x}"}} 1\nh_bucket{{x="{x}",le="+Inf"}} 1\n'
        f'h_sum{{x="{x}"}} {x}\nh_count{{x="{x}"}} 1\n'
        for x in (1, -1)
    )
    head = "# TYPE h histogram\n"
    text = page(head + above, head + below, head + above + below)
    assert kinds(text) == {"h": "histogram"}
    kept = {(s.name, s.labels["job"], s.labels["x"]) for f in read_openmetrics(text) for s in f.samples}
    sums = {(name, job, "1") for name in ("h_sum", "h_count") for job in "02"}
    assert {one for one in kept if one[0] != "h_bucket"} == sums
    assert {("h_bucket", job, x) for job, x in (("0", "1"), ("1", "-1"), ("2", "1"), ("2", "-1"))} <= kept


def test_only_a_lines_own_point_label_is_written_anew() -> None:
    """A histogram may have a label quantile, a summary one named le: they are no bounds here."""
    text = page(
        '# TYPE h histogram\nh_bucket{quantile="1",le="1"} 1\n'
        'h_sum{quantile="1"} 1\nh_count{quantile="1"} 1\n'
        '# TYPE s summary\ns{le="1",quantile="1"} 1\ns_sum{le="1"} 1\ns_count{le="1"} 1\n'
    )
    assert 'h_bucket{instance="",job="0",quantile="1",le="1.0"} 1\n' in text
    assert 's{instance="",job="0",le="1",quantile="1.0"} 1\n' in text
    assert 'h_sum{instance="",job="0",quantile="1"} 1\n' in text
    assert 's_sum{instance="",job="0",le="1"} 1\n' in text


@pytest.mark.parametrize(
    "value", ["_bucket{} ", "_sum{} nan", "} -", " -", " nan ", " 1", ',le="', "{ "], ids=repr
)
@pytest.mark.parametrize("kind", ["histogram", "counter", "summary"])
def test_a_long_label_value_is_looked_at_once(kind: str, value: str) -> None:
    """What looks like a number in 60,000 characters of one label costs a scrape nothing to speak of."""
    label = 'x="{}",'.format((value * (60_000 // len(value))).replace('"', '\\"'))
    lines = {
        "histogram": f'm_bucket{{{label}le="1"}} 1\nm_count{{{label}}} 1\nm_sum{{{label}}} 1\n',
        "counter": f"m_total{{{label}}} 1\n",
        "summary": f'm{{{label}quantile="1"}} 1\nm_count{{{label}}} 1\nm_sum{{{label}}} 1\n',
    }
    name = "m_total" if kind == "counter" else "m"
    assert kinds(page(f"# TYPE {name} {kind}\n{lines[kind]}")) == {"m": kind}
