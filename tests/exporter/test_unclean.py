"""What a path that is not quite a Pushgateway's is answered."""

from __future__ import annotations

import pytest

from exporter.unclean import answer_unclean, routed


@pytest.mark.parametrize(
    ("method", "path", "status", "location"),
    [
        ("GET", b"/metrics/", 301, b"/metrics"),
        ("GET", b"/METRICS", 301, b"/metrics"),
        ("PUT", b"/metrics/", 404, None),
        ("PUT", b"/metrics/JOB/%C3%89/b/c", 307, b"/metrics/job/%C3%89/b/c"),
        ("PUT", b"/metrics/job/", 307, b"/metrics/job"),
        ("GET", b"/metrics/job/", 404, None),
        ("GET", b"/metrics/job/%2E%2E", 301, b"/metrics"),
        ("PUT", b"/metrics//job/a", 301, b"/metrics/job/a"),
        ("GET", b"/api/v1/status/", 301, b"/status"),
        ("PUT", b"/api/v1/admin/wipe/", 307, b"/admin/wipe"),
        ("DELETE", b"/metrics/job/%z", 400, None),
    ],
)
def test_an_unclean_path_is_answered(method: str, path: bytes, status: int, location: bytes | None) -> None:
    """A redirect keeps the method's route, anything else is told so."""
    reply = answer_unclean(method, path, b"", admin_api=True)
    assert reply is not None
    assert (reply.status, dict(reply.headers).get(b"location")) == (status, location)


@pytest.mark.parametrize(
    ("method", "path"),
    [
        ("PUT", b"/metrics/job/a"),
        ("PUT", b"/metrics/job/A/B/C/"),
        ("PUT", b"/metrics/job/%2F"),
        ("PUT", b"/metrics/job/METRICS/JOB/x"),
        ("GET", b"/metrics"),
        ("GET", b"/trades/"),
        ("POST", b"/metrics/push"),
        ("POST", b"/Metrics/push"),
        ("GET", b"/"),
    ],
)
def test_a_clean_path_is_left_alone(method: str, path: bytes) -> None:
    """Job and label values are nobody's to change, and the deck's own routes are not a Pushgateway's."""
    assert answer_unclean(method, path, b"", admin_api=True) is None


def test_a_redirect_keeps_the_query() -> None:
    """What follows the question mark goes with the path."""
    reply = answer_unclean("GET", b"/metrics/", b"x=1&y", admin_api=False)
    assert reply is not None
    assert reply.headers == [(b"location", b"/metrics?x=1&y")]


def test_wipe_is_nowhere_while_it_is_off() -> None:
    """No redirect tells of a route that does not exist."""
    assert answer_unclean("PUT", b"/api/v1/admin/wipe/", b"", admin_api=False) is None


def test_escapes_before_the_job_are_letters() -> None:
    """A path is routed decoded, and its values keep their escapes."""
    assert routed(b"/metrics%2Fjob/a%20b/%C3%A9/c") == b"/metrics/job/a%20b/%C3%A9/c"
    assert routed(b"/metrics/job/a%2Fb") == b"/metrics/job/a%2Fb"
    assert routed(b"/tr%61des") == b"/tr%61des"
