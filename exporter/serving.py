"""The HTTP server: its sockets, bound before anything is promised, and an end that keeps nobody waiting."""

from __future__ import annotations

import signal
import socket

import uvicorn

from exporter.app import Exporter
from exporter.errors import PortRefused
from exporter.hotlane import protocol_for
from exporter.settings import Settings

__all__ = ["DeckServer", "listen"]

KEEP_ALIVE_SECONDS = 75
"""Longer than the usual scrape interval, so that Prometheus keeps its connection."""
GRACE_SECONDS = 4
"""What a request that has begun gets to be answered in when we are asked to stop."""


def listen(host: str, port: int) -> list[socket.socket]:
    """Sockets bound to every address of `host`; they take connections once the server has started.

    Raises:
        PortRefused: Somebody else has the port, or the address is not ours.
    """
    bound: list[socket.socket] = []
    try:
        for family, kind, protocol, _, address in socket.getaddrinfo(
            host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE
        ):
            sock = socket.socket(family, kind, protocol)
            bound.append(sock)
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            if family == socket.AF_INET6:
                sock.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
            sock.bind(address)
    except OSError as error:
        for sock in bound:
            sock.close()
        raise PortRefused(
            f"cannot listen on {host}:{port}: {error.strerror or error}: "
            "end what listens there, or set DECK_PORT to a free port (DECK_HOST is the address)"
        ) from error
    return bound


class DeckServer(uvicorn.Server):
    """uvicorn's server that answers every long poll when it is asked to stop, and then ends with status 0."""

    def __init__(self, app: Exporter, settings: Settings) -> None:
        self._exporter = app
        super().__init__(
            uvicorn.Config(
                app,
                host=settings.host,
                port=settings.port,
                loop="uvloop",
                http=protocol_for(app),
                ws="none",
                lifespan="on",
                access_log=False,
                proxy_headers=False,
                timeout_keep_alive=KEEP_ALIVE_SECONDS,
                log_config=None,  # its lines go the way of ours
                log_level="warning",
                server_header=False,
                date_header=True,
                ssl_certfile=str(settings.tls_cert) if settings.tls_cert else None,
                ssl_keyfile=str(settings.tls_key) if settings.tls_key else None,
                timeout_graceful_shutdown=GRACE_SECONDS,
            )
        )
        app.service.stop = self.stop

    def stop(self) -> None:
        """Ask the server to end."""
        self.should_exit = True

    def serve_until_stopped(self, sockets: list[socket.socket]) -> int:
        """Serve; the exit status: 0 after a clean end, by signal or by request, 1 if the start failed."""
        for number in (signal.SIGTERM, signal.SIGINT):
            # uvicorn sends itself the signal once more when it is done, which would end us as if killed.
            signal.signal(number, self.handle_exit)
        try:
            self.run(sockets)
        except SystemExit:
            return 1
        return 0 if self.started else 1

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        """End; who waits for a change is answered first."""
        self._exporter.service.writer.release()
        await super().shutdown(sockets)
