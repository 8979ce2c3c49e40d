"""What the OpenAPI page says of a Pushgateway's routes: text answers, and paths of any length.

Pure.  Pushgateway's own README is their reference; docs/migrate-from-pushgateway.md tells where ours differ.
"""

from __future__ import annotations

from typing import Any

from exporter.protobuf import PROTOBUF

__all__ = ["GATEWAY"]

Operation = dict[str, Any]

_TEXT = {"text/plain": {"schema": {"type": "string"}}}
_SECURITY: list[dict[str, list[str]]] = [{"bearer": []}, {"basic": []}, {}]
_REFUSED = {"description": "Refused; the line says why.", "content": _TEXT}
_REDIRECTED = {"description": "The path is not clean: ask at Location.", "content": {"text/html": {}}}
_NOT_DURABLE = {"description": "Not durable, nothing was applied: retry.", "content": _TEXT}


def _segment(name: str, text: str) -> Operation:
    return {
        "name": name,
        "in": "path",
        "required": True,
        "description": text,
        "schema": {"type": "string", "minLength": 1},
    }


_TTL = {
    "name": "X-Group-TTL",
    "in": "header",
    "required": False,
    "description": "Seconds after which the group leaves without a push; 0 is never.",
    "schema": {"type": "string"},
}
_JOB = _segment("job", "The job; `metrics/job@base64/` takes it in URL-safe base64.")
_LABEL = _segment("label", "A label of the grouping key; with @base64 its value is in URL-safe base64.")
_VALUE = _segment("value", "The label's value; more pairs may follow.")


def _answers(status: str, text: str) -> Operation:
    return {status: {"description": text}, "3XX": _REDIRECTED, "4XX": _REFUSED, "503": _NOT_DURABLE}


def _push(method: str, where: str, path: list[Operation]) -> Operation:
    summary = {
        "PUT": "Replace a group of pushed metrics.",
        "POST": "Replace the families of a group that have the names pushed.",
        "DELETE": "Remove a group.",
    }[method]
    operation: Operation = {
        "summary": summary,
        "operationId": f"{method.lower()}_{where}",
        "description": "Scope: push.",
        "parameters": path if method == "DELETE" else [*path, _TTL],
        "responses": _answers("202" if method == "DELETE" else "200", "Done, and durable."),
        "security": _SECURITY,
    }
    if method != "DELETE":
        text = "Text 0.0.4, or varint-delimited protobuf; Content-Encoding gzip or snappy."
        content = {**_TEXT, PROTOBUF: {"schema": {"type": "string", "format": "binary"}}}
        operation["requestBody"] = {"description": text, "required": False, "content": content}
    return operation


def _json(summary: str, name: str, data: Operation) -> Operation:
    schema = {
        "type": "object",
        "required": ["status", "data"],
        "properties": {"status": {"const": "success"}, "data": data},
    }
    done = {"description": "Done.", "content": {"application/json": {"schema": schema}}}
    return {
        "summary": summary,
        "operationId": name,
        "description": "Scope: read.",
        "parameters": [],
        "responses": {"200": done, "4XX": _REFUSED},
        "security": _SECURITY,
    }


def _admin(summary: str, name: str, status: str) -> Operation:
    return {
        "summary": f"{summary} Only with `DECK_ADMIN_API=1`.",
        "operationId": name,
        "description": "Scope: operate.",
        "parameters": [],
        "responses": _answers(status, "Done."),
        "security": _SECURITY,
    }


GATEWAY: dict[str, dict[str, Operation]] = {
    "/metrics/job/{job}": {
        method.lower(): _push(method, "group", [_JOB]) for method in ("PUT", "POST", "DELETE")
    },
    "/metrics/job/{job}/{label}/{value}": {
        method.lower(): _push(method, "labelled_group", [_JOB, _LABEL, _VALUE])
        for method in ("PUT", "POST", "DELETE")
    },
    "/api/v1/metrics": {
        "get": _json(
            "Every group with its families.",
            "gateway_metrics",
            {"type": "array", "items": {"type": "object"}},
        )
    },
    "/api/v1/status": {"get": _json("Build, flags and start time.", "gateway_status", {"type": "object"})},
    "/api/v1/admin/wipe": {"put": _admin("Remove every group.", "gateway_wipe", "202")},
    "/-/quit": {"put": _admin("End the exporter.", "gateway_quit", "200")},
}
