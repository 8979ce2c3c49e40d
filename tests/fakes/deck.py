"""The exporter's weights in memory: versions, If-Match, failures on demand."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace

from allocator.decision import InForce
from allocator.errors import ConflictError, PublishError


@dataclass
class FakeDeck:
    """Implements `allocator.loop.Deck`.

    Attributes:
        failures: Errors raised by the next calls, first come first served.
        refusals: Errors raised by the next writes alone.
        now: Its clock; without one it does not say how old the shares are.
        rivals: Shares that somebody else publishes between our next reads and our writes.
    """

    in_force: InForce = field(default_factory=lambda: InForce(0, {}))
    failures: list[PublishError] = field(default_factory=list)
    refusals: list[PublishError] = field(default_factory=list)
    rivals: list[dict[str, float]] = field(default_factory=list)
    published: list[dict[str, float]] = field(default_factory=list)
    reasons: list[str] = field(default_factory=list)
    scores: list[dict[str, float]] = field(default_factory=list)
    reads: int = 0
    now: Callable[[], float] | None = None
    written_at: float | None = None

    def read(self) -> InForce:
        self.reads += 1
        self._fail()
        return replace(self.in_force, age_seconds=self.age())

    def age(self) -> float | None:
        """Seconds since the last write, as anybody who reads the status sees it."""
        if self.now is None or self.written_at is None:
            return None
        return self.now() - self.written_at

    def publish(
        self,
        shares: Mapping[str, float],
        *,
        scores: Mapping[str, float],
        reason: str,
        as_of: float,
        version: int,
    ) -> int:
        self._fail()
        if self.refusals:
            raise self.refusals.pop(0)
        if self.rivals:
            self.in_force = InForce(self.in_force.version + 1, self.rivals.pop(0))
        if version != self.in_force.version:
            raise ConflictError(f"version {version} is no longer in force")
        self.in_force = InForce(version + 1, dict(shares), as_of)
        self.written_at = self.now() if self.now else None
        self.published.append(dict(shares))
        self.reasons.append(reason)
        self.scores.append(dict(scores))
        return version + 1

    def _fail(self) -> None:
        if self.failures:
            raise self.failures.pop(0)
