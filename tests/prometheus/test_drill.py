from __future__ import annotations

import pytest

from scripts.drill import STEP_SECONDS, Drill, DrillError, Stack, addresses, delivered, pager_receivers
from tests.fakes.stack import STACK, FakeStack


def drill(world: FakeStack, said: list[str], breaker: str = "manual") -> Drill:
    return Drill(world, STACK, breaker, now=world.now, sleep=world.sleep, say=said.append)


def test_a_drill_trips_watches_each_receiver_and_releases() -> None:
    """Every step is printed with its seconds, in order, and the breaker is closed afterwards."""
    world = FakeStack(
        {"slack": 1, "email": 1}, {"firing": 6, "alerted": 7, "slack": 9, "email": 8, "webhook": 7}
    )
    said: list[str] = []
    assert drill(world, said).run()
    steps = [" ".join(line.split()) for line in said if line.startswith("  ")]
    assert [step.rsplit(" ", 2)[0] for step in steps] == [
        "engine halted (GET /status)",
        "alert fires in Prometheus",
        "alert in Alertmanager",
        "message through email",
        "message through slack",
        "message through webhook, the exporter's own among them",
        "breaker closed again",
    ]
    assert float(steps[1].split()[-2]) == pytest.approx(6, abs=0.3)
    assert float(steps[4].split()[-2]) == pytest.approx(9, abs=0.3)
    assert [(url, body["tripped"]) for url, body in world.posts] == [
        ("http://deck/breakers/manual", True),
        ("http://deck/breakers/manual", False),
    ]


def test_the_trip_ends_by_itself_after_every_wait() -> None:
    """A drill that is killed does not halt the engine for ever, nor does its trip end while it watches."""
    world = FakeStack({"slack": 1}, {})
    drill(world, []).run()
    assert world.posts[0][1]["ttl_sec"] > STEP_SECONDS * 5


def test_a_message_that_is_lost_fails_the_drill_and_the_breaker_is_released() -> None:
    """A receiver that refuses the message is named, and does not keep the engine halted."""
    world = FakeStack({"slack": 1}, {"slack": float("inf")})
    said: list[str] = []
    assert not drill(world, said).run()
    assert [line for line in said if "slack" in line and "NOT within 90 s" in line]
    assert not world.breakers["manual"]["open"]


@pytest.mark.parametrize("failure", [DrillError("gone"), KeyboardInterrupt()])
def test_whatever_happens_the_breaker_is_released(failure: BaseException) -> None:
    """Ctrl-C and a stack that goes away in mid-drill leave no halted engine behind."""
    world = FakeStack({}, {"firing": 5})

    def refuse(url: str) -> None:
        if "/api/v1/query" in url and world.tripped_at is not None:
            raise failure

    world.refuse = refuse
    with pytest.raises(type(failure)):
        drill(world, []).run()
    assert not world.breakers["manual"]["open"]


def test_a_release_is_tried_again() -> None:
    """One refused release is not the end of it."""
    world = FakeStack({}, {})
    failures = iter([DrillError("busy"), DrillError("busy")])

    def refuse(url: str) -> None:
        if "/breakers/" in url and world.tripped_at is not None:
            error = next(failures, None)
            if error is not None:
                raise error

    world.refuse = refuse
    assert drill(world, []).run()
    assert not world.breakers["manual"]["open"]


def test_a_release_that_never_works_is_said_aloud() -> None:
    """Who must act by hand is told what to do."""
    world = FakeStack({}, {})

    def refuse(url: str) -> None:
        if "/breakers/" in url and world.tripped_at is not None:
            raise DrillError("gone")

    world.refuse = refuse
    said: list[str] = []
    with pytest.raises(DrillError, match="manual is still tripped: gone"):
        drill(world, said).run()
    assert said[-1] == "drill: COULD NOT RELEASE manual; do it by hand: POST http://deck/breakers/manual"


def test_a_breaker_that_is_open_is_refused() -> None:
    """A drill never hides, nor releases, what somebody else holds."""
    world = FakeStack({}, {})
    world.breakers["manual"] = {"open": True, "reason": "news"}
    with pytest.raises(DrillError, match=r"manual is open already \(news\)"):
        drill(world, []).run()
    assert world.posts == []


def test_a_breaker_that_another_engine_holds_is_refused() -> None:
    """The release would be for every engine."""
    world = FakeStack({}, {})
    world.other_engine_open = True
    with pytest.raises(DrillError, match="open, of another engine"):
        drill(world, []).run()
    assert world.posts == []


def test_an_alert_that_still_fires_is_refused() -> None:
    """A second trip would send no message, and the drill would call the pager broken."""
    world = FakeStack({}, {})
    world.still_firing = True
    with pytest.raises(DrillError, match="still fires from an earlier trip"):
        drill(world, []).run()
    assert world.posts == []


def test_an_unknown_breaker_is_refused() -> None:
    """A misspelt name makes no new breaker."""
    world = FakeStack({}, {})
    with pytest.raises(DrillError, match="no breaker manul: want one of equity, manual"):
        drill(world, [], "manul").run()
    assert world.posts == []


def test_no_receiver_is_said() -> None:
    """With nothing set the drill still runs, and says that it proves the exporter's way alone."""
    said: list[str] = []
    assert drill(FakeStack({}, {}), said).run()
    assert "only the exporter is called" in said[0]


def test_the_pager_is_read_from_alertmanager_itself() -> None:
    """What is expected is what the running Alertmanager has, the exporter's webhook included."""
    config = """
receivers:
  - {name: exporter, webhook_configs: [{url: a}]}
  - {name: pager, webhook_configs: [{url: b}], slack_configs: [{}]}
  - {name: chat, email_configs: [{}]}
"""
    assert pager_receivers(config) == {"webhook": 2, "slack": 1}


def test_a_receiver_that_never_answers_fails_the_drill() -> None:
    """What was sent and not answered did not arrive, though Alertmanager counts it as a notification."""
    world = FakeStack({"slack": 1}, {"slack": float("inf")})
    world.silent = {"slack"}
    said: list[str] = []
    assert not drill(world, said).run()
    assert [line for line in said if "slack" in line and "NOT within 90 s" in line]
    assert not world.breakers["manual"]["open"]


def test_failed_messages_did_not_arrive() -> None:
    """Requests answered less those that failed."""
    page = """# HELP alertmanager_notification_requests_total x
alertmanager_notifications_total{integration="slack"} 9
alertmanager_notification_requests_total{integration="slack"} 5
alertmanager_notification_requests_total{integration="email"} 2
alertmanager_notification_requests_failed_total{integration="slack"} 3
"""
    assert delivered(page) == {"slack": 2, "email": 2}


def test_where_receivers_are_named_only_those_of_a_page_count() -> None:
    """With Alertmanager's feature receiver-name-in-metrics the switch does not stand in for a pager."""
    page = """alertmanager_notification_requests_total{integration="webhook",receiver_name="deadman"} 9
alertmanager_notification_requests_total{integration="webhook",receiver_name="pager"} 2
alertmanager_notification_requests_total{integration="webhook",receiver_name="exporter"} 1
"""
    assert delivered(page) == {"webhook": 3}


@pytest.mark.parametrize(("own", "told"), [(1, True), (0, False)])
def test_a_switch_that_is_counted_with_a_webhook_is_said(own: int, told: bool) -> None:
    """Where the figures cannot tell a user's webhook from the switch, the user is asked to look."""
    world = FakeStack({"webhook": own}, {})
    world.deadman = True
    said: list[str] = []
    drill(world, said).run()
    assert any("counts the dead man's switch with" in line for line in said) is told


def test_addresses_follow_the_settings() -> None:
    """The drill finds the demo with its offset, and compose with its ports."""
    assert addresses({"PORT_OFFSET": "10"}) == Stack(
        "http://127.0.0.1:8012", "http://127.0.0.1:9100", "http://127.0.0.1:9103"
    )
    assert addresses({"ALERTMANAGER_PORT": "1", "DECK_TLS_CERT": "c"}) == Stack(
        "https://127.0.0.1:8002", "http://127.0.0.1:9090", "http://127.0.0.1:1"
    )
    with pytest.raises(DrillError, match="not a whole number"):
        addresses({"PORT_OFFSET": "ten"})
