"""The same requests to a real Pushgateway and to the exporter: the same answers, the same scrapes.

The reference is Debian's; REFERENCE_PUSHGATEWAY names the binary of another version to compare with.
"""

from __future__ import annotations

import contextlib
import http.client
import json
import os
import re
import socket
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TypeVar

import pytest

from scripts.native import Child, find_program, free_port, python_module
from tests.wire.gateway_cases import CASES, NEWER, Send

OTHER_REFERENCE = os.environ.get("REFERENCE_PUSHGATEWAY")
OWN = re.compile(r"(go|process|promhttp|exporter|trading|pushgateway|allocator)_")
TIMES = re.compile(r"(push(?:_failure)?_time_seconds)\{")


@dataclass
class Answer:
    status: int
    body: str
    headers: dict[str, str]


def send(port: int, request: Send) -> Answer:
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=10)
    connection.request(request.method, request.path, request.body or None, request.headers)
    answer = connection.getresponse()
    headers = {k.lower(): v for k, v in answer.getheaders()}
    got = Answer(answer.status, answer.read().decode("utf-8", "replace"), headers)
    connection.close()
    return got


T = TypeVar("T")


def ask_reference(ask: Callable[[], T]) -> T:
    """What the reference answers; it is asked again where its answer was lost.

    Go's server closes on a broken request line while the body is on its way, and the kernel may then drop
    what was answered: one request in a hundred.
    """
    for _ in range(5):
        with contextlib.suppress(ConnectionResetError):
            return ask()
    return ask()


def scrape(port: int) -> tuple[dict[str, str], dict[str, str], list[str]]:
    """Types, help texts and sample lines that clients pushed; times as 0 or "now"."""
    kinds: dict[str, str] = {}
    helps: dict[str, str] = {}
    samples: list[str] = []
    for line in send(port, Send("GET", "/metrics")).body.splitlines():
        parts = line.split(" ", 3)
        if line.startswith("# TYPE") and not OWN.match(parts[2]):
            kinds[parts[2]] = parts[3]
        elif line.startswith("# HELP") and not OWN.match(parts[2]):
            helps[parts[2]] = parts[3] if len(parts) > 3 else ""
        elif not line.startswith("#") and not OWN.match(line):
            name, _, value = line.rpartition(" ")
            number = float(value) + 0.0  # -0 is 0
            samples.append(f"{name} {'now' if TIMES.match(name) and number else repr(number)}")
    return kinds, {k: v for k, v in helps.items() if v}, sorted(samples)


@pytest.fixture(scope="module")
def ports(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[int, int]]:
    at: Path = tmp_path_factory.mktemp("parity")
    theirs, ours = free_port(), free_port()
    reference = Child(
        "pushgateway",
        [
            OTHER_REFERENCE or find_program("pushgateway"),
            "--persistence.file=",
            "--web.enable-admin-api",
            f"--web.listen-address=127.0.0.1:{theirs}",
        ],
        at / "pushgateway.log",
        f"http://127.0.0.1:{theirs}/-/ready",
    )
    exporter = python_module(
        "exporter",
        "exporter",
        at / "exporter.log",
        {
            "DECK_PORT": str(ours),
            "DECK_STORE_URL": f"sqlite:///{at}/deck.db",
            "DECK_ADMIN_API": "1",
        },
        f"http://127.0.0.1:{ours}/-/ready",
    )
    with reference, exporter:
        yield theirs, ours


def wipe(ports: tuple[int, int]) -> None:
    for port in ports:
        assert send(port, Send("PUT", "/api/v1/admin/wipe")).status == 202


TEXT_REFUSED = [
    f"text: {name}"
    for name in (
        *("no final LF", "CRLF", "CRLF type", "trailing blank", "hex", "underscore", "overflow", "no value"),
        *("no value after labels", "timestamp", "timestamp text", "timestamp and more", "second type"),
        *(
            "second help",
            "type after samples",
            "unknown type",
            "duplicate label",
            "reserved label",
            "no quote",
        ),
        *("unclosed quote", "unclosed brace", "bad escape", "bad help escape", "bad name", "bad name dash"),
        *("exemplar", "quantile text", "le text", "control characters in a number"),
        *("control character behind a label name", "letter behind a label name", "letter for a quote"),
        *("letter behind a backslash", "control character in le", "timestamp and a backslash"),
        *("backslash in an unknown type", "timestamp beyond 64 bits", "timestamp beyond Python's digits"),
    )
]
LINE = re.compile(r"(text format parsing error in line \d+:|pushed metrics are invalid or inconsistent)")


UNCLEAN = re.compile(r"(?<!:)//|/\.{1,2}(/|$)|^/api/v1$")


def comparable(path: str, answer: Answer) -> tuple[object, ...]:
    found = LINE.match(answer.body)
    location = answer.headers.get("location")
    # Go 1.26 redirects an unclean path with 307, all before it with 301.
    status = 301 if answer.status == 307 and UNCLEAN.search(path) else answer.status
    return status, found[1] if found else None, location


@pytest.mark.parametrize("name", CASES)
def test_the_same_request_gets_the_same_answer(ports: tuple[int, int], name: str) -> None:
    """Status, kind and place of the error, redirect, and the scrape afterwards are the reference's."""
    wipe(ports)
    theirs, ours = ports
    for request in CASES[name]:
        want, have = ask_reference(partial(send, theirs, request)), send(ours, request)
        assert comparable(request.path, have) == comparable(request.path, want), (want.body, have.body)
        if want.status == 405:
            assert have.headers.get("allow") == want.headers.get("allow")
        if want.status in (404, 405) and "nothing" not in request.path:
            assert have.body == want.body
        if want.status < 300 and request.path.startswith("/metrics/job"):
            assert have.body == want.body == ""
    assert scrape(ours) == scrape(theirs)


WAYS = {
    "HTTP/1.1": b"PUT %s HTTP/1.1\r\nhost: x\r\ncontent-length: 4\r\nconnection: close\r\n\r\nm 1\n",
    "HTTP/1.0": b"PUT %s HTTP/1.0\r\ncontent-length: 4\r\n\r\nm 1\n",
    "chunked": b"PUT %s HTTP/1.1\r\nhost: x\r\ntransfer-encoding: chunked\r\nconnection: close\r\n\r\n"
    b"4\r\nm 1\n\r\n0\r\n\r\n",
    "Upgrade": b"PUT %s HTTP/1.1\r\nhost: x\r\nconnection: Upgrade, HTTP2-Settings, close\r\n"
    b"upgrade: h2c\r\nhttp2-settings: AAMAAABkAAQAAP__\r\ncontent-length: 4\r\n\r\nm 1\n",
    "Expect": b"PUT %s HTTP/1.1\r\nhost: x\r\ncontent-length: 4\r\nexpect: 100-continue\r\n"
    b"connection: close\r\n\r\nm 1\n",
}
# No job in base64: Debian's deadlocks on the next one once it has refused one that is not base64.
RAW_PATHS = [
    *(
        b"/metrics/job/\xc3\xa9",
        "/metrics/job/a/b/日本".encode(),
        b"/metrics/job/a#b",
        b"/metrics/job/a/b/c#d?e=f",
    ),
    *(
        b"/metrics/job/a/",
        b"/metrics/job/a%2Fb%2Fc",
        b"/metrics%2Fjob%2Fa",
        b"/metrics/%6Aob/a",
        b"/METRICS/JOB/A",
    ),
    *(
        b"/metrics/job/",
        b"/metrics/job@base64/",
        b"/metrics/job//a",
        b"/metrics/job/a/.b/c",
    ),
    *(
        b"/metrics/job/%zz",
        b"/metrics/job/a?x=%zz",
        b"/metrics/job/..a",
        b"/metrics/job/a/../b",
        b"/metrics/job/a;b",
    ),
    *(
        b"/metrics/",
        b"/-/quit/",
        b"/api/v1/admin/wipe/",
        b"/metrics/job/a/b@base64/Yg==",
        b"http://x/metrics/job/a",
    ),
]


def send_raw(port: int, request: bytes) -> tuple[int, bytes, bytes]:
    """Status, Location and body of the answer to these bytes."""
    with socket.create_connection(("127.0.0.1", port), timeout=10) as connection:
        connection.sendall(request)
        got = b"".join(iter(lambda: connection.recv(65536), b""))
    while got.startswith(b"HTTP/1.1 100"):
        got = got.partition(b"\r\n\r\n")[2]
    head, _, body = got.partition(b"\r\n\r\n")
    location = re.search(rb"(?i)\r\nlocation: ([^\r]*)", head)
    return int(head.split(b" ")[1]), location[1] if location else b"", body


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("path", RAW_PATHS)
def test_every_way_of_sending_a_path_gets_the_same_answer(
    ports: tuple[int, int], path: bytes, way: str
) -> None:
    """The short way of a push and the ordinary one name the same group, also for bytes no one should send."""
    wipe(ports)
    theirs, ours = ports
    sent = WAYS[way] % path
    want, have = ask_reference(partial(send_raw, theirs, sent)), send_raw(ours, sent)
    if UNCLEAN.search(path.decode()):
        want = (301, *want[1:])
    assert have == want
    assert scrape(ports[1]) == scrape(ports[0])


@pytest.mark.parametrize("name", TEXT_REFUSED)
def test_the_line_says_the_same(ports: tuple[int, int], name: str) -> None:
    """Every text that the reference refuses is refused in its very words."""
    wipe(ports)
    want, have = (send(port, CASES[name][-1]).body for port in ports)
    if "\\r" in want:  # CRLF: ours says what to change as well
        assert have.startswith(want.rstrip("\n"))
    else:
        assert have == want


@pytest.mark.parametrize("name", NEWER)
def test_newer_than_debians(ports: tuple[int, int], name: str) -> None:
    """What 1.11.3 answers and Debian's does not know yet; a reference of one's own must answer so too."""
    wipe(ports)
    request, status, body, samples = NEWER[name]
    for port in ports if OTHER_REFERENCE else ports[1:]:
        answer = send(port, request)
        assert (answer.status, answer.body) == (status, body)
        assert [sample for sample in scrape(port)[2] if not TIMES.match(sample)] == samples


@pytest.mark.parametrize(
    "name", ["text: histogram", "text: summary", "text: gauge", "text: untyped", "post merges"]
)
def test_the_json_api_has_the_same_shape(ports: tuple[int, int], name: str) -> None:
    """/api/v1/metrics gives the same groups, families, labels and numbers, all as text."""
    wipe(ports)
    shown = []
    for port in ports:
        for request in CASES[name]:
            send(port, request)
        answer = send(port, Send("GET", "/api/v1/metrics"))
        assert answer.headers["access-control-allow-origin"] == "*"
        assert answer.headers["cache-control"] == "no-cache, no-store, must-revalidate"
        groups = json.loads(answer.body)["data"]
        for group in groups:
            for family in group.values():
                if isinstance(family, dict) and "time_stamp" in family:
                    family["time_stamp"] = "T" in family["time_stamp"]
            group["push_time_seconds"]["metrics"][0]["value"] = "now"
        shown.append(groups)
    assert shown[1] == shown[0]


def test_the_status_has_the_same_keys(ports: tuple[int, int]) -> None:
    """/api/v1/status names the build, the flags as text and the start."""
    theirs, ours = (json.loads(send(port, Send("GET", "/api/v1/status")).body) for port in ports)
    assert theirs["status"] == ours["status"] == "success"
    assert set(theirs["data"]) == set(ours["data"])
    assert set(theirs["data"]["build_information"]) == set(ours["data"]["build_information"])
    assert all(isinstance(flag, str) for flag in ours["data"]["flags"].values())


def test_requests_are_counted_alike(ports: tuple[int, int]) -> None:
    """pushgateway_http_requests_total grows by the same label values for the same requests."""
    grown = []
    for port in ports:
        before = requests_total(port)
        for name in ("text: gauge", "text: no value", "delete", "path: ready"):
            for request in CASES[name]:
                send(port, request)
        after = requests_total(port)
        grown.append({key: after[key] - before.get(key, 0) for key in after if after[key] != before.get(key)})
    assert grown[1] == grown[0]


def requests_total(port: int) -> dict[tuple[str, ...], float]:
    found: dict[tuple[str, ...], float] = {}
    for line in send(port, Send("GET", "/metrics")).body.splitlines():
        if line.startswith("pushgateway_http_requests_total{"):
            labels = dict(re.findall(r'(\w+)="([^"]*)"', line))
            found[labels["handler"], labels["code"], labels["method"]] = float(line.rpartition(" ")[2])
    return found
