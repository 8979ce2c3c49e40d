"""Every JSON route: path, verb, handler, scope, and what the OpenAPI page says of it."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import dataclass

from exporter.answers import (
    Accepted,
    AlertsTaken,
    Breakers,
    BreakersHistory,
    OneBreaker,
    Status,
    Trades,
    TradesAccepted,
    Weights,
    WeightsHistory,
)
from exporter.http import Call, Reply
from exporter.messages import AlertsIn, BreakerIn, MetricsIn, TradeIn, TradesIn, WeightsIn
from exporter.routes import breakers, deck, health, scrape, weights
from exporter.service import Service

__all__ = ["ROUTES", "Handler", "Route"]

Handler = Callable[[Service, Call], Awaitable[Reply]]


@dataclass(frozen=True, slots=True)
class Route:
    """One route.

    Attributes:
        path: As FastAPI writes it.
        scope: What a token needs; None is open to all.
        answer: Shape of a 200's JSON; None is text.
        body: Shapes a request body may have; none for no body.
        arguments: Query arguments, with what each is.
        api: Label of `exporter_pushes_total` under which it is counted; None is not a push.
    """

    method: str
    path: str
    handler: Handler
    scope: str | None
    summary: str
    answer: object | None = None
    body: tuple[object, ...] = ()
    arguments: tuple[tuple[str, str, str], ...] = ()
    headers: tuple[tuple[str, str], ...] = ()
    api: str | None = None


_ENGINE = ("engine", "string", "Engine; the default engine's view without it.")
_PUSHER = ("engine", "string", "Engine, where the body names none.")
_LIMIT = ("limit", "integer", "At most so many, 1 to 10000; 100 by default.")

ROUTES: tuple[Route, ...] = (
    Route(
        "POST",
        "/metrics/push",
        deck.post_metrics,
        "push",
        "Push an engine's values.",
        Accepted,
        (MetricsIn,),
        arguments=(_PUSHER,),
        headers=(
            ("X-Group-TTL", "Seconds after which the engine's group leaves without a push; 0 is never."),
        ),
        api="deck",
    ),
    Route(
        "POST",
        "/trades",
        deck.post_trades,
        "push",
        "Record trades, each id once.",
        TradesAccepted,
        (TradeIn, list[TradeIn], TradesIn),
        arguments=(_PUSHER,),
        api="deck",
    ),
    Route(
        "GET",
        "/trades",
        deck.get_trades,
        "read",
        "Trades in order of arrival; Accept: text/csv for CSV.",
        Trades,
        arguments=(
            ("strategy", "string", "Only this strategy."),
            ("engine", "string", "Only this engine."),
            ("since", "string", "From this time on: epoch seconds or ISO 8601."),
            ("until", "string", "Before this time."),
            ("cursor", "integer", "next_cursor of the last page."),
            _LIMIT,
        ),
    ),
    Route(
        "GET",
        "/status",
        deck.get_status,
        "read",
        "Everything the deck shows.",
        Status,
        arguments=(
            _ENGINE,
            ("wait", "number", "With If-None-Match: wait so many seconds for a change, 0 to 60."),
        ),
        headers=(("If-None-Match", "ETag of the last answer."),),
    ),
    Route(
        "POST",
        "/allocator/weights",
        weights.post_weights,
        "allocate",
        "Put risk shares in force.",
        Weights,
        (WeightsIn,),
        headers=(("If-Match", "The version the decision was made on, in quotes."),),
    ),
    Route(
        "GET",
        "/allocator/weights",
        weights.get_weights,
        "read",
        "Risk shares in force.",
        Weights,
        headers=(("If-None-Match", "ETag of the last answer."),),
    ),
    Route(
        "GET",
        "/allocator/weights/history",
        weights.get_history,
        "read",
        "Every version, newest first.",
        WeightsHistory,
        arguments=(("before", "integer", "next_before of the last page."), _LIMIT),
    ),
    Route(
        "GET",
        "/breakers",
        breakers.get_breakers,
        "read",
        "Breakers and who holds them.",
        Breakers,
        arguments=(_ENGINE,),
    ),
    Route(
        "GET",
        "/breakers/history",
        breakers.get_history,
        "read",
        "Every change of a breaker, newest first.",
        BreakersHistory,
        arguments=(
            ("breaker", "string", "Only this breaker."),
            ("before", "integer", "next_before of the last page."),
            _LIMIT,
        ),
    ),
    Route(
        "POST",
        "/breakers/{name}",
        breakers.post_breaker,
        "operate",
        "Trip or release a breaker by hand.",
        OneBreaker,
        (BreakerIn,),
        arguments=(("engine", "string", "Only this engine; every engine without it."),),
    ),
    Route(
        "POST",
        "/alerts",
        breakers.post_alerts,
        "operate",
        "Alertmanager's webhook, version 4.",
        AlertsTaken,
        (AlertsIn,),
    ),
    Route(
        "GET",
        "/metrics",
        scrape.get_metrics,
        "read",
        "The page Prometheus scrapes.",
    ),
    Route("GET", "/-/healthy", health.get_healthy, None, "The process answers."),
    Route("GET", "/-/ready", health.get_ready, None, "The store is loaded."),
)
