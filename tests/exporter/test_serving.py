from __future__ import annotations

import http.client
import json
import socket
from pathlib import Path

import pytest

from exporter.errors import PortRefused
from exporter.serving import listen
from scripts.native import free_port
from tests.exporter.nursery import Nursling, call_with_headers


def test_a_port_is_bound_once() -> None:
    """The second to come is told which setting to change."""
    first = listen("127.0.0.1", 0)
    first[0].listen()
    try:
        with pytest.raises(PortRefused, match="DECK_PORT"):
            listen("127.0.0.1", first[0].getsockname()[1])
    finally:
        first[0].close()


def test_an_address_of_others_is_refused() -> None:
    """Only this machine's addresses can be bound."""
    with pytest.raises(PortRefused, match=r"192\.0\.2\.1"):
        listen("192.0.2.1", 0)


def test_every_line_is_json_where_machines_read(tmp_path: Path) -> None:
    """What the HTTP server has to say of rubbish too."""
    deck = Nursling(free_port(), tmp_path, DECK_LOG_FORMAT="json")
    deck.start()
    told = len(deck.log.read_text().splitlines())
    with socket.create_connection(("127.0.0.1", deck.port), timeout=10) as connection:
        connection.sendall(b"rubbish\r\n\r\n")
        assert connection.recv(1024).startswith(b"HTTP/1.1 400")
    deck.stop()
    lines = [json.loads(line) for line in deck.log.read_text().splitlines()][told:]
    assert [(line["level"], line["event"]) for line in lines] == [
        ("warning", "Invalid HTTP request received.")
    ]


def test_asked_to_stop_it_answers_who_waits_and_ends_with_0(tmp_path: Path) -> None:
    """A long poll is answered 304 at once, and nothing is said on standard error."""
    deck = Nursling(free_port(), tmp_path)
    deck.start()
    told = deck.log.read_text()
    _, headers, _ = call_with_headers(deck.port, "GET", "/status")
    waiting = http.client.HTTPConnection("127.0.0.1", deck.port, timeout=30)
    waiting.request("GET", "/status?wait=60", headers={"If-None-Match": headers["etag"]})
    # What was sent before this is being worked on once this is answered.
    assert deck.call("GET", "/-/ready")[0] == 200
    deck.stop()
    assert waiting.getresponse().status == 304
    waiting.close()
    assert deck.process is not None and deck.process.exitcode == 0
    assert deck.log.read_text() == told
