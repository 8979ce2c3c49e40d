"""The PromQL adapter against a real Prometheus: addresses, credentials, TLS, slowness, refusals."""

from __future__ import annotations

import subprocess
import time

import numpy as np
import pytest

from allocator.errors import QueryError
from allocator.history import Grid
from allocator.prometheus import PrometheusApi
from allocator.queries import Query
from scripts.native import free_port
from tests.allocator.backfill import backfilled_prometheus
from tests.allocator.gate import Gate
from tests.fakes.metrics import series

END = 1_700_000_000.0
GRID = Grid(END, 60.0, 3)
ASKED = Query("pnl", 'pnl{strategy="a"}', "usd")
PAST = {"pnl": [series([1.0, 2.0, np.nan], END, 60.0, strategy="a")]}
CLOCK = Query("clock", "time()", "seconds")
PASSWORD_HASH = "$2b$04$Lb.CSvqxm0/YY68tffn5n.dlDjGxCHPK6ELzS.SHM3JYqo1ZeewXa"  # of "open-sesame"


@pytest.fixture(scope="module")
def prometheus(tmp_path_factory):
    """A Prometheus behind a path prefix, as a reverse proxy would have it."""
    child, url = backfilled_prometheus(
        PAST, tmp_path_factory.mktemp("prometheus"), ["--web.route-prefix=/metrics/prom"]
    )
    child.ready_url = f"{url}/metrics/prom/-/ready"
    with child.start():
        yield f"{url}/metrics/prom"


@pytest.fixture(scope="module")
def certificate(tmp_path_factory):
    """A certificate for 127.0.0.1 that signs itself, with its key in the same file."""
    directory = tmp_path_factory.mktemp("tls")
    pem, key = directory / "both.pem", directory / "key.pem"
    subprocess.run(
        [
            "openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "2", "-subj", "/CN=deck",
            "-addext", "subjectAltName=IP:127.0.0.1", "-keyout", str(key), "-out", str(pem),
        ],
        check=True,
        capture_output=True,
    )  # fmt: skip
    both = directory / "server.pem"
    both.write_text(key.read_text() + pem.read_text())
    return both


def values(api: PrometheusApi):
    (one,) = api.range(ASKED, GRID)
    return one.values.tolist()


def test_behind_a_path_prefix(prometheus):
    """The prefix of PROMETHEUS_URL stands before /api/v1; a last slash does not matter."""
    for url in (prometheus, prometheus + "/"):
        with PrometheusApi(url) as api:
            np.testing.assert_array_equal(values(api), [1.0, 2.0, np.nan])
            assert api.instant(ASKED, END - 60)[0].value == 2.0
            assert abs(api.instant(CLOCK)[0].at - time.time()) < 60


def test_bearer_token_and_tenant(prometheus):
    """Both headers go along with every request, and without them the gate stays shut."""
    with (
        Gate(prometheus, needs={"Authorization": "Bearer hush", "X-Scope-OrgID": "desk-7"}) as gate,
        PrometheusApi(gate.url, token="hush", tenant="desk-7") as api,
    ):
        assert len(values(api)) == 3
        with (
            PrometheusApi(gate.url, token="wrong") as stranger,
            pytest.raises(QueryError, match="PROMETHEUS_TOKEN"),
        ):
            values(stranger)


def test_a_netrc_does_not_replace_the_token(prometheus, tmp_path, monkeypatch):
    """The token is what is sent, whatever the home directory holds."""
    (tmp_path / ".netrc").write_text("machine 127.0.0.1 login x password y\n")
    monkeypatch.setenv("NETRC", str(tmp_path / ".netrc"))
    with (
        Gate(prometheus, needs={"Authorization": "Bearer hush"}) as gate,
        PrometheusApi(gate.url, token="hush") as api,
    ):
        assert len(values(api)) == 3


def test_basic_authentication_and_tls_of_a_real_server(tmp_path, certificate):
    """User, password and a private authority open a Prometheus that asks for them."""
    web = tmp_path / "web.yml"
    web.write_text(
        f"tls_server_config: {{cert_file: {certificate}, key_file: {certificate}}}\n"
        f"basic_auth_users: {{desk: '{PASSWORD_HASH}'}}\n"
    )
    child, url = backfilled_prometheus(PAST, tmp_path, [f"--web.config.file={web}"])
    url = url.replace("http:", "https:")
    child.ready_url = None
    with child.start():
        secure = PrometheusApi(url, user="desk", password="open-sesame", ca=certificate)
        wait_for(secure)
        np.testing.assert_array_equal(values(secure), [1.0, 2.0, np.nan])
        secure.close()
        with PrometheusApi(url, ca=certificate) as nobody, pytest.raises(QueryError, match="PROMETHEUS_USER"):
            values(nobody)
        with PrometheusApi(url, user="desk", password="open-sesame") as stranger:
            with pytest.raises(QueryError, match="PROMETHEUS_CA") as caught:
                values(stranger)
            assert not caught.value.retryable


def wait_for(api: PrometheusApi) -> None:
    deadline = time.monotonic() + 30
    while True:
        try:
            api.instant(CLOCK)
        except QueryError:
            if time.monotonic() > deadline:
                raise
            time.sleep(0.05)
        else:
            return


def test_an_authority_from_the_environment_does_not_override_ours(certificate, tmp_path, monkeypatch):
    """PROMETHEUS_CA decides, also where REQUESTS_CA_BUNDLE is set for other programs."""
    monkeypatch.setenv("REQUESTS_CA_BUNDLE", "/etc/ssl/certs/ca-certificates.crt")
    with (
        Gate("http://unused", replies=[(200, scalar("5"))], certificate=str(certificate)) as gate,
        PrometheusApi(gate.url, ca=certificate) as api,
    ):
        assert api.instant(CLOCK)[0].value == 5.0


def scalar(text: str) -> bytes:
    return b'{"status":"success","data":{"resultType":"scalar","result":[1.5,"%s"]}}' % text.encode()


def test_bad_promql_is_told_and_not_tried_again(prometheus):
    """The server's own words about the query reach the log."""
    with PrometheusApi(prometheus) as api, pytest.raises(QueryError, match=r"answers 400: .*parse") as caught:
        api.range(Query("pnl", "sum(", ""), GRID)
    assert not caught.value.retryable
    assert caught.value.query == "pnl"


def test_nobody_there_may_be_tried_again():
    """A refused connection is told without the library's wrapping."""
    url = f"http://127.0.0.1:{free_port()}"
    with PrometheusApi(url) as api, pytest.raises(QueryError, match="refused") as caught:
        values(api)
    assert caught.value.retryable
    assert "object at 0x" not in str(caught.value)
    assert "HTTPConnection" not in str(caught.value)


@pytest.mark.parametrize(
    ("status", "retryable"), [(503, True), (502, True), (429, True), (422, False), (404, False)]
)
def test_which_refusals_may_pass(status, retryable):
    """Overload and restarts pass; a wrong question does not."""
    body = b'{"status":"error","errorType":"x","error":"some words"}'
    with (
        Gate("http://unused", replies=[(status, body)]) as gate,
        PrometheusApi(gate.url) as api,
        pytest.raises(QueryError, match=f"answers {status}: some words") as caught,
    ):
        values(api)
    assert caught.value.retryable is retryable


@pytest.mark.parametrize(
    ("status", "body", "says"),
    [
        (200, b"<html>", "path prefix"),
        (200, b"\xff\xfe", "no PromQL JSON"),
        (200, b'{"status":"success"}', "answers 200"),
        (200, b'{"status":"success","data":{"resultType":"vector","result":[]}}', "want a matrix"),
        (
            200,
            b'{"status":"success","data":{"resultType":"matrix","result":[{"metric":5}]}}',
            "result is not",
        ),
        (302, b"", "redirects"),
        (502, b"<html>bad gateway", "answers 502"),
    ],
)
def test_what_is_no_answer_is_a_query_error(status, body, says):
    """Whatever stands at that address, the loop gets one kind of error with words."""
    with (
        Gate("http://unused", replies=[(status, body)]) as gate,
        PrometheusApi(gate.url) as api,
        pytest.raises(QueryError, match=says),
    ):
        values(api)


def test_an_instant_query_wants_a_vector():
    """A string is no sample."""
    body = b'{"status":"success","data":{"resultType":"string","result":[1,"x"]}}'
    with (
        Gate("http://unused", replies=[(200, body)]) as gate,
        PrometheusApi(gate.url) as api,
        pytest.raises(QueryError, match="want a vector"),
    ):
        api.instant(CLOCK)


def test_a_silent_server_is_given_up_on(prometheus):
    """No first byte within the deadline."""
    with (
        Gate(prometheus, stall=True) as gate,
        PrometheusApi(gate.url, timeout_seconds=0.3) as api,
        pytest.raises(QueryError, match="timed out") as caught,
    ):
        values(api)
    assert caught.value.retryable


def test_a_dripping_server_is_given_up_on(prometheus):
    """Each byte comes in time, the answer does not: the deadline is for all of it."""
    with (
        Gate(prometheus, drip=1) as gate,
        PrometheusApi(gate.url, timeout_seconds=0.5) as api,
        pytest.raises(QueryError, match=r"longer than 0\.5 s") as caught,
    ):
        values(api)
    assert caught.value.retryable


def test_a_slow_network_is_waited_for(prometheus):
    """A dripping answer that ends within the deadline is an answer."""
    with Gate(prometheus, drip=40) as gate, PrometheusApi(gate.url, timeout_seconds=20) as api:
        np.testing.assert_array_equal(values(api), [1.0, 2.0, np.nan])


def test_warnings_are_handed_on():
    """What the server warns of is told to whoever listens."""
    body = b'{"status":"success","warnings":["half of it"],"data":{"resultType":"vector","result":[]}}'
    told: list[tuple[str, str]] = []
    with (
        Gate("http://unused", replies=[(200, body)]) as gate,
        PrometheusApi(gate.url, on_warning=lambda *words: told.append(words)) as api,
    ):
        assert api.instant(CLOCK) == []
    assert told == [("clock", "half of it")]
