"""Is it alive, is it ready."""

from __future__ import annotations

from exporter.http import PLAIN, Call, Reply
from exporter.service import Service

__all__ = ["get_healthy", "get_ready"]


async def get_healthy(service: Service, call: Call) -> Reply:
    """GET /-/healthy: the process answers."""
    del call
    service.telemetry.answered("healthy", 200, "get")
    return Reply(200, b"OK", PLAIN)


async def get_ready(service: Service, call: Call) -> Reply:
    """GET /-/ready: the store is loaded and there is room in the queue."""
    del call
    if not service.ready or service.writer.length >= service.writer.capacity:
        service.telemetry.answered("ready", 503, "get")
        return Reply(503, b"the store is not loaded or the queue is full\n", PLAIN)
    service.telemetry.answered("ready", 200, "get")
    return Reply(200, b"OK", PLAIN)
