"""Clients people have, unchanged, against the exporter: Python's, JavaScript's, curl's odd ways, TLS."""

from __future__ import annotations

import json
import socket
import ssl
import subprocess
import urllib.request
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, Info, Summary
from prometheus_client.exposition import (
    basic_auth_handler,
    delete_from_gateway,
    instance_ip_grouping_key,
    push_to_gateway,
    pushadd_to_gateway,
)

from scripts.native import Child, exporter, find_program, free_port

TOKEN = "t0ken"


@pytest.fixture(scope="module")
def port(tmp_path_factory: pytest.TempPathFactory) -> Iterator[int]:
    at, number = tmp_path_factory.mktemp("clients"), free_port()
    environment = {"DECK_TOKEN": TOKEN, "DECK_MAX_BODY_BYTES": "100000"}
    with exporter(number, f"sqlite:///{at}/deck.db", at / "exporter.log", environment):
        yield number


def page(port: int) -> str:
    with urllib.request.urlopen(f"http://127.0.0.1:{port}/metrics", timeout=10) as answer:
        return str(answer.read().decode())


def with_token(
    url: str, method: str, timeout: float | None, headers: list[tuple[str, str]], data: bytes
) -> Callable[[], None]:
    return basic_auth_handler(url, method, timeout, headers, data, "user", TOKEN)


def test_the_python_client_pushes_adds_and_deletes(port: int) -> None:
    """push, pushadd and delete with grouping keys, Basic auth and every metric type."""
    registry = CollectorRegistry()
    Counter("jobs", "Jobs.", registry=registry).inc(3)
    Gauge("last", "Last.", ["shard"], registry=registry).labels("a/b").set(1.5)
    Histogram("took_seconds", "Time.", registry=registry, buckets=(1, 2)).observe(1.5)
    Summary("size_bytes", "Size.", registry=registry).observe(10)
    Info("build", "Build.", registry=registry).info({"version": "1"})
    gateway, key = (
        f"http://127.0.0.1:{port}",
        {"path": "/var/data", "empty": "", **instance_ip_grouping_key()},
    )
    push_to_gateway(gateway, job="some/job", registry=registry, grouping_key=key, handler=with_token)
    shown = page(port)
    at = f'empty="",instance="{key["instance"]}",job="some/job",path="/var/data"'
    assert f"jobs_total{{{at}}} 3.0" in shown
    assert f'last{{{at},shard="a/b"}} 1.5' in shown
    assert f'took_seconds_bucket{{{at},le="2"}} 1.0' in shown
    assert f"size_bytes_sum{{{at}}} 10.0" in shown
    assert "build_info{" in shown
    other = CollectorRegistry()
    Gauge("added", "Added.", registry=other).set(2)
    pushadd_to_gateway(gateway, job="some/job", registry=other, grouping_key=key, handler=with_token)
    assert {f"added{{{at}}} 2.0", f"jobs_total{{{at}}} 3.0"} <= set(page(port).splitlines())
    push_to_gateway(gateway, job="some/job", registry=other, grouping_key=key, handler=with_token)
    assert "jobs_total" not in page(port)
    delete_from_gateway(gateway, job="some/job", grouping_key=key, handler=with_token)
    assert "some/job" not in page(port)


SCRIPT = """
const client = require('prom-client');
const registry = new client.Registry();
const counter = new client.Counter({name: 'js_jobs_total', help: 'Jobs.', registers: [registry]});
const histogram = new client.Histogram({name: 'js_took_seconds', help: 'T', registers: [registry]});
const gateway = new client.Pushgateway(process.argv[2], {auth: 'user:' + process.argv[3]}, registry);
const groupings = {shard: 'a b', path: '/x'};
(async () => {
  counter.inc(4); histogram.observe(0.5);
  const answers = [];
  answers.push((await gateway.push({jobName: 'js', groupings: {shard: 'a b'}})).resp.statusCode);
  answers.push((await gateway.pushAdd({jobName: 'js'})).resp.statusCode);
  answers.push((await gateway.delete({jobName: 'js'})).resp.statusCode);
  console.log(JSON.stringify(answers));
})();
"""


def test_the_javascript_client_pushes_adds_and_deletes(port: int, tmp_path: Path) -> None:
    """prom-client from npm, its Pushgateway class with Basic auth."""
    (tmp_path / "package.json").write_text('{"private": true}')
    install = ["install", "--silent", "--no-audit", "--no-fund", "--ignore-scripts", "prom-client@15.1.3"]
    subprocess.run(
        [find_program("npm"), *install], cwd=tmp_path, check=True, timeout=120, capture_output=True
    )
    (tmp_path / "push.js").write_text(SCRIPT)
    done = subprocess.run(
        [find_program("node"), "push.js", f"http://127.0.0.1:{port}", TOKEN],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout) == [200, 200, 202]
    shown = page(port)
    assert 'js_jobs_total{instance="",job="js",shard="a b"} 4\n' in shown
    assert 'job="js"}' not in shown


def talk(port: int, raw: bytes, answers: int) -> list[bytes]:
    """Status lines of so many answers to raw bytes on one connection."""
    with socket.create_connection(("127.0.0.1", port), timeout=10) as connection:
        connection.sendall(raw)
        got = b""
        while got.count(b"HTTP/1.1 ") < answers:
            more = connection.recv(65536)
            if not more:
                break
            got += more
    return [line.split(b"\r\n")[0] for line in got.split(b"HTTP/1.1 ")[1:]]


def request(method: str, path: str, body: bytes, *headers: str) -> bytes:
    lines = [f"{method} {path} HTTP/1.1", "Host: x", f"Authorization: Bearer {TOKEN}", *headers]
    return "\r\n".join([*lines, f"Content-Length: {len(body)}", "", ""]).encode() + body


def test_pipelined_requests_are_answered_in_order(port: int) -> None:
    """Pushes and other requests sent ahead of their answers each get theirs, in order."""
    raw = b"".join(
        (
            request("PUT", "/metrics/job/pipe", b"m 1\n"),
            request("PUT", "/metrics/job/pipe", b"m\n"),
            request("GET", "/-/healthy", b""),
            request("POST", "/metrics/job/pipe", b"n 1\n"),
            request("DELETE", "/metrics/job/pipe", b""),
            request("PUT", "/metrics/job/pipe", b"last 7\n"),
        )
    )
    assert talk(port, raw, 6) == [
        b"200 OK", b"400 Bad Request", b"200 OK", b"200 OK", b"202 Accepted", b"200 OK",
    ]  # fmt: skip
    assert 'last{instance="",job="pipe"} 7' in page(port)


def test_a_question_for_another_protocol_is_passed_over(port: int) -> None:
    """Java's client and curl ask with their first request; the body that follows is the request's."""
    asking = ("Connection: Upgrade, HTTP2-Settings", "Upgrade: h2c", "HTTP2-Settings: AAMAAABkAAQAAP__")
    trip = b'{"tripped": true, "reason": "asked for more"}'
    chunked = request("PUT", "/metrics/job/up", b"", *asking).replace(
        b"Content-Length: 0", b"Transfer-Encoding: chunked"
    )
    requests = [
        request("PUT", "/metrics/job/up", b"a 1\n", *asking),
        chunked + b"2\r\nb \r\n2\r\n5\n\r\n0\r\n\r\n",
        request("POST", "/breakers/manual", trip, *asking),
        request("POST", "/metrics/job/up", b"c 3\n", "Connection: Upgrade", "Upgrade: websocket"),
        request("GET", "/-/healthy", b"", "Connection: Upgrade", "Upgrade: TLS/1.0"),
        request("DELETE", "/metrics/job/gone", b"", *asking),
        request("POST", "/metrics/job/up", b"d 4\n"),
    ]
    answers = [b"200 OK"] * 5 + [b"202 Accepted", b"200 OK"]
    assert talk(port, b"".join(requests), 7) == answers
    at = '{instance="",job="up"} '
    assert [line for line in page(port).splitlines() if at in line and line[0] in "abcd"] == [
        f"{name}{at}{value}" for name, value in (("b", 5), ("c", 3), ("d", 4))
    ]
    # However it is cut on its way.
    with socket.create_connection(("127.0.0.1", port), timeout=10) as connection:
        connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        for byte in requests[1]:
            connection.sendall(bytes([byte]))
        assert connection.recv(65536).startswith(b"HTTP/1.1 200 OK")
    assert f"b{at}5" in page(port)
    assert talk(port, requests[3] * 3000, 3000) == [b"200 OK"] * 3000
    assert any(
        line.startswith('trading_breaker_open{breaker="manual"') and line.endswith('source="operator"} 1')
        for line in page(port).splitlines()
    )


def test_a_trailer_is_no_header(port: int) -> None:
    """What follows a chunked body brings no token, hides no origin and sets no time to live."""

    def chunked(headers: str, trailer: str, path: str = "/metrics/job/tr") -> bytes:
        head = f"PUT {path} HTTP/1.1\r\nHost: x\r\n{headers}Transfer-Encoding: chunked\r\n\r\n"
        return f"{head}5\r\nm1 1\n\r\n0\r\n{trailer}\r\n".encode()

    token = f"Authorization: Bearer {TOKEN}\r\n"
    assert talk(port, chunked("", token), 1) == [b"401 Unauthorized"]
    evil = chunked(f"{token}Origin: http://evil\r\n", "Origin: http://x\r\n")
    assert talk(port, evil, 1) == [b"403 Forbidden"]
    assert talk(port, chunked(token, "X-Group-TTL: abc\r\n"), 1) == [b"200 OK"]
    push = chunked("", token, "/metrics/push").replace(b"PUT", b"POST")
    assert talk(port, push, 1) == [b"401 Unauthorized"]


def test_a_body_is_never_read_as_a_request(port: int) -> None:
    """Not even where it looks like one and what follows it is not of the alphabet."""
    body = request("PUT", "/metrics/job/smügg", b"m 1\n")
    head = f"PUT /metrics/job/victim HTTP/1.1\r\nHost: x\r\nContent-Length: {len(body)}\r\n\r\n".encode()
    with socket.create_connection(("127.0.0.1", port), timeout=10) as connection:
        connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        connection.sendall(head)
        assert talk(port, request("GET", "/-/healthy", b""), 1) == [b"200 OK"]  # the head has been read
        connection.sendall(body + "GET /metrics/job/ä HTTP/1.1\r\nHost: x\r\n\r\n".encode())
        got = b""
        while more := connection.recv(65536):
            got += more
    assert b"401 Unauthorized" in got
    # What was queued before this is on the page once this is answered.
    assert talk(port, request("PUT", "/metrics/job/after", b"m 1\n"), 1) == [b"200 OK"]
    assert 'job="sm' not in page(port)


def test_unusual_requests_are_answered_as_usual(port: int) -> None:
    """Chunked bodies, Expect, Connection: close, a query and a body over the limit."""
    chunked = request("PUT", "/metrics/job/odd", b"").replace(
        b"Content-Length: 0", b"Transfer-Encoding: chunked"
    )
    assert talk(port, chunked + b"2\r\na \r\n2\r\n5\n\r\n0\r\n\r\n", 1) == [b"200 OK"]
    assert 'a{instance="",job="odd"} 5' in page(port)
    expecting = request("PUT", "/metrics/job/odd", b"a 6\n", "Expect: 100-continue")
    assert talk(port, expecting, 2)[-1] == b"200 OK"
    closing = request("PUT", "/metrics/job/odd?x=1", b"a 7\n", "Connection: close")
    assert talk(port, closing * 2, 2) == [b"200 OK"]
    assert 'a{instance="",job="odd"} 7' in page(port)
    assert talk(port, request("PUT", "/metrics/job/odd", b"#" * 100_001), 1) == [b"413 Content Too Large"]
    assert talk(port, request("PUT", "/metrics/job/odd", b"a 8\n").replace(TOKEN.encode(), b"no"), 1) == [
        b"401 Unauthorized"
    ]
    assert talk(port, b"rubbish\r\n\r\n", 1) == [b"400 Bad Request"]
    assert 'a{instance="",job="odd"} 7' in page(port)


def test_it_serves_https_with_the_given_certificate(tmp_path: Path) -> None:
    """DECK_TLS_CERT and DECK_TLS_KEY: a verified connection, a push and a scrape."""
    certificate, key, number = tmp_path / "cert.pem", tmp_path / "key.pem", free_port()
    subprocess.run(
        [
            *(
                "openssl",
                "req",
                "-x509",
                "-newkey",
                "rsa:2048",
                "-nodes",
                "-days",
                "2",
                "-subj",
                "/CN=localhost",
            ),
            *("-addext", "subjectAltName=IP:127.0.0.1", "-keyout", str(key), "-out", str(certificate)),
        ],
        check=True,
        capture_output=True,
    )
    environment = {"DECK_TLS_CERT": str(certificate), "DECK_TLS_KEY": str(key)}
    plain = exporter(number, f"sqlite:///{tmp_path}/deck.db", tmp_path / "log", environment)
    server = Child(plain.name, plain.argv, plain.log, None, plain.env)
    server.spawn()
    trust = ssl.create_default_context(cafile=str(certificate))
    try:
        url = f"https://127.0.0.1:{number}"
        wait_for_port(number, server)
        put = urllib.request.Request(f"{url}/metrics/job/tls", b"m 1\n", method="PUT")
        with urllib.request.urlopen(put, timeout=10, context=trust) as answer:
            assert answer.status == 200
        with urllib.request.urlopen(f"{url}/metrics", timeout=10, context=trust) as answer:
            assert b'm{instance="",job="tls"} 1' in answer.read()
    finally:
        server.stop()


def wait_for_port(number: int, server: Child) -> None:
    while True:
        try:
            socket.create_connection(("127.0.0.1", number), timeout=1).close()
        except OSError:
            assert server.alive, server.tail()
            continue
        return
