"""What the store keeps of a group reads back as what was shown, though it may be the body as it came."""

from __future__ import annotations

import asyncio
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import pytest
from hypothesis import event, example, given
from hypothesis import strategies as st
from structlog.testing import capture_logs

from exporter.errors import CallerError
from exporter.http import Call
from exporter.layout import LayoutMemo
from exporter.routes.gateway import read_push
from exporter.service import Service
from exporter.settings import read_settings
from exporter.sql_store import SqlStore
from exporter.state import Group
from exporter.store import Batch, GroupRow
from exporter.writer import group_of_row
from tests.exporter.conftest import Starter
from tests.exporter.deck import Deck
from tests.exporter.test_layout import LINES
from tests.exporter.test_textformat import BODIES

PATHS = ("job/j", "job/j/instance/i", "job/j/a/x/b/", "job@base64/w6k/le/9")
SETTINGS = st.fixed_dictionaries(
    {"DECK_ACCEPT_CRLF": st.sampled_from("01"), "DECK_UTF8_NAMES": st.sampled_from("01")}
)


def families(group: Group) -> dict[str, Any]:
    return {
        name: (chunk.body, chunk.shape.kind, chunk.shape.help, chunk.shape.keys)
        for name, chunk in group.chunks.items()
    }


@given(
    SETTINGS, st.lists(st.tuples(st.sampled_from(PATHS), st.one_of(LINES, BODIES)), min_size=1, max_size=4)
)
@example(
    {"DECK_ACCEPT_CRLF": "0", "DECK_UTF8_NAMES": "0"}, [(PATHS[2], b'm{b="2",job="x"} 1\n# HELP m "h\\n\n')]
)
@example({"DECK_ACCEPT_CRLF": "0", "DECK_UTF8_NAMES": "0"}, [(PATHS[0], b"# HELP m ends in CR\r\nm 1\n")])
@example({"DECK_ACCEPT_CRLF": "1", "DECK_UTF8_NAMES": "0"}, [(PATHS[0], b"# HELP m ends in CR\r\nm 1\n")])
@example({"DECK_ACCEPT_CRLF": "1", "DECK_UTF8_NAMES": "1"}, [(PATHS[0], b'{"\xc3\xa9"} 1\r\nm 2\r\n')])
def test_a_body_that_is_kept_as_it_came_reads_back(
    environment: dict[str, str], pushes: list[tuple[str, bytes]]
) -> None:
    """Whatever the settings were when it was pushed, a start reads the same families and numbers."""
    service = SimpleNamespace(settings=read_settings(environment), memo=LayoutMemo())
    for path, body in pushes * 2:
        call = Call("PUT", b"/metrics/" + path.encode(), b"", {}, body)
        try:
            push = read_push(cast(Service, service), call)
        except CallerError:
            continue
        if push.text is None or push.layout is None:
            continue
        event("kept as it came")
        shown = Group(push.key, layout=push.layout, values=push.values)
        kept = group_of_row(GroupRow(push.key.id, push.text, None, 0.0, 0.0, None))
        assert families(kept) == families(shown)
        assert kept.series == shown.series


@pytest.mark.parametrize(
    "body",
    [
        b'# HELP m a \\\\ b\n# TYPE m gauge\nm{job="other",x="\\"1 2\\""} %d\nm{x="2"} 7\n',
        b'# TYPE h histogram\nh_bucket{le="1"} 3\nh_bucket{le="2"} %d\nh_count 99\n',
        b'# TYPE s summary\ns{quantile="0.5"} 1.5\ns_sum %d\n',
        b"# HELP m ends in CR\r\nm %d\n",
        b"a 1\n\n# a comment\nb %d\n# TYPE empty gauge\n",
    ],
)
@pytest.mark.parametrize("method", ["PUT", "POST"])
def test_a_restart_shows_what_was_shown(make_deck: Starter, method: str, body: bytes) -> None:
    """The third push of a shape, the one before a refused one, and a partial one, all read back."""
    deck = make_deck()
    for number in (1, 20, 3):
        assert deck.send(method, "/metrics/job/j/instance/", body % number).status == 200
        assert deck.send(method, "/metrics/job/refused", body % number).status == 200
        assert deck.send(method, "/metrics/job/partial", body % number).status == 200
    assert deck.send("PUT", "/metrics/job/refused", b"m 1\nm 1\n").status == 400
    assert deck.send("POST", "/metrics/job/partial", b"z 5\n").status == 200
    before = shown(deck.send("GET", "/metrics").text)
    assert len(before) >= 3
    assert shown(make_deck().send("GET", "/metrics").text) == before


@pytest.mark.parametrize(
    ("known", "other"),
    [
        (b"a 1\nb 2\n", b"a \xffb 1\n\xff\n"),
        (
            b'# TYPE s summary\ns_sum 1\ns{quantile="nan"} 2\n',
            b'# TYPE s summary\ns_sum \xffs{quantile="nan"} 1\n\xff\n',
        ),
    ],
)
def test_what_is_no_utf8_is_never_taken_for_a_known_body(
    make_deck: Starter, known: bytes, other: bytes
) -> None:
    """Such a body was kept as it came once, and no start could read it."""
    deck = make_deck()
    assert deck.send("PUT", "/metrics/job/j", known).status == 200
    answer = deck.send("PUT", "/metrics/job/j", other)
    assert (answer.status, "invalid UTF-8" in answer.text) == (400, True)
    before = shown(deck.send("GET", "/metrics").text)
    assert shown(make_deck().send("GET", "/metrics").text) == before


BROKEN = '[["job","broken"]]'


def with_a_broken_group(make_deck: Starter, tmp_path: Path) -> Deck:
    """A deck whose store has a group that nobody can read, beside one that is sound."""
    deck = make_deck()
    assert deck.send("PUT", "/metrics/job/sound", b"m 1\n").status == 200
    deck.run(deck.app.stop())
    store = SqlStore(f"sqlite:///{tmp_path}/deck.db")
    store.commit(Batch(groups={BROKEN: GroupRow(BROKEN, b"m \xff\n", None, 1.0, 0.0, None)}), 2)
    assert any("invalid UTF-8" in line for line in store.check())
    store.close()
    with capture_logs() as logged:
        deck = make_deck(stop=False, DECK_ADMIN_API="1")
    assert [(line["event"], line["group"]) for line in logged] == [
        ("a stored group is left out until it is pushed again or deleted", BROKEN)
    ]
    return deck


def test_a_group_that_cannot_be_read_is_left_out_until_it_is_pushed_again(
    make_deck: Starter, tmp_path: Path
) -> None:
    """A start shows all others, and says which it does not."""
    deck = with_a_broken_group(make_deck, tmp_path)
    assert deck.metrics()['m{instance="",job="sound"}'] == 1.0
    assert 'm{instance="",job="broken"}' not in deck.metrics()
    assert deck.send("PUT", "/metrics/job/broken", b"m 2\n").status == 200
    assert make_deck().metrics()['m{instance="",job="broken"}'] == 2.0


@pytest.mark.parametrize(
    ("method", "path"), [("DELETE", "/metrics/job/broken"), ("PUT", "/api/v1/admin/wipe")]
)
def test_a_group_that_cannot_be_read_can_be_removed(
    make_deck: Starter, tmp_path: Path, method: str, path: str
) -> None:
    """It goes from the store, which then is sound again."""
    deck = with_a_broken_group(make_deck, tmp_path)
    for _ in range(2):
        assert deck.send(method, path).status == 202
    store = cast(SqlStore, make_deck().app.service.reader)
    assert store.check() == []
    assert BROKEN not in store.load().groups


def test_of_one_batch_the_last_word_counts(make_deck: Starter) -> None:
    """A body that another push changed before both were written is not what the store keeps."""
    deck = make_deck()
    path, body = "/metrics/job/j", b"a 1\nb 2\n"
    partial = b"b 3\nc 4\n"
    for method, known in (("POST", partial), ("PUT", body)):
        assert deck.send(method, path, known).status == 200

    async def together() -> list[int]:
        calls = [deck.request("PUT", path, body), deck.request("POST", path, partial)]
        return [answer.status for answer in await asyncio.gather(*calls)]

    assert deck.run(together()) == [200, 200]
    assert {k: v for k, v in make_deck().metrics().items() if k[0] in "abc" and k[1] == "{"} == {
        'a{instance="",job="j"}': 1.0,
        'b{instance="",job="j"}': 3.0,
        'c{instance="",job="j"}': 4.0,
    }


def shown(page: str) -> list[str]:
    """Lines that groups brought, sorted: a page's order of groups may differ after a start."""
    return sorted(
        line
        for line in page.splitlines()
        if 'job="' in line or line.startswith(("# HELP m ", "# TYPE m ", "# TYPE h ", "# TYPE s "))
    )
