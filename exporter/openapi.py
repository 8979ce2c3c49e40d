"""What FastAPI cannot know of our handlers: bodies, arguments and answers, from the route table."""

from __future__ import annotations

import math
from typing import Any

import msgspec
from fastapi import FastAPI
from fastapi.openapi.utils import get_openapi

from exporter.answers import Trades
from exporter.messages import (
    MAP_RANGES,
    MAX_AMOUNT,
    MAX_EPOCH,
    MAX_HOLD_SECONDS,
    MAX_NAME,
    MAX_REASON,
    MAX_TRADES,
    SCALAR_RANGES,
)
from exporter.openapi_gateway import GATEWAY
from exporter.routes.deck import MAX_PAGE, MAX_WAIT_SECONDS
from exporter.routes.table import ROUTES, Route

__all__ = ["describe", "operation_id"]

_ERROR = {
    "type": "object",
    "required": ["error", "detail", "field"],
    "properties": {
        "error": {"type": "string"},
        "detail": {"type": "string"},
        "field": {"type": ["string", "null"]},
    },
}


def _span(low: float, high: float) -> dict[str, float]:
    bounds = {"minimum": low, "maximum": high}
    return {name: bound for name, bound in bounds.items() if math.isfinite(bound)}


_NAME = {"minLength": 1, "maxLength": MAX_NAME}
_TIME = _span(0.0, MAX_EPOCH)
_AMOUNT = {"exclusiveMinimum": 0.0, "maximum": MAX_AMOUNT}
_SIGNED = _span(-MAX_AMOUNT, MAX_AMOUNT)
_BOUNDS: dict[str, dict[str, dict[str, Any]]] = {
    "MetricsIn": {
        "engine": _NAME,
        "started_at": _TIME,
        **{field: _span(*span) for field, span in SCALAR_RANGES.items()},
    },
    "InfoIn": {"version": _NAME, "quote": _NAME},
    "TradeIn": {
        **dict.fromkeys(("trade_id", "strategy", "symbol", "engine"), _NAME),
        **dict.fromkeys(("qty", "price"), _AMOUNT),
        **dict.fromkeys(("fee_usd", "pnl_usd"), _SIGNED),
        "ts": _TIME,
    },
    "TradesIn": {"trades": {"minItems": 1, "maxItems": MAX_TRADES}},
    "WeightsIn": {"weights": {"minProperties": 1}, "reason": {"maxLength": MAX_REASON}, "as_of": _TIME},
    "BreakerIn": {
        "reason": {"minLength": 1, "maxLength": MAX_REASON},
        "ttl_sec": {"exclusiveMinimum": 0.0, "maximum": MAX_HOLD_SECONDS},
    },
}
"""What the types of a body do not say; each applies to values of its own type, so null stays what it is."""
_MAP_BOUNDS = {
    "MetricsIn": {"breaker": {}, **{field: _span(*span) for field, span in MAP_RANGES.items()}},
    "WeightsIn": {"weights": _span(0.0, 1.0), "scores": {}},
}
"""Of every value of a mapping by name."""
_ARGUMENT_BOUNDS: dict[str, dict[str, Any]] = {
    "engine": _NAME,
    "limit": _span(1, MAX_PAGE),
    "cursor": _span(0, math.inf),
    "before": _span(0, math.inf),
    "wait": _span(0.0, MAX_WAIT_SECONDS),
}


def _bound(components: dict[str, Any]) -> None:
    for name, fields in _BOUNDS.items():
        for field, bounds in fields.items():
            components[name]["properties"][field].update(bounds)
    for name, fields in _MAP_BOUNDS.items():
        for field, bounds in fields.items():
            whole = components[name]["properties"][field]
            for shape in whole.get("anyOf", [whole]):
                if "additionalProperties" in shape:
                    shape["additionalProperties"].update(bounds)
                    shape["propertyNames"] = _NAME


def describe(api: FastAPI) -> dict[str, Any]:
    """The OpenAPI page."""
    if api.openapi_schema:
        return api.openapi_schema
    page = get_openapi(title=api.title, version=api.version, description=api.description, routes=api.routes)
    shapes = list(
        dict.fromkeys(shape for route in ROUTES for shape in (*route.body, route.answer) if shape is not None)
    )
    schemas, components = msgspec.json.schema_components(shapes, ref_template="#/components/schemas/{name}")
    _bound(components)
    by_shape = {str(shape): schema for shape, schema in zip(shapes, schemas, strict=True)}
    page["components"] = {
        "schemas": {**components, "Error": _ERROR},
        "securitySchemes": {
            "bearer": {"type": "http", "scheme": "bearer"},
            "basic": {"type": "http", "scheme": "basic"},
        },
    }
    for route in ROUTES:
        page["paths"][route.path][route.method.lower()] = _operation(route, by_shape)
    page["paths"] |= GATEWAY
    api.openapi_schema = page
    return page


def operation_id(route: Route) -> str:
    """A name for clients that are generated from the page."""
    return f"{route.handler.__module__.rpartition('.')[2]}_{route.handler.__name__}"


def _done(route: Route, by_shape: dict[str, Any]) -> dict[str, Any]:
    if route.answer is None:
        return {"description": "Done.", "content": {"text/plain": {"schema": {"type": "string"}}}}
    content = {"application/json": {"schema": by_shape[str(route.answer)]}}
    if route.answer is Trades:
        content["text/csv"] = {"schema": {"type": "string"}}
    done: dict[str, Any] = {"description": "Done.", "content": content}
    if any(name in ("If-None-Match", "If-Match") for name, _ in route.headers):
        done["headers"] = {"ETag": {"required": True, "schema": {"type": "string"}}}
    return done


def _operation(route: Route, by_shape: dict[str, Any]) -> dict[str, Any]:
    error = {
        "description": "Refused.",
        "content": {"application/json": {"schema": {"$ref": "#/components/schemas/Error"}}},
    }
    operation: dict[str, Any] = {
        "summary": route.summary,
        "operationId": operation_id(route),
        "parameters": [
            *(
                {
                    "name": name,
                    "in": "query",
                    "required": False,
                    "description": text,
                    "schema": {"type": kind, **_ARGUMENT_BOUNDS.get(name, {})},
                }
                for name, kind, text in route.arguments
            ),
            *(
                {
                    "name": name,
                    "in": "header",
                    "required": False,
                    "description": text,
                    "schema": {"type": "string"},
                }
                for name, text in route.headers
            ),
        ],
        "responses": {
            "200": _done(route, by_shape),
            "4XX": error,
            "503": {**error, "description": "Not durable, nothing was applied: retry."},
        },
    }
    if any(name == "If-None-Match" for name, _ in route.headers):
        operation["responses"]["304"] = {"description": "Nothing changed."}
    if "{name}" in route.path:
        operation["parameters"].append(
            {"name": "name", "in": "path", "required": True, "schema": {"type": "string", **_NAME}}
        )
    if route.body:
        shapes = [by_shape[str(shape)] for shape in route.body]
        schema = shapes[0] if len(shapes) == 1 else {"anyOf": shapes}
        operation["requestBody"] = {"required": True, "content": {"application/json": {"schema": schema}}}
    if route.scope is not None:
        operation["security"] = [{"bearer": []}, {"basic": []}, {}]
        operation["description"] = f"Scope: {route.scope}."
    return operation
