from __future__ import annotations

import socket
import threading
from pathlib import Path

import pytest

from scripts.native import NativeError, answers, find_program, free_port, port_in_use


def program(path: Path) -> str:
    path.parent.mkdir(exist_ok=True)
    path.write_text("#!/bin/sh\n")
    path.chmod(0o755)
    return str(path)


def test_the_program_that_stands_first_on_path_is_taken(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Who puts another version first on PATH runs that one, though Debian's has a name of its own."""
    theirs = program(tmp_path / "mine" / "alertmanager")
    debian = program(tmp_path / "debian" / "prometheus-alertmanager")
    monkeypatch.setenv("PATH", f"{tmp_path / 'mine'}:{tmp_path / 'debian'}")
    assert find_program("alertmanager") == theirs
    monkeypatch.setenv("PATH", f"{tmp_path / 'debian'}:{tmp_path / 'mine'}")
    assert find_program("alertmanager") == debian


def test_a_program_that_is_missing_names_its_package(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Who lacks it reads what to install."""
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(NativeError, match=r"alertmanager is not on PATH: .*package prometheus-alertmanager"):
        find_program("alertmanager")


def test_a_port_that_nobody_holds_is_free() -> None:
    """A port that was free a moment ago can be had."""
    assert not port_in_use(free_port())


@pytest.mark.parametrize("closed", [False, True])
def test_a_port_that_a_client_connects_from_is_in_use(closed: bool) -> None:
    """No server can listen there, open or closed a moment ago, though nobody answers."""
    port = free_port()
    with socket.socket() as server, socket.socket() as client:
        server.bind(("127.0.0.1", 0))
        server.listen()
        client.bind(("127.0.0.1", port))
        client.connect(server.getsockname())
        accepted, _ = server.accept()
        if closed:
            client.close()
            accepted.close()
        assert port_in_use(port)
        accepted.close()


def test_a_port_that_a_server_left_is_free() -> None:
    """Its clients' connections may linger; the next server can listen all the same, as servers reuse."""
    with socket.socket() as server:
        server.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        server.bind(("127.0.0.1", 0))
        server.listen()
        port = server.getsockname()[1]
        client = socket.create_connection(("127.0.0.1", port))
        accepted, _ = server.accept()
        accepted.close()
        client.close()
    assert not port_in_use(port)


def test_a_server_that_speaks_no_http_does_not_answer() -> None:
    """Whatever stands on the port of a program that starts, the wait goes on instead of breaking off."""
    with socket.create_server(("127.0.0.1", 0)) as server:

        def echo() -> None:
            accepted, _ = server.accept()
            with accepted:
                accepted.sendall(accepted.recv(4096))

        thread = threading.Thread(target=echo)
        thread.start()
        assert not answers(f"http://127.0.0.1:{server.getsockname()[1]}/-/ready")
        thread.join()
