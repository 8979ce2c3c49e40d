"""DeckState: shares, breakers and drawdown from the exporter, never younger than they are."""

from __future__ import annotations

import copy
import math
import re
import threading
from http.server import BaseHTTPRequestHandler, HTTPServer
from typing import Any

import pytest

from allocator.policy import REFRESH_SECONDS
from allocator.settings import Settings
from riskrails import RiskInputError, RiskRails
from riskrails.deck import AGE_STEP_SECONDS, REVALIDATE_SECONDS, DeckState, parse_status
from riskrails.errors import DeckError
from tests.fakes.deck_transport import Clock, FakeDeck
from tests.riskrails.desk import call, size

STATUS: dict[str, Any] = {
    "version": "0.1.0",
    "halted": False,
    "metrics": {
        "equity_usd": {"value": 100000.0, "age_seconds": 1.2},
        "drawdown_pct": {"value": 12.0, "age_seconds": 1.5},
    },
    "pnl_by_strategy": {"momentum": 12.5},
    "risk_share": {"momentum": 0.25, "trend": 0.5},
    "weights": {"version": 3, "updated_at": 1700000000.0, "age_seconds": 4.0},
    "breakers": {
        name: {"open": False, "sources": [], "since": None, "reason": None, "trips": 0}
        for name in ("equity", "venue", "daily_loss", "manual")
    },
    "groups": 1,
    "series": 20,
}


def status(**changes: Any) -> dict[str, Any]:
    return copy.deepcopy(STATUS) | changes


def deck_of(fake: FakeDeck, clock: Clock) -> DeckState:
    return DeckState(transport=fake, now=clock, allocator_period_seconds=60.0)


def test_drawdown_is_percent_on_the_wire_and_a_fraction_here() -> None:
    """The deck's 12 (percent) sizes like a drawdown of .12, as in the worked example."""
    deck = deck_of(FakeDeck(status()), Clock())
    deck.refresh()
    assert deck.snapshot().drawdown_pct == 0.12
    assert round(size(RiskRails(state=deck)).size_usd) == 11_672


def test_before_the_first_answer_orders_are_refused() -> None:
    """Nothing known is not nothing wrong."""
    fake = FakeDeck(status())
    fake.down = "connection refused"
    deck = deck_of(fake, Clock())
    with pytest.raises(DeckError, match="refused"):
        deck.refresh()
    assert (deck.errors_total, deck.fetches_total, deck.last_error) == (1, 0, "connection refused")
    order = size(RiskRails(state=deck))
    assert (order.mode, order.reasons) == ("reduce", ("HALTED",))


@pytest.mark.parametrize("name", ["equity", "venue", "daily_loss", "manual", "mine"])
def test_an_open_breaker_halts(name: str) -> None:
    """Whichever breaker the deck shows open, the next order is refused; when it closes, trading resumes."""
    fake, clock = FakeDeck(status()), Clock()
    deck = deck_of(fake, clock)
    rails = RiskRails(state=deck)
    deck.refresh()
    assert size(rails).size_usd > 0
    fake.set(status(halted=True, breakers=STATUS["breakers"] | {name: {"open": True}}))
    deck.refresh()
    assert size(rails).reasons == ("HALTED",)
    assert f"breaker {name} is open" in size(rails).messages[0]
    fake.set(status())
    deck.refresh()
    assert size(rails).size_usd > 0


@pytest.mark.parametrize("name", ["equity", "venue", "daily_loss", "manual"])
def test_a_status_that_lacks_a_breaker_is_none(name: str) -> None:
    """An absent breaker is not a closed one: the answer is refused, and the old state halts by its age."""
    fake, clock = FakeDeck(status()), Clock()
    deck = deck_of(fake, clock)
    deck.refresh()
    for breakers in ({}, {other: row for other, row in STATUS["breakers"].items() if other != name}):
        fake.set(status(breakers=breakers))
        clock.seconds += REVALIDATE_SECONDS
        with pytest.raises(
            DeckError, match=r"status\.breakers=.*want equity, venue, daily_loss, manual, and"
        ):
            deck.refresh()
    assert size(RiskRails(state=deck)).size_usd > 0
    clock.seconds += 30.0
    assert size(RiskRails(state=deck)).reasons == ("HALTED",)


def test_halted_alone_halts() -> None:
    """A status that says halted without an open breaker is believed."""
    deck = deck_of(FakeDeck(status(halted=True)), Clock())
    deck.refresh()
    assert "HALTED" in size(RiskRails(state=deck)).reasons


def test_breaker_state_grows_old_without_the_thread_and_fails_closed() -> None:
    """When nobody asks any more, reading alone notices: 30 s after the last question orders stop."""
    clock = Clock()
    deck = deck_of(FakeDeck(status()), clock)
    rails = RiskRails(state=deck)
    deck.refresh()
    clock.seconds += 30.0 - AGE_STEP_SECONDS - 0.01
    assert size(rails).size_usd > 0
    clock.seconds += AGE_STEP_SECONDS
    assert size(rails).reasons == ("HALTED",)
    assert "breaker state is" in size(rails).messages[0]


def test_an_unchanged_status_keeps_the_breakers_young() -> None:
    """A 304 confirms the breakers; the shares go on growing old."""
    fake, clock = FakeDeck(status()), Clock()
    deck = deck_of(fake, clock)
    deck.refresh()
    clock.seconds += 4.0
    deck.refresh()
    assert fake.asked == [None, '"1"']
    state = deck.snapshot()
    assert state.breaker_age_seconds == pytest.approx(AGE_STEP_SECONDS)
    assert state.share_age_seconds == pytest.approx(8.0 + AGE_STEP_SECONDS)
    assert state.drawdown_age_seconds == pytest.approx(5.5 + AGE_STEP_SECONDS)


def test_a_whole_answer_is_asked_for_now_and_then() -> None:
    """An engine that pushes the same drawdown over and over stays fresh: its age travels in whole answers."""
    fake, clock = FakeDeck(status()), Clock()
    deck = deck_of(fake, clock)
    for _ in range(100):
        deck.refresh()
        clock.seconds += 1.0
    assert fake.asked.count(None) >= 100 / (REVALIDATE_SECONDS + 1)
    assert size(RiskRails(state=deck)).size_usd > 0


def test_a_stale_drawdown_fails_closed_unless_the_engine_knows_better() -> None:
    """Drawdown nobody reported for a minute halts; the engine's own report beside the deck lifts that."""
    old = status(metrics={"drawdown_pct": {"value": 1.0, "age_seconds": 61.0}})
    deck = deck_of(FakeDeck(old), Clock())
    deck.refresh()
    rails = RiskRails(state=deck)
    assert "drawdown is" in size(rails).messages[0]
    rails.set_account_state(0.0)
    order = size(rails)
    assert order.size_usd > 0
    assert rails.state.drawdown_pct == 0.01, "the deeper of the two counts"


def test_a_drawdown_nobody_pushed_fails_closed() -> None:
    """No drawdown at all is not a drawdown of zero."""
    deck = deck_of(FakeDeck(status(metrics={})), Clock())
    deck.refresh()
    assert deck.snapshot().drawdown_age_seconds == math.inf
    assert size(RiskRails(state=deck)).reasons == ("HALTED",)


def account(
    pnl: Any, equity: Any = 100_000.0, *, age: float = 1.0, equity_age: float = 1.0
) -> dict[str, Any]:
    """The status of an engine without a drawdown to speak of, that pushed its PnL of 24 h."""
    metrics = {
        "drawdown_pct": {"value": 0.0, "age_seconds": 1.0},
        "pnl_24h": {"value": pnl, "age_seconds": age},
        "equity_usd": {"value": equity, "age_seconds": equity_age},
    }
    return status(metrics=metrics)


def test_the_days_loss_on_the_deck_halts() -> None:
    """`pnl_24h` against the equity before it: 3 % of 100 000 is 3 000 with 97 000 left."""
    fake = FakeDeck(account(-3_000.0, 97_000.0))
    deck = deck_of(fake, Clock())
    rails = RiskRails(state=deck)
    deck.refresh()
    order = size(rails)
    assert (order.mode, order.reasons) == ("reduce", ("HALTED",))
    assert "daily PnL -3.00% has reached the limit" in order.messages[0]
    fake.set(account(-2_999.0, 97_001.0))
    deck.refresh()
    order = size(rails)
    assert order.size_usd > 0
    assert "DAILY_PNL_UNKNOWN" not in order.warnings


@pytest.mark.parametrize(
    ("pnl", "equity", "ratio"),
    [
        (25_000.0, 125_000.0, 0.25),
        (-10_000.0, 0.0, -1.0),
        (-10_000.0, -5_000.0, -1.0),
        (-10_000.0, -10_000.0, -1.0),
    ],
)
def test_the_day_is_a_fraction_of_the_equity_before_it(pnl: float, equity: float, ratio: float) -> None:
    """A quarter won is .25; all lost, and more than all, is −1."""
    state = parse_status(account(pnl, equity, age=2.0, equity_age=9.0), allocator_period_seconds=60.0)
    assert state.daily_pnl_pct == ratio
    assert state.daily_pnl_age_seconds == 9.0, "as old as the older of its two gauges"


@pytest.mark.parametrize(
    "metrics",
    [
        {},
        {"equity_usd": {"value": 100_000.0, "age_seconds": 1.0}},
        {"pnl_24h": {"value": -10_000.0, "age_seconds": 1.0}},
        account(5_000.0, 5_000.0)["metrics"],
        account(0.0, 0.0)["metrics"],
    ],
)
def test_a_days_pnl_nobody_can_know_is_warned_of(metrics: dict[str, Any]) -> None:
    """No PnL, no equity beside it, a gain on nothing: no ratio is guessed, and each order says so."""
    drawdown = {"drawdown_pct": {"value": 0.0, "age_seconds": 1.0}}
    deck = deck_of(FakeDeck(status(metrics=metrics | drawdown)), Clock())
    deck.refresh()
    rails = RiskRails(state=deck)
    order = size(rails)
    assert order.size_usd > 0
    assert "DAILY_PNL_UNKNOWN" in order.warnings
    assert rails.compute_orders(**call())[0] == order
    rails.set_account_state(0.0, daily_pnl_pct=0.0)
    assert "DAILY_PNL_UNKNOWN" not in size(rails).warnings


def test_a_days_pnl_that_is_no_longer_pushed_is_warned_of() -> None:
    """From 60 s after the last one each order says so; a loss that had reached the limit halts on."""
    clock = Clock()
    fake = FakeDeck(account(-100.0, age=60.0 - AGE_STEP_SECONDS))
    deck = deck_of(fake, clock)
    deck.refresh()
    rails = RiskRails(state=deck)
    assert "DAILY_PNL_UNKNOWN" not in size(rails).warnings
    clock.seconds += AGE_STEP_SECONDS
    assert size(rails).size_usd > 0
    assert "DAILY_PNL_UNKNOWN" in size(rails).warnings
    rails.set_account_state(0.0, daily_pnl_pct=-0.001)
    assert "DAILY_PNL_UNKNOWN" not in size(rails).warnings
    fake.set(account(-10_000.0, age=3600.0))
    deck.refresh()
    assert size(rails).reasons == ("HALTED",)


def test_of_the_engines_day_and_the_decks_the_worse_counts() -> None:
    """Neither is hidden by the other, not even by one that was set once and never again."""
    deck = deck_of(FakeDeck(account(-10_000.0)), Clock())
    deck.refresh()
    rails = RiskRails(state=deck)
    rails.set_account_state(0.01, daily_pnl_pct=0.002)
    assert size(rails).reasons == ("HALTED",)
    gained = deck_of(FakeDeck(account(10_000.0)), Clock())
    gained.refresh()
    rails = RiskRails(state=gained)
    assert size(rails).size_usd > 0
    rails.set_account_state(0.01, daily_pnl_pct=-0.03)
    assert size(rails).reasons == ("HALTED",)


def test_old_shares_are_held_to_an_equal_part() -> None:
    """Older than three allocator periods: min(share, 1/N) and a warning, not a halt."""
    fake = FakeDeck(status(weights={"version": 3, "updated_at": 0.0, "age_seconds": 181.0}))
    deck = deck_of(fake, Clock())
    deck.refresh()
    rails = RiskRails(state=deck)
    order = size(rails, strat_name="trend")
    assert "SHARES_STALE" in order.warnings
    assert order.size_usd == size(rails, strat_name="momentum").size_usd * 2.0, "1/N = .5 and .25 both stand"
    fake.set(status(risk_share={"momentum": 0.1, "trend": 0.9}, weights={"age_seconds": 181.0}))
    deck.refresh()
    both = (size(rails, strat_name="momentum").size_usd, size(rails, strat_name="trend").size_usd)
    assert both[1] == pytest.approx(both[0] * 5), ".1 stays, .9 becomes .5"


def test_no_shares_yet_gives_the_smallest_share() -> None:
    """Before the allocator's first decision the share is missing, not zero and not whole."""
    deck = deck_of(FakeDeck(status(risk_share={}, weights={"version": 0, "updated_at": None})), Clock())
    deck.refresh()
    order = size(RiskRails(state=deck))
    assert "SHARE_MISSING" in order.warnings
    assert order.size_usd > 0


@pytest.mark.parametrize(
    ("body", "names"),
    [
        (None, "status=None"),
        ([], "status="),
        (status(breakers=None), "status.breakers"),
        (status(breakers={"equity": True}), "status.breakers.equity"),
        (status(breakers={"equity": {"open": "no"}}), "status.breakers.equity"),
        (status(halted=None), "status.halted"),
        (status(metrics=None), "status.metrics"),
        (status(metrics={"drawdown_pct": 12}), "status.metrics.drawdown_pct"),
        (status(metrics={"drawdown_pct": {"value": 112, "age_seconds": 0}}), "want 0 to 100 percent"),
        (status(metrics={"drawdown_pct": {"value": None, "age_seconds": 0}}), "want 0 to 100 percent"),
        (status(metrics={"drawdown_pct": {"value": -1, "age_seconds": 0}}), "want 0 to 100 percent"),
        (status(metrics={"drawdown_pct": {"value": 1}}), "drawdown_pct.age_seconds"),
        (status(metrics={"pnl_24h": -100}), "status.metrics.pnl_24h=-100: want an object"),
        (account(None), "status.metrics.pnl_24h.value=None: want USD"),
        (account(-2e15), "status.metrics.pnl_24h.value"),
        (account(-1.0, "1e5"), "status.metrics.equity_usd.value='1e5': want USD"),
        (account(-1.0, age=-1.0), "pnl_24h.age_seconds"),
        (account(-1.0, equity_age=math.nan), "equity_usd.age_seconds"),
        (status(risk_share={"a": 1.4}), "risk_shares"),
        (status(risk_share=None), "status.risk_share"),
        (status(weights=None), "status.weights"),
        (status(weights={"age_seconds": -1}), "status.weights.age_seconds"),
    ],
)
def test_a_status_that_makes_no_sense_is_refused_whole(body: object, names: str) -> None:
    """The old state is kept, the error names the field, nothing of the nonsense is applied."""
    with pytest.raises(DeckError, match=names.replace("[", r"\[")):
        parse_status(body, allocator_period_seconds=60.0)
    fake = FakeDeck(status())
    deck = deck_of(fake, Clock())
    deck.refresh()
    before = deck.snapshot()
    fake.set(body)
    with pytest.raises(DeckError):
        deck.refresh()
    assert deck.snapshot() == before


@pytest.mark.parametrize("code", [304, 401, 403, 404, 500, 503])
def test_any_other_answer_is_an_error(code: int) -> None:
    """A refusal, a server's fault and an unasked 304 leave the state as it was."""
    fake = FakeDeck(status())
    fake.status = code
    deck = deck_of(fake, Clock())
    with pytest.raises(DeckError, match=str(code)):
        deck.refresh()
    assert deck.snapshot().breaker_age_seconds == math.inf


def test_the_same_object_is_served_within_an_age_step() -> None:
    """Reading costs nothing while nothing changed: RiskRails rebuilds only on another object."""
    clock = Clock()
    deck = deck_of(FakeDeck(status()), clock)
    deck.refresh()
    first = deck.snapshot()
    clock.seconds += AGE_STEP_SECONDS / 2
    assert deck.snapshot() is first
    clock.seconds += AGE_STEP_SECONDS
    assert deck.snapshot() is not first


def test_a_period_that_nobody_tells_is_the_allocators_default() -> None:
    """An allocator and an engine that are both left alone agree on how old shares may be."""
    deck = DeckState(transport=FakeDeck(status()), now=Clock())
    deck.refresh()
    assert deck.snapshot().allocator_period_seconds == REFRESH_SECONDS
    assert Settings.model_fields["refresh_sec"].default == REFRESH_SECONDS


@pytest.mark.parametrize("name", ["interval_seconds", "timeout_seconds", "allocator_period_seconds"])
@pytest.mark.parametrize("value", [0, -1, float("nan"), None, "1"])
def test_settings_that_make_no_sense_are_refused(name: str, value: Any) -> None:
    """A period of nothing would be a busy loop or a share that is never old."""
    with pytest.raises(RiskInputError, match=name):
        DeckState(transport=FakeDeck(status()), **{name: value})


class _Exporter(BaseHTTPRequestHandler):
    """One real /status on the loopback."""

    def do_GET(self) -> None:
        import json

        good = self.path == "/status?engine=e1" and self.headers["Authorization"] == "Bearer secret"
        body = json.dumps(STATUS).encode()
        self.send_response(200 if good else 401)
        self.send_header("ETag", '"7"')
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *arguments: Any) -> None:
        """Keep the test's output clean."""


def test_over_http_the_thread_asks_with_token_and_engine() -> None:
    """Started, it has the state at once; closed, its thread has ended; started twice, it complains."""
    with HTTPServer(("127.0.0.1", 0), _Exporter) as server:
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01}, daemon=True)
        thread.start()
        url = f"http://127.0.0.1:{server.server_address[1]}/"
        with DeckState(url, token="secret", engine="e1", interval_seconds=0.01) as deck:
            assert deck.snapshot().risk_shares["trend"] == 0.5
            with pytest.raises(RuntimeError, match="started"):
                deck.start()
            for _ in range(2000):
                if deck.fetches_total >= 3:
                    break
                threading.Event().wait(0.005)
            assert deck.fetches_total >= 3
        assert "riskrails-deck" not in {thread.name for thread in threading.enumerate()}
        with DeckState(url, token="wrong", interval_seconds=60.0) as deck:
            assert deck.last_error is not None
            assert "401" in deck.last_error
        server.shutdown()
        thread.join()


def test_an_exporter_that_is_away_is_counted_not_raised() -> None:
    """start() on a dead port returns, the error is kept, orders are refused."""
    with DeckState("http://127.0.0.1:9", interval_seconds=60.0, timeout_seconds=0.5) as deck:
        assert deck.errors_total == 1
        assert deck.last_error is not None
        assert "127.0.0.1:9/status" in deck.last_error
        assert size(RiskRails(state=deck)).reasons == ("HALTED",)


class _Stranger(BaseHTTPRequestHandler):
    """Something at the deck's address that is none."""

    answer: bytes = b""
    endless = False

    def do_GET(self) -> None:
        self.send_response(200)
        if not self.endless:
            self.send_header("Content-Length", str(len(self.answer)))
        self.end_headers()
        self.wfile.write(self.answer)
        try:
            while self.endless:
                self.wfile.write(b" " * 65536)
        except OSError:
            return  # who asked has had enough

    def log_message(self, *arguments: Any) -> None:
        """Keep the test's output clean."""


@pytest.mark.parametrize(
    ("answer", "endless", "said"),
    [
        (b"[" * 100_000, False, "recursion"),
        (b"<html>", False, "Expecting value"),
        (b"\xff", False, "utf-8"),
        (b"{", True, "more than 16777216 bytes|was not whole in"),
    ],
    ids=["brackets", "a page", "no text", "without end"],
)
def test_whatever_answers_the_thread_goes_on_asking(
    monkeypatch: pytest.MonkeyPatch, answer: bytes, endless: bool, said: str
) -> None:
    """It is a failure like any other: counted, told, and asked again."""
    monkeypatch.setattr(_Stranger, "answer", answer)
    monkeypatch.setattr(_Stranger, "endless", endless)
    with HTTPServer(("127.0.0.1", 0), _Stranger) as server:
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01}, daemon=True)
        thread.start()
        with DeckState(f"http://127.0.0.1:{server.server_address[1]}", interval_seconds=0.01) as deck:
            while deck.errors_total < 3:
                assert deck._thread is not None and deck._thread.is_alive()
            assert re.search(said, str(deck.last_error))
            assert size(RiskRails(state=deck)).reasons == ("HALTED",)
        server.shutdown()
        thread.join()


def test_a_bundle_that_is_not_there_is_counted(monkeypatch: pytest.MonkeyPatch) -> None:
    """It may be there again a moment later."""
    monkeypatch.setenv("REQUESTS_CA_BUNDLE", "/nowhere/ca.pem")
    with DeckState("https://127.0.0.1:1", interval_seconds=60.0) as deck:
        assert deck.errors_total == 1
        assert "/nowhere/ca.pem" in str(deck.last_error)


def test_a_mistake_of_ours_does_not_end_the_thread() -> None:
    """Nobody would ask again, and the engine stay halted until it is started anew."""

    class Broken:
        def __call__(self, etag: str | None) -> tuple[int, str | None, Any]:
            raise ZeroDivisionError("one of ours")

    with DeckState(transport=Broken(), interval_seconds=0.001) as deck:
        while deck.errors_total < 3:
            assert deck._thread is not None and deck._thread.is_alive()
        assert deck.last_error == "ZeroDivisionError: one of ours"


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("interval_seconds", 1e10),
        ("timeout_seconds", 86_401.0),
        ("allocator_period_seconds", math.inf),
        ("url", 5),
        ("token", b"x"),
    ],
)
def test_a_setting_no_thread_could_use_is_refused(name: str, value: Any) -> None:
    """At once and by name, not by a thread that ends."""
    with pytest.raises(RiskInputError) as refused:
        DeckState(**{name: value})
    assert (refused.value.code, refused.value.field) == ("E_DECK", name)
