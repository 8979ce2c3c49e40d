"""What an engine imports to speak to its deck: gauges and trades out, risk shares and breakers in.

    from exporter import deck_metrics

    deck_metrics.push_metrics(equity_usd=100_000.0, drawdown_pct=1.5, breaker={"equity": False})

The functions of this module wait for the deck's answer.  An engine that must not wait uses

    deck = deck_metrics.DeckClient(background=True)

whose pushes take microseconds, keep the newest gauge, and never lose a trade: see docs/client.md.
Loads requests and nothing heavier.  Settings: DECK_URL, DECK_TOKEN or DECK_TOKEN_FILE, DECK_ENGINE,
DECK_SPOOL_DIR.
"""

from __future__ import annotations

import os
import threading
from collections.abc import Iterable, Mapping
from datetime import datetime
from typing import Any

from exporter.deck_client import DEFAULT_URL, AsyncDeckClient, DeckClient, token_from
from exporter.deck_errors import (
    DeckAnswerError,
    DeckAuthError,
    DeckClosedError,
    DeckError,
    DeckInputError,
    DeckRefusedError,
    DeckUnavailableError,
    SpoolError,
)
from exporter.deck_http import Answer, RetryPolicy
from exporter.deck_reports import Counters

__all__ = [
    "DEFAULT_URL",
    "AsyncDeckClient",
    "Counters",
    "DeckAnswerError",
    "DeckAuthError",
    "DeckClient",
    "DeckClosedError",
    "DeckError",
    "DeckInputError",
    "DeckRefusedError",
    "DeckUnavailableError",
    "RetryPolicy",
    "SpoolError",
    "get_status",
    "get_weights",
    "push_metrics",
    "push_strategy_pnl",
    "push_trade",
    "push_trades",
    "token_from",
]

# -- one client for the module's functions -------------------------------------------------------------

_default_guard = threading.Lock()
_default: tuple[tuple[str | None, ...], DeckClient] | None = None


def _client() -> DeckClient:
    """The waiting client of the settings as they are now; a changed DECK_URL or token is a new client."""
    global _default  # noqa: PLW0603 - the module's functions share one connection by design
    names = ("DECK_URL", "DECK_TOKEN", "DECK_TOKEN_FILE", "DECK_ENGINE")
    settings = tuple(os.environ.get(name) for name in names)
    with _default_guard:
        if _default is None or _default[0] != settings:
            if _default is not None:
                _default[1]._http.close()  # not the client itself: another thread may be in its middle
            _default = (settings, DeckClient())
        return _default[1]


def push_metrics(
    *,
    equity_usd: float | None = None,
    pnl_24h: float | None = None,
    drawdown_pct: float | None = None,
    tick_p50_ms: float | None = None,
    tick_p95_ms: float | None = None,
    error_rate_pct: float | None = None,
    breaker: Mapping[str, bool] | None = None,
    pnl_by_strategy: Mapping[str, float] | None = None,
    exposure_by_strategy: Mapping[str, float] | None = None,
    drawdown_pct_by_strategy: Mapping[str, float] | None = None,
    info: Mapping[str, str] | None = None,
    started_at: float | datetime | str | None = None,
    engine: str | None = None,
) -> Answer | None:
    """Push gauges to the deck of DECK_URL and wait for its answer; see DeckClient.push_metrics."""
    return _client().push_metrics(
        equity_usd=equity_usd,
        pnl_24h=pnl_24h,
        drawdown_pct=drawdown_pct,
        tick_p50_ms=tick_p50_ms,
        tick_p95_ms=tick_p95_ms,
        error_rate_pct=error_rate_pct,
        breaker=breaker,
        pnl_by_strategy=pnl_by_strategy,
        exposure_by_strategy=exposure_by_strategy,
        drawdown_pct_by_strategy=drawdown_pct_by_strategy,
        info=info,
        started_at=started_at,
        engine=engine,
    )


def push_strategy_pnl(pnl_by_strategy: Mapping[str, float], *, engine: str | None = None) -> Answer | None:
    """Push each strategy's cumulative mark-to-market PnL; see DeckClient.push_strategy_pnl."""
    return _client().push_strategy_pnl(pnl_by_strategy, engine=engine)


def push_trade(trade: Mapping[str, Any] | None = None, /, **fields: Any) -> Answer | None:
    """Push one trade, as a mapping or by keyword, and wait for the answer; see DeckClient.push_trade."""
    return _client().push_trade(trade, **fields)


def push_trades(trades: Iterable[Mapping[str, Any]]) -> Answer | None:
    """Push several trades, all or nothing, and wait for the answer; see DeckClient.push_trades."""
    return _client().push_trades(trades)


def get_weights() -> Answer:
    """The risk shares in force: `version`, `weights`, `updated_at`, `reason`."""
    return _client().get_weights()


def get_status(engine: str | None = None) -> Answer:
    """Everything the deck shows: metrics with their age, breakers, `halted`, risk shares."""
    return _client().get_status(engine)


def _after_fork_in_child() -> None:
    global _default_guard  # noqa: PLW0603 - the parent may have held it at the fork
    _default_guard = threading.Lock()


os.register_at_fork(after_in_child=_after_fork_in_child)
