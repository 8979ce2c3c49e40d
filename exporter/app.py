"""The ASGI application: hot routes answered directly, all others by FastAPI, one description of both.

A push or a scrape does not pass through FastAPI, which would cost more than the work itself; its OpenAPI page
(/docs) describes them all the same, from the same table.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, MutableMapping
from typing import Any

import structlog
from fastapi import FastAPI, Request, Response
from starlette.exceptions import HTTPException

from exporter.auth import Auth, read_tokens
from exporter.catalogue import PUSHED_KINDS
from exporter.docs_page import docs_page
from exporter.encoding import decode_json_body
from exporter.errors import CallerError, ExporterError, NotFound, TooLarge, WrongMethod
from exporter.http import Call, Reply, error_reply, plain_error
from exporter.index import Index
from exporter.openapi import describe, operation_id
from exporter.operations import Expire
from exporter.replicas import CatchUp, Follower
from exporter.routes import gateway, gateway_api
from exporter.routes.table import ROUTES, Route
from exporter.service import Service
from exporter.settings import Settings
from exporter.state import State
from exporter.store import Store
from exporter.telemetry import Telemetry
from exporter.unclean import PUSH_PATHS, PUSH_PREFIXES, answer_unclean, routed
from exporter.writer import Writer

__all__ = ["Exporter", "allowed", "create_app", "refusal"]

Scope = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[MutableMapping[str, Any]]]
Send = Callable[[MutableMapping[str, Any]], Awaitable[None]]

EXPIRY_SECONDS = 1.0
"""How often what has outlived its time is looked for."""

log = structlog.get_logger(__name__)


def create_app(
    settings: Settings,
    store: Store,
    *,
    now: Callable[[], float],
    clock: Callable[[], float],
    version: str,
    revision: str = "",
) -> Exporter:
    """The application on a store that is open.

    Args:
        settings: What is configured.
        store: Open; the application closes it when the server stops.
        now: Wall clock, epoch seconds.
        clock: Monotonic clock, seconds.
        version: Shown in /status and the build info.
        revision: Commit this was built from, if known; shown in the build info.
    """
    telemetry = Telemetry(version, revision)
    # With the types of what engines push, or anybody could block every engine's pushes, trips included.
    state = State(Index({**PUSHED_KINDS, **telemetry.kinds()}))
    writer = Writer(state, store, telemetry, now=now, clock=clock)
    token = settings.token.get_secret_value() if settings.token else None
    auth = Auth(read_tokens(token, settings.token_file, settings.tokens_file), read_auth=settings.read_auth)
    service = Service(
        settings=settings,
        state=state,
        writer=writer,
        reader=store,
        auth=auth,
        telemetry=telemetry,
        version=version,
        now=now,
        clock=clock,
        started_at=now(),
        rules=settings.alert_rules(),
    )
    return Exporter(service)


class Exporter:
    """ASGI entry.

    Attributes:
        refused: Why the start failed, if it did.
    """

    def __init__(self, service: Service) -> None:
        self.service = service
        self.refused: ExporterError | None = None
        self.api = _describe_and_route(service)
        self._hot = {
            route.path.encode(): route for route in ROUTES if route.path in ("/metrics/push", "/metrics")
        }
        self._tasks: list[asyncio.Task[None]] = []

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one request, or start and stop with the server."""
        if scope["type"] == "lifespan":
            await self._lifespan(receive, send)
            return
        if scope["type"] != "http":
            raise RuntimeError(f"no {scope['type']} here: want http")
        path: bytes = scope["raw_path"]
        reply = answer_unclean(
            scope["method"], path, scope["query_string"], admin_api=self.service.settings.admin_api
        )
        path = routed(path)
        if reply is None and path.startswith(PUSH_PREFIXES):
            reply = await self._gateway(scope, receive, path, gateway.handle)
        elif reply is None and (path.startswith(b"/api/v1/") or path in (b"/", b"/-/quit")):
            reply = await self._gateway(scope, receive, path, gateway_api.handle)
        elif reply is None:
            route = self._hot.get(path)
            if route is None or route.method != scope["method"]:
                await self.api(scope, receive, send)
                return
            reply = await _answer(self.service, route, scope, receive, path, {})
        await send({"type": "http.response.start", "status": reply.status, "headers": reply.raw_headers()})
        for block in reply.blocks():
            await send({"type": "http.response.body", "body": block, "more_body": reply.parts is not None})
        if reply.parts is not None:
            await send({"type": "http.response.body", "body": b""})

    async def _gateway(
        self, scope: Scope, receive: Receive, path: bytes, handle: Callable[[Service, Call], Awaitable[Reply]]
    ) -> Reply:
        try:
            body = await _read_body(receive, self.service.settings.max_body_bytes)
        except CallerError as error:
            gateway.count_refusal(self.service, error)
            return plain_error(error)
        return await handle(self.service, _call(scope, path, body, {}))

    async def _lifespan(self, receive: Receive, send: Send) -> None:
        await receive()
        try:
            await self.start()
        except ExporterError as error:
            self.refused = error
            await send({"type": "lifespan.startup.failed"})
            return
        await send({"type": "lifespan.startup.complete"})
        await receive()
        await self.stop()
        await send({"type": "lifespan.shutdown.complete"})

    async def start(self) -> None:
        """Load the store and begin."""
        service = self.service
        await service.writer.start()
        service.ready = True
        self._tasks = [asyncio.create_task(self._expire(), name="expiry")]
        if service.writer.shared:
            follower = Follower(
                newest=service.reader.newest_revision,
                known=lambda: service.state.revision,
                catch_up=lambda: service.writer.submit(CatchUp()),
                on_fresh=self._set_ready,
                clock=service.clock,
            )
            self._tasks.append(asyncio.create_task(follower.run(), name="follower"))

    async def stop(self) -> None:
        """Commit what waits and close the store."""
        self.service.ready = False
        for task in self._tasks:
            task.cancel()
        await self.service.writer.stop()

    def _set_ready(self, fresh: bool) -> None:
        self.service.ready = fresh

    async def _expire(self) -> None:
        while True:
            # A hold ends when it was said to end, on the page and in the history too.
            soon = self.service.state.next_end() - self.service.now()
            await asyncio.sleep(min(max(soon, 0.01), EXPIRY_SECONDS))
            try:
                await self.expire()
            except ExporterError as error:
                log.warning("expiry failed", error=str(error))

    async def expire(self) -> None:
        """Let go of what has outlived its time."""
        service = self.service
        service.telemetry.expired.inc(await service.writer.submit(Expire(service.settings.group_ttl_sec)))


def _call(scope: Scope, path: bytes, body: bytes, params: dict[str, str]) -> Call:
    return Call(scope["method"], path, scope["query_string"], dict(scope["headers"]), body, params)


async def _read_body(receive: Receive, limit: int) -> bytes:
    message = await receive()
    body: bytes = message.get("body", b"")
    if message.get("more_body"):
        chunks, size = [body], len(body)
        while message.get("more_body"):
            message = await receive()
            if message["type"] == "http.disconnect":
                raise TooLarge("the client went away before the body was whole", code="disconnected")
            chunk = message.get("body", b"")
            size += len(chunk)
            if size > limit:
                break
            chunks.append(chunk)
        body = b"".join(chunks) if size <= limit else bytes(limit + 1)
    if len(body) > limit:
        raise TooLarge(f"the body has more than {limit} bytes: DECK_MAX_BODY_BYTES is {limit}")
    return body


async def _answer(
    service: Service, route: Route, scope: Scope, receive: Receive, path: bytes, params: dict[str, str]
) -> Reply:
    """Authenticate, read, handle; every error in the deck's form."""
    start = service.clock()
    outcome = "accepted"
    try:
        headers = dict(scope["headers"])
        caller = service.auth.check(headers, route.scope)
        body = b""
        if route.body:
            limit = service.settings.max_body_bytes
            body = decode_json_body(
                await _read_body(receive, limit), headers.get(b"content-encoding", b""), limit
            )
        call = Call(scope["method"], path, scope["query_string"], headers, body, params, caller.name)
        return await route.handler(service, call)
    except CallerError as error:
        outcome = "rejected"
        service.telemetry.rejections.labels(reason=error.reason).inc()
        return error_reply(error)
    except ExporterError as error:
        outcome = "error"
        return error_reply(error)
    finally:
        if route.api is not None:
            service.telemetry.outcomes[route.api, outcome].inc()
            service.telemetry.push_seconds.observe(service.clock() - start)


def _describe_and_route(service: Service) -> FastAPI:
    api = FastAPI(
        title="Deckrails exporter",
        version=service.version,
        description="The deck's JSON API, the page Prometheus scrapes, and a Pushgateway's routes, "
        "durable before they answer.",
        docs_url=None,
        redoc_url=None,
    )
    for route in ROUTES:
        api.add_api_route(
            # A name may have a slash in it: whatever an engine or an alert trips, an operator can let go.
            route.path.replace("{name}", "{name:path}"),
            _endpoint(service, route),
            methods=[route.method],
            summary=route.summary,
            response_class=Response,
            operation_id=operation_id(route),
        )

    async def refuse(request: Request, error: Exception) -> Response:
        path, method = request.url.path, request.method
        wrong = isinstance(error, HTTPException) and error.status_code == 405
        return _response(refusal(method, path, allowed(path) if wrong else ""))

    api.add_exception_handler(HTTPException, refuse)
    api.openapi = lambda: describe(api)  # type: ignore[method-assign]  # FastAPI's documented way to extend it
    api.add_route("/docs", lambda _: Response(docs_page(api.openapi()), media_type="text/html"))
    return api


def allowed(path: str) -> str:
    """The verbs of a path, as an Allow header has them; empty for a path that is not there."""
    if path.startswith(PUSH_PATHS):
        return gateway.ALLOWED
    methods = {route.method for route in ROUTES if _same_path(route.path, path)}
    return ", ".join(sorted({*methods, "OPTIONS"})) if methods else gateway_api.ALLOWED.get(path, "")


def refusal(method: str, path: str, allow: str) -> Reply:
    """What a method gets on a path that takes others, or none: 200 for OPTIONS, 405 or 404.

    On the paths of a Pushgateway it is told in a Pushgateway's words.
    """
    if allow and method == "OPTIONS":
        return Reply(200, headers=[(b"allow", allow.encode())])
    theirs = _is_gateways(path)
    if allow:
        wrong = "Method Not Allowed" if theirs else f"{method} is not for {path}: want {allow}"
        found: CallerError = WrongMethod(wrong, allow)
    else:
        found = NotFound(
            "404 page not found" if theirs else f"no {method} {path} here; /docs lists the routes"
        )
    return plain_error(found) if theirs else error_reply(found)


def _is_gateways(path: str) -> bool:
    return (path != "/metrics/push" and path.startswith(("/metrics", "/-/", "/api/v1/"))) or path == "/"


def _same_path(pattern: str, path: str) -> bool:
    if pattern.endswith("{name}"):
        return path.startswith(pattern.removesuffix("{name}"))
    return pattern == path


def _endpoint(service: Service, route: Route) -> Callable[[Request], Awaitable[Response]]:
    async def endpoint(request: Request) -> Response:
        reply = await _answer(
            service,
            route,
            request.scope,
            request.receive,
            request.scope["raw_path"],
            dict(request.path_params),
        )
        return _response(reply)

    endpoint.__doc__ = route.handler.__doc__
    return endpoint


def _response(reply: Reply) -> Response:
    response = Response(reply.body, reply.status)
    response.raw_headers = reply.raw_headers()
    return response
