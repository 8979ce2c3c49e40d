"""What can be asked of the writer: each operation validates itself against a draft and writes into it.

Pure.  `plan` either raises a CallerError and leaves the draft as it was, or writes all of itself and returns
its answer.  (A push that is inconsistent leaves its failure time, as Pushgateway does, and then raises.)
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass
from typing import Any, Protocol

import msgspec

from exporter import breakers as machine
from exporter.answers import Accepted, AlertsTaken, TradesAccepted
from exporter.deck import engine_families, engine_group, merge_push
from exporter.errors import Conflict, Invalid, PreconditionFailed
from exporter.families import Chunk, FamilyShape, compile_family, fill
from exporter.grouping import group_key
from exporter.groups import NoTrades, check_groups, check_room, kept_chunks, remove_group
from exporter.messages import AlertIn, AlertsIn, BreakerIn, MetricsIn, TradeIn, WeightsIn
from exporter.records import EVERY_ENGINE, BreakerChange, BreakerDoc, Trade, WeightsDoc
from exporter.room import computed_growth
from exporter.state import Draft, Group
from exporter.store import TradeKey
from exporter.trades import ZERO_TOTALS, add_trades, endless_total

__all__ = [
    "AlertRule",
    "Expire",
    "Operation",
    "PushEngine",
    "RecordTrades",
    "SetWeights",
    "SwitchBreaker",
    "TakeAlerts",
]


class Operation(Protocol):
    """One request of the writer."""

    @property
    def trade_keys(self) -> Collection[TradeKey]:
        """Trades to look up before `plan`."""
        ...

    def plan(self, draft: Draft) -> Any:
        """Write into the draft; the answer for the caller."""
        ...


def know_engine(draft: Draft, engine: str) -> None:
    """Give an engine that is heard of for the first time every breaker and every strategy there is."""
    if draft.breaker(engine, "manual") is None:
        for name in draft.breaker_names():
            start = draft.breaker(EVERY_ENGINE, name) or BreakerDoc()
            at = draft.now if start.open else 0.0
            draft.put_breaker(
                engine, name, BreakerDoc(holds=start.holds, trips=int(start.open), changed_at=at)
            )
        for strategy in draft.current_weights.weights:
            know_strategy(draft, engine, strategy)


def know_strategy(draft: Draft, engine: str, strategy: str) -> None:
    """Start the counters of a strategy at zero, or `increase` would not see its first trade."""
    if draft.total((engine, strategy)) is None:
        draft.put_total((engine, strategy), ZERO_TOTALS)


def know_breaker(draft: Draft, name: str) -> None:
    """Give every engine a breaker that is heard of for the first time."""
    if draft.breaker(EVERY_ENGINE, name) is not None:
        return
    for engine in (EVERY_ENGINE, *draft.engine_names()):
        if draft.breaker(engine, name) is None:
            draft.put_breaker(engine, name, BreakerDoc())


def change_breaker(
    draft: Draft, engine: str, name: str, after: BreakerDoc, source: str, reason: str, who: str
) -> None:
    """Let a breaker become `after`, and write down what its source did."""
    before = draft.breaker(engine, name) or BreakerDoc()
    if after == before:
        return
    draft.put_breaker(engine, name, after)
    had, has = source in before.holds, source in after.holds
    if engine == EVERY_ENGINE or (had == has and after.holds.get(source) == before.holds.get(source)):
        return
    draft.history_seq += 1
    draft.history.append(
        BreakerChange(
            seq=draft.history_seq,
            at=draft.now,
            engine=engine,
            breaker=name,
            source=source,
            tripped=has,
            open=after.open,
            reason=reason,
            who=who,
        )
    )


@dataclass(slots=True)
class PushEngine(NoTrades):
    """POST /metrics/push."""

    push: MetricsIn
    accepted: int
    series_limit: int
    who: str
    ttl_seconds: float | None = None

    def plan(self, draft: Draft) -> Accepted:
        """How many values were taken."""
        engine = self.push.engine
        key = group_key(engine_group(engine))
        doc = merge_push(draft.engine(engine), self.push, draft.now)
        parsed = engine_families(doc)
        old = draft.group(key.id)
        known = old.shapes if old else {}
        shapes: dict[str, FamilyShape] = {}
        for family in parsed.families:
            shape = compile_family(family, key.labels)
            same = known.get(shape.name)
            shapes[shape.name] = (
                same
                if same is not None
                and same.prefixes == shape.prefixes
                and same.kind == shape.kind
                and same.picks == shape.picks
                else shape
            )
        # A strategy map that became empty leaves no family behind.
        ours = {name for name in known if name.startswith("trading_") and name not in shapes} & _ENGINE_NAMES
        chunks = {name: chunk for name, chunk in kept_chunks(old).items() if name not in ours}
        chunks.update({name: Chunk(shape, fill(shape, parsed.values)) for name, shape in shapes.items()})
        new_shapes = {name: chunk.shape for name, chunk in chunks.items()}
        pairs = [(engine, strategy) for strategy in self.push.pnl_by_strategy or ()]
        more = computed_growth(draft, {engine}, pairs, self.push.breaker or ())
        wanted = sum(len(shape.prefixes) for shape in new_shapes.values())
        check_groups(draft, old, self.series_limit)
        check_room(draft, old, wanted, self.series_limit, more)
        draft.state.index.replace(key.id, known, new_shapes)
        know_engine(draft, engine)
        draft.put_group(
            key.id,
            Group(
                key,
                chunks,
                push_time=draft.now,
                failure_time=old.failure_time if old else 0.0,
                ttl_seconds=self.ttl_seconds
                if self.ttl_seconds is not None
                else (old.ttl_seconds if old else None),
            ),
        )
        draft.engines[engine] = doc
        for strategy in self.push.pnl_by_strategy or {}:
            know_strategy(draft, engine, strategy)
        for name, tripped in (self.push.breaker or {}).items():
            know_breaker(draft, name)
            before = draft.breaker(engine, name) or BreakerDoc()
            if tripped and "engine" not in before.holds:
                reason = "the engine pushed it as tripped"
                after = machine.hold(before, "engine", reason, draft.now)
            elif not tripped:
                reason = "the engine pushed it as released"
                after = machine.release(before, "engine", draft.now)
            else:
                continue
            change_breaker(draft, engine, name, after, "engine", reason, self.who)
        return Accepted(accepted=self.accepted)


_ENGINE_NAMES = frozenset(
    {
        "trading_strategy_pnl_usd",
        "trading_strategy_exposure_usd",
        "trading_strategy_drawdown_ratio",
    }
)


@dataclass(slots=True)
class RecordTrades:
    """POST /trades: all or nothing, each id once."""

    trades: list[TradeIn]
    series_limit: int

    @property
    def trade_keys(self) -> Collection[TradeKey]:
        """Ids to look up."""
        return [(trade.engine, trade.trade_id) for trade in self.trades]

    def plan(self, draft: Draft) -> TradesAccepted:
        """How many were new and how many were known."""
        fresh: dict[TradeKey, Trade] = {}
        duplicates, seq = 0, draft.trade_seq
        for i, given in enumerate(self.trades):
            fields = msgspec.structs.asdict(given)
            trade = Trade(seq=seq + 1, **fields)
            key = (trade.engine, trade.trade_id)
            known = fresh.get(key) or draft.trade(key)
            if known is None:
                fresh[key] = trade
                seq += 1
            elif known.content == trade.content:
                duplicates += 1
            else:
                raise Conflict(
                    f"trade {trade.trade_id!r} of engine {trade.engine!r} is recorded with other content: "
                    f"it was {known.content}, now {trade.content}",
                    "trade_id" if len(self.trades) == 1 else f"trades[{i}].trade_id",
                )
        by_strategy: dict[tuple[str, str], list[Trade]] = {}
        for trade in fresh.values():
            by_strategy.setdefault((trade.engine, trade.strategy), []).append(trade)
        totals = {key: add_trades(draft.total(key) or ZERO_TOTALS, some) for key, some in by_strategy.items()}
        for (engine, strategy), total in totals.items():
            field = endless_total(total)
            if field is not None:
                raise Invalid(
                    f"{field} of {strategy} of engine {engine} would be {getattr(total, field)}: "
                    "want totals that stay finite",
                    "trades",
                    "out_of_range",
                )
        more = computed_growth(draft, {engine for engine, _ in totals}, totals)
        check_room(draft, None, 0, self.series_limit, more)
        for engine, _ in totals:
            know_engine(draft, engine)
        for key, total in totals.items():
            draft.put_total(key, total)
        draft.trades.update(fresh)
        draft.trade_seq = seq
        return TradesAccepted(accepted=len(fresh), duplicates=duplicates)


@dataclass(slots=True)
class SetWeights(NoTrades):
    """POST /allocator/weights."""

    request: WeightsIn
    if_match: frozenset[str] | None
    who: str
    series_limit: int

    def plan(self, draft: Draft) -> WeightsDoc:
        """The weights that are in force now."""
        current = draft.current_weights
        if self.if_match is not None and str(current.version) not in self.if_match:
            wanted = ", ".join(f'"{version[:20]}"' for version in sorted(self.if_match)[:10])
            raise PreconditionFailed(
                f'If-Match is {wanted}, in force is "{current.version}": read it and decide again',
                "If-Match",
            )
        given = self.request
        doc = WeightsDoc(
            version=current.version + 1,
            weights=given.weights,
            scores=given.scores,
            reason=given.reason,
            as_of=given.as_of if isinstance(given.as_of, float) else None,
            updated_at=draft.now,
            who=self.who,
        )
        pairs = [(engine, strategy) for engine in draft.engine_names() for strategy in doc.weights]
        more = computed_growth(draft, (), pairs) + max(len(doc.weights) - len(current.weights), 0)
        check_room(draft, None, 0, self.series_limit, more)
        draft.put_weights(doc)
        for engine in draft.engine_names():
            for strategy in doc.weights:
                know_strategy(draft, engine, strategy)
        return doc


@dataclass(slots=True)
class SwitchBreaker(NoTrades):
    """POST /breakers/{name}: an operator trips or releases; without an engine, for every engine."""

    name: str
    request: BreakerIn
    engine: str | None
    who: str

    def plan(self, draft: Draft) -> dict[str, BreakerDoc]:
        """The breaker per engine."""
        know_breaker(draft, self.name)
        if self.engine is not None:
            know_engine(draft, self.engine)
        request, answer = self.request, {}
        until = None if request.ttl_sec is None else draft.now + request.ttl_sec
        for engine in [self.engine] if self.engine else [EVERY_ENGINE, *sorted(draft.engine_names())]:
            before = draft.breaker(engine, self.name) or BreakerDoc()
            if request.tripped:
                after = machine.hold(before, "operator", request.reason, draft.now, until=until)
            else:
                after = machine.release(before, "operator", draft.now)
                latched = after.holds.get("alert")
                if latched is not None and latched.latched and not latched.keys:
                    # The alert is over; the operator is who a latch waits for.
                    after = machine.release(after, "alert", draft.now)
            change_breaker(draft, engine, self.name, after, "operator", request.reason, self.who)
            answer[engine] = after
        return answer


@dataclass(frozen=True, slots=True)
class AlertRule:
    """What an alert without a `breaker` label does."""

    breaker: str
    latch: bool


BREAKER_HOLD = "breaker_hold"
"""Annotation of an alert that only tells of a breaker, `none`: what it tripped, by its label or by a mapping,
it would tell of in turn and hold for ever."""


@dataclass(slots=True)
class TakeAlerts(NoTrades):
    """POST /alerts: firing alerts trip, resolved ones release."""

    request: AlertsIn
    rules: Mapping[str, AlertRule]
    who: str

    def plan(self, draft: Draft) -> AlertsTaken:
        """Which breakers were tripped and released, and how many alerts concern none."""
        tripped: set[str] = set()
        released: set[str] = set()
        ignored = 0
        for alert in self.request.alerts:
            rules = self._rules_of(alert)
            ignored += not rules
            for rule in rules:
                trips, lets_go = self._apply(draft, alert, rule)
                tripped |= {rule.breaker} if trips else set()
                released |= {rule.breaker} if lets_go else set()
        return AlertsTaken(
            accepted=len(self.request.alerts),
            tripped=sorted(tripped),
            released=sorted(released),
            ignored=ignored,
        )

    def _rules_of(self, alert: AlertIn) -> list[AlertRule]:
        """What an alert trips: the breaker it is mapped to, and the one of its own label."""
        if alert.annotations.get(BREAKER_HOLD) == "none":
            return []
        alertname = alert.labels.get("alertname", "")
        mapped = self.rules.get(alertname)
        rules = [] if mapped is None else [mapped]
        own = alert.labels.get("breaker")
        if own and own not in [rule.breaker for rule in rules]:
            rules.append(AlertRule(own, latch=False))
        return rules

    def _apply(self, draft: Draft, alert: AlertIn, rule: AlertRule) -> tuple[bool, bool]:
        """Let an alert act on one breaker of every engine: whether it tripped one, whether it let one go."""
        know_breaker(draft, rule.breaker)
        alertname = alert.labels.get("alertname", "")
        key = alert.fingerprint or ",".join(f"{k}={v}" for k, v in sorted(alert.labels.items()))
        reason = alert.annotations.get("summary") or alert.annotations.get("description") or alertname
        tripped = released = False
        for engine in (EVERY_ENGINE, *sorted(draft.engine_names())):
            before = draft.breaker(engine, rule.breaker) or BreakerDoc()
            if alert.status == "firing":
                if key in (before.holds["alert"].keys if "alert" in before.holds else ()):
                    continue
                text = f"{alertname}: {reason}"[:1000]
                after = machine.hold(before, "alert", text, draft.now, key=key, latched=rule.latch)
                tripped = True
            else:
                text = f"{alertname} is {alert.status}"
                after = machine.release_alert(before, key, draft.now)
                released = released or ("alert" in before.holds and "alert" not in after.holds)
            change_breaker(draft, engine, rule.breaker, after, "alert", text, self.who)
        return tripped, released


@dataclass(slots=True)
class Expire(NoTrades):
    """Let go of what has outlived its time: groups past their TTL, holds past their end."""

    default_ttl: float

    def plan(self, draft: Draft) -> int:
        """Number of groups that went."""
        gone = [
            gid
            for gid in (list(draft.group_ids()) if self.default_ttl else {*draft.state.mortal, *draft.groups})
            if (group := draft.group(gid)) is not None and is_expired(group, self.default_ttl, draft.now)
        ]
        for gid in gone:
            remove_group(draft, gid)
        for (engine, name), doc in list(draft.state.breakers.items()):
            current = draft.breaker(engine, name) or doc
            after, sources = machine.expire(current, draft.now)
            for source in sources:
                change_breaker(draft, engine, name, after, source, "its time was over", "")
        return len(gone)


def is_expired(group: Group, default_ttl: float, now: float) -> bool:
    """Whether a group has not been pushed for its time to live; a refused push does not keep it alive."""
    ttl = group.ttl_seconds if group.ttl_seconds is not None else default_ttl
    return bool(ttl) and now - (group.push_time or group.failure_time) > ttl
