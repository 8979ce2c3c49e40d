"""Waiting for a stack: healthy ends it, a failed service ends it at once with its own words."""

from __future__ import annotations

from collections.abc import Sequence

import pytest

from scripts.compose import ComposeError, ServiceState, Stack


def state(service: str, status: str = "running", health: str = "healthy", exit_code: int = 0) -> ServiceState:
    return ServiceState(service, f"{service}-1", status, health, exit_code)


class FakeStack(Stack):
    """A stack whose containers go through given states, one a look, and whose clock moves by waiting."""

    def __init__(self, looks: Sequence[Sequence[ServiceState]]) -> None:
        super().__init__(["compose"], {})
        self.looks = list(looks)
        self.clock = 0.0
        self.said: list[str] = []

    def states(self) -> list[ServiceState]:
        return list(self.looks.pop(0) if len(self.looks) > 1 else self.looks[0])

    def _call(self, argv: Sequence[str], **_: object) -> str:
        return f"said {argv[-1]}"

    def wait(self, timeout: float = 60.0) -> list[ServiceState]:
        def sleep(seconds: float) -> None:
            self.clock += seconds

        return self.wait_healthy(timeout, say=self.said.append, now=lambda: self.clock, sleep=sleep)


def test_it_waits_until_all_are_healthy() -> None:
    """One that is still starting holds the answer back."""
    stack = FakeStack([[], [state("a"), state("b", health="starting")], [state("a"), state("b")]])
    assert [one.service for one in stack.wait()] == ["a", "b"]
    assert stack.clock == 2.0


def test_a_service_without_a_check_only_has_to_run() -> None:
    """No health declared is not illness."""
    assert FakeStack([[state("a", health="")]]).wait()[0].settled


def test_a_service_that_ended_ends_the_wait_with_its_last_words() -> None:
    """Nobody waits minutes for a service that ended; its name, status and output are in the message."""
    stack = FakeStack([[state("a"), state("b", status="exited", health="", exit_code=3)]])
    with pytest.raises(ComposeError, match=r"b: exited, exit status 3\nsaid b-1"):
        stack.wait()
    assert stack.clock == 0.0


def test_an_unhealthy_service_may_get_well() -> None:
    """On a busy machine a check can fail for a while; who is waited for is said once, and when it changes."""
    ill, starting = state("b", health="unhealthy"), state("b", health="starting")
    stack = FakeStack([[starting], [ill], [ill], [state("b")]])
    assert stack.wait()[0].settled
    assert stack.said == ["  waiting for b: running, starting", "  waiting for b: running, unhealthy"]


def test_a_service_that_never_gets_healthy_is_named_when_time_is_up() -> None:
    """The wait ends by itself, and says who kept it."""
    stack = FakeStack([[state("a"), state("slow", health="starting")]])
    with pytest.raises(ComposeError, match="slow: running, starting"):
        stack.wait(timeout=5.0)
    assert stack.clock == 5.0


def test_a_restarting_service_may_still_get_healthy() -> None:
    """The restart policy is given its chance."""
    stack = FakeStack([[state("a", status="restarting", health="starting")], [state("a")]])
    assert stack.wait()[0].settled
