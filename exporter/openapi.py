"""What FastAPI cannot know of our handlers: bodies, arguments and answers, from the route table."""

from __future__ import annotations

from typing import Any

import msgspec
from fastapi import FastAPI
from fastapi.openapi.utils import get_openapi

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


def describe(api: FastAPI) -> dict[str, Any]:
    """The OpenAPI page."""
    if api.openapi_schema:
        return api.openapi_schema
    page = get_openapi(title=api.title, version=api.version, description=api.description, routes=api.routes)
    bodies = list(dict.fromkeys(shape for route in ROUTES for shape in route.body))
    schemas, components = msgspec.json.schema_components(bodies, ref_template="#/components/schemas/{name}")
    by_shape = {str(shape): schema for shape, schema in zip(bodies, schemas, strict=True)}
    page["components"] = {
        "schemas": {**components, "Error": _ERROR},
        "securitySchemes": {
            "bearer": {"type": "http", "scheme": "bearer"},
            "basic": {"type": "http", "scheme": "basic"},
        },
    }
    for route in ROUTES:
        page["paths"][route.path][route.method.lower()] = _operation(route, by_shape)
    api.openapi_schema = page
    return page


def operation_id(route: Route) -> str:
    """A name for clients that are generated from the page."""
    return f"{route.handler.__module__.rpartition('.')[2]}_{route.handler.__name__}"


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
                    "schema": {"type": kind},
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
            "200": {"description": "Done.", "content": {route.content_type: {"schema": {}}}},
            "4XX": error,
            "503": {**error, "description": "Not durable, nothing was applied: retry."},
        },
    }
    if any(name == "If-None-Match" for name, _ in route.headers):
        operation["responses"]["304"] = {"description": "Nothing changed."}
    if "{name}" in route.path:
        operation["parameters"].append(
            {"name": "name", "in": "path", "required": True, "schema": {"type": "string"}}
        )
    if route.body:
        shapes = [by_shape[str(shape)] for shape in route.body]
        schema = shapes[0] if len(shapes) == 1 else {"anyOf": shapes}
        operation["requestBody"] = {"required": True, "content": {"application/json": {"schema": schema}}}
    if route.scope is not None:
        operation["security"] = [{"bearer": []}, {"basic": []}, {}]
        operation["description"] = f"Scope: {route.scope}."
    return operation
