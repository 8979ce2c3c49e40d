"""What a push may take: time to live, size, series."""

from __future__ import annotations

import asyncio
import gzip
from pathlib import Path
from urllib.parse import quote

import pytest

from exporter.errors import REASONS
from exporter.grouping import MAX_GROUP_BYTES, group_key
from exporter.protobuf import PROTOBUF, new_family, write_delimited
from exporter.records import BREAKERS
from exporter.sql_store import SqlStore
from exporter.state import BREAKER_SERIES, TOTALS_SERIES
from exporter.store import Batch, GroupRow
from tests.exporter.conftest import Starter
from tests.exporter.deck import TRADE, Deck

JOB = "/metrics/job/j"


def test_a_group_leaves_when_its_time_is_over(make_deck: Starter) -> None:
    """The header's TTL counts before the setting's; a push renews it; 0 is for ever."""
    deck = make_deck(DECK_GROUP_TTL_SEC="100")
    deck.send("PUT", "/metrics/job/short", b"m 1\n", {"X-Group-TTL": "10"})
    deck.send("PUT", "/metrics/job/usual", b"m 1\n")
    deck.send("PUT", "/metrics/job/ever", b"m 1\n", {"X-Group-TTL": "0"})

    def jobs() -> list[str]:
        deck.run(deck.app.expire())
        return sorted(
            name.split('job="')[1].split('"')[0] for name in deck.metrics() if name.startswith("m{")
        )

    deck.tick(9)
    assert jobs() == ["ever", "short", "usual"]
    deck.send("POST", "/metrics/job/short", b"")
    deck.tick(9)
    assert jobs() == ["ever", "short", "usual"]
    deck.tick(2)
    assert jobs() == ["ever", "usual"]
    deck.tick(100)
    assert jobs() == ["ever"]
    assert deck.metrics()["exporter_expired_groups_total"] == 2


@pytest.mark.parametrize("header", ["soon", "-1", "nan", "inf", "1_0", " 1", "0x1"])
def test_a_ttl_that_means_nothing_is_refused(deck: Deck, header: str) -> None:
    """The answer names the header; nothing is pushed."""
    answer = deck.send("PUT", JOB, b"m 1\n", {"X-Group-TTL": header})
    assert (answer.status, "X-Group-TTL" in answer.text) == (422, True)
    assert deck.send("GET", "/status").json["groups"] == 0


def test_each_limit_is_named(make_deck: Starter) -> None:
    """Body, series per push and series in all: 413, 413, 429, each with the setting's name."""
    deck = make_deck(DECK_MAX_BODY_BYTES="1000", DECK_MAX_SERIES="5", DECK_MAX_SERIES_PER_PUSH="3")
    answers = [
        deck.send("PUT", JOB, b"m 1\n" + b"#" * 1000),
        deck.send("PUT", JOB, gzip.compress(b"#" * 100_000), {"Content-Encoding": "gzip"}),
        deck.send("PUT", JOB, b"a 1\nb 1\nc 1\nd 1\n"),
        deck.send("PUT", "/metrics/job/k", b"a 1\nb 1\nc 1\n"),
        deck.send("PUT", JOB, b"d 1\ne 1\nf 1\n"),
        deck.send("POST", "/metrics/push", b" " * 1001),
    ]
    assert [answer.status for answer in answers] == [413, 413, 413, 200, 429, 413]
    named = ["MAX_BODY_BYTES", "MAX_BODY_BYTES", "MAX_SERIES_PER_PUSH", "", "MAX_SERIES", "MAX_BODY_BYTES"]
    assert all(name in answer.text for name, answer in zip(named, answers, strict=True))
    shown = deck.metrics()
    assert shown['exporter_push_rejections_total{reason="too_large"}'] == 4
    assert shown['exporter_push_rejections_total{reason="limit_reached"}'] == 1
    assert shown["exporter_series"] == 3
    assert shown["exporter_series_limit"] == 5


def test_the_answer_over_the_limit_says_what_helps(make_deck: Starter) -> None:
    """Series of trades and breakers stay when groups go, so deleting is advised only where it makes room."""
    deck = make_deck(DECK_MAX_SERIES="60")

    def refused(path: str, body: object) -> str:
        answer = deck.send("POST", path, body)
        assert (answer.status, "DECK_MAX_SERIES is 60" in answer.text) == (429, True)
        return answer.text

    assert "; delete groups nobody pushes, or raise it" in refused(JOB, b'm{a="%d"} 1\n' * 61 % (*range(61),))
    assert deck.send("POST", "/metrics/push", {"engine": "e", "equity_usd": 1}).status == 200
    kept = BREAKER_SERIES * len(BREAKERS)
    told = refused("/trades", {**TRADE, "engine": "e2"})
    assert f"; {kept * 2 + TOTALS_SERIES} of them are of trades, breakers and shares, which stay" in told
    assert "raise it, or delete groups nobody pushes" in told
    assert deck.send("DELETE", "/metrics/job/trading_engine/instance/e").status == 202
    told = refused("/trades", {**TRADE, "engine": "e2"})
    assert "stay when groups go: raise it" in told
    assert "delete groups" not in told


def test_groups_without_series_are_limited_too(make_deck: Starter) -> None:
    """Each shows when it was pushed; at the limit a refused push leaves no group of its own behind."""
    deck = make_deck(DECK_MAX_SERIES="5")
    for n in range(4):
        assert deck.send("PUT", f"/metrics/job/e{n}", b"").status == 200
    assert deck.send("PUT", "/metrics/job/e4", b"m 1\nm 1\n").status == 400
    for path in ("/metrics/job/e5", "/metrics/push"):
        answer = deck.send("POST", path, {"info": {"version": "1"}} if path == "/metrics/push" else b"")
        assert (answer.status, "6 groups after this push: DECK_MAX_SERIES is 5" in answer.text) == (429, True)
    assert deck.send("PUT", "/metrics/job/e6", b"m 1\nm 1\n").status == 400
    assert deck.send("PUT", "/metrics/job/e0", b"m 1\n").status == 200
    assert deck.send("PUT", "/metrics/job/e1", b"m 1\nm 1\n").status == 400
    shown = deck.metrics()
    assert (shown["exporter_groups"], shown["exporter_series"]) == (5, 1)
    assert shown['push_failure_time_seconds{instance="",job="e1"}'] > 0
    assert deck.send("DELETE", "/metrics/job/e0").status == 202
    assert deck.send("PUT", "/metrics/job/e7", b"m 1\n").status == 200


def test_groups_of_one_batch_count_together(make_deck: Starter) -> None:
    """What waits for the same commit is over the limit as what came one by one."""
    deck = make_deck(DECK_MAX_SERIES="3")

    async def together() -> list[int]:
        calls = [deck.request(m, f"/metrics/job/{j}", b"") for m, j in zip(("PUT",) * 4, "abcd", strict=True)]
        calls += [deck.request("DELETE", "/metrics/job/a"), deck.request("PUT", "/metrics/job/e", b"")]
        return [answer.status for answer in await asyncio.gather(*calls)]

    assert deck.run(together()) == [200, 200, 200, 429, 202, 200]


@pytest.mark.parametrize("letter", ["x", "😀"])
def test_a_grouping_key_longer_than_a_database_takes_is_refused(deck: Deck, letter: str) -> None:
    """Counted in bytes; the answer names the limit, and the longest that fits is taken."""
    fits = (MAX_GROUP_BYTES - len('[["job","j"],["x",""]]')) // len(letter.encode())
    for length, status in ((fits, 200), (fits + 1, 400)):
        answer = deck.send("PUT", f"{JOB}/x/{quote(letter * length)}", b"m 1\n")
        assert (answer.status, "want at most 2000" in answer.text) == (status, status == 400)
    assert deck.send("GET", "/status").json["groups"] == 1


def test_a_stored_group_with_a_longer_key_is_shown_and_can_be_deleted(
    make_deck: Starter, tmp_path: Path
) -> None:
    """What was taken before there was a limit does not stay for ever."""
    key = group_key({"job": "j", "x": "y" * 4000})
    deck = make_deck()
    deck.run(deck.app.stop())
    store = SqlStore(f"sqlite:///{tmp_path}/deck.db")
    store.commit(Batch(groups={key.id: GroupRow(key.id, b"m 1\n", None, 1.0, 0.0, None)}), 1)
    store.close()
    deck = make_deck(stop=False)
    assert deck.send("GET", "/status").json["groups"] == 1
    assert deck.send("DELETE", f"{JOB}/x/{'y' * 4000}").status == 202
    assert make_deck().send("GET", "/status").json["groups"] == 0


@pytest.mark.parametrize(
    "body",
    [
        b"a 1\na 1\nb 1\nc 1\n",
        b'# TYPE h histogram\nh_bucket{le="1"} 1\n',
        b'# TYPE s summary\ns{quantile="0"} 1\ns{quantile="1"} 1\ns_sum 1\n',
    ],
)
def test_a_push_over_the_limit_is_refused_before_its_lines_are_made(make_deck: Starter, body: bytes) -> None:
    """Lines the format wants count as well; what else is wrong is not looked for."""
    deck = make_deck(DECK_MAX_SERIES_PER_PUSH="3")
    answer = deck.send("PUT", JOB, body)
    assert (answer.status, "DECK_MAX_SERIES_PER_PUSH is 3" in answer.text) == (413, True)
    assert deck.metrics()["exporter_groups"] == 0
    assert make_deck(DECK_MAX_SERIES_PER_PUSH="4").send("PUT", JOB, body).status in (200, 400)


def test_a_long_url_does_not_stand_in_many_lines(make_deck: Starter) -> None:
    """A small request makes no large page; a long URL or many series alone are taken."""
    deck = make_deck(DECK_MAX_BODY_BYTES="100000")
    url, body = f"/metrics/job/j/l/{'v' * 1900}", b"".join(b"m%d 1\n" % n for n in range(2000))
    answer = deck.send("PUT", url, body)
    assert (answer.status, "2000 series with 38" in answer.text) == (413, True)
    assert "16 times DECK_MAX_BODY_BYTES" in answer.text
    assert deck.send("PUT", url, b"m 1\n").status == 200
    assert deck.send("PUT", JOB, body).status == 200


@pytest.mark.parametrize(("buckets", "status"), [(2000, 413), (20, 200)])
def test_a_long_label_does_not_stand_in_many_buckets(deck: Deck, buckets: int, status: int) -> None:
    """Protobuf says a histogram's labels once, the text says them in each line."""
    family = new_family()
    family.name, family.type = "h", 4
    metric = family.metric.add()
    metric.label.add(name="a", value="v" * 60_000)
    for bound in range(buckets):
        metric.histogram.bucket.add(upper_bound=bound, cumulative_count=1)
    answer = deck.send("PUT", JOB, write_delimited([family]), {"Content-Type": PROTOBUF})
    assert (answer.status, "DECK_MAX_BODY_BYTES" in answer.text) == (status, status == 413)


def test_every_reason_is_counted_from_zero(deck: Deck) -> None:
    """Each reason of refusal has its counter before the first refusal."""
    shown = deck.metrics()
    assert all(shown[f'exporter_push_rejections_total{{reason="{reason}"}}'] == 0 for reason in REASONS)
