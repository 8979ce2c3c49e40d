"""What a Pushgateway's two routers answer to a path that is not quite one of theirs.

Pure.  The outer one redirects empty and dot segments away; the inner one decodes the path, redirects a
trailing slash and names in other capitals where the method has such a route, and knows no others.
"""

from __future__ import annotations

import posixpath
import re
from urllib.parse import quote, unquote_to_bytes

from exporter.errors import NotFound
from exporter.http import PLAIN, Reply, plain_error

__all__ = ["BAD_ESCAPE", "PUSH_PATHS", "PUSH_PREFIXES", "answer_unclean", "routed"]

PUSH_PATHS = ("/metrics/job/", "/metrics/job@base64/")
PUSH_PREFIXES = tuple(path.encode() for path in PUSH_PATHS)
BAD_ESCAPE = re.compile(rb"%(?![0-9A-Fa-f]{2})")
"""A percent sign of a path that begins no byte."""
_PUSH = re.compile(r"/metrics/job(@base64)?/(.*)", re.IGNORECASE | re.DOTALL)
_PUSH_METHODS = ("PUT", "POST", "DELETE")
_ROUTES = {
    "GET": ("/metrics", "/-/healthy", "/-/ready", "/-/quit", "/status"),
    "PUT": ("/-/quit",),
    "POST": ("/-/quit",),
}
_API = "/api/v1"
_API_ROUTES = {"GET": ("/status", "/metrics"), "PUT": ("/admin/wipe",)}
_NO_SLASH = {f"{path}/" for path in _ROUTES["GET"] if path != "/status"}
_SAFE = "/$&+,:;=@~"
"""Left as they are in a path by Go, as letters, digits and `_.-` are."""


def routed(path: bytes) -> bytes:
    """A raw path as it is routed: escapes in front of the job count as the letters they stand for."""
    if b"%" not in path or path.startswith(PUSH_PREFIXES):
        return path
    decoded = unquote_to_bytes(path)
    return quote(decoded, safe=_SAFE).encode() if decoded.startswith(PUSH_PREFIXES) else path


def answer_unclean(method: str, path: bytes, query: bytes, *, admin_api: bool) -> Reply | None:
    """The redirect or refusal for a raw path that is not clean; None for one that is to be routed."""
    if BAD_ESCAPE.search(path):
        return Reply(400, b"400 Bad Request", PLAIN)
    text = path.decode("ascii", "replace")
    if method != "CONNECT" and (b"//" in path or b"/." in path):
        cleaned = _clean(text)
        if cleaned != text:
            return _redirect(301, cleaned, query)
    if text == _API:
        return _redirect(301, f"{_API}/", query)
    decoded = unquote_to_bytes(path).decode("utf-8", "replace")
    if decoded.startswith(f"{_API}/"):
        target = None
        if method != "PUT" or admin_api:
            target = _nearly(method, decoded.removeprefix(_API), _API_ROUTES)
    else:
        target = _nearly_ours(method, decoded)
    if target is not None:
        return _redirect(301 if method == "GET" else 307, quote(target, safe=_SAFE), query)
    if decoded in _NO_SLASH or decoded in PUSH_PATHS:
        return plain_error(NotFound("404 page not found"))
    return None


def _nearly_ours(method: str, decoded: str) -> str | None:
    if decoded == "/metrics/job/":
        return "/metrics/job" if method in _PUSH_METHODS else None
    if method in _PUSH_METHODS and not decoded.startswith(PUSH_PATHS):
        found = _PUSH.fullmatch(_clean(decoded))
        if found and found[2]:
            return f"/metrics/job{(found[1] or '').lower()}/{found[2]}"
    return _nearly(method, decoded, _ROUTES)


def _nearly(method: str, decoded: str, routes: dict[str, tuple[str, ...]]) -> str | None:
    known = routes.get(method, ())
    if decoded in known:
        return None
    fixed = _clean(decoded).removesuffix("/").lower()
    return fixed if fixed in known else None


def _clean(text: str) -> str:
    cleaned = posixpath.normpath("/" + text.lstrip("/"))
    return f"{cleaned}/" if text.endswith("/") and cleaned != "/" else cleaned


def _redirect(status: int, path: str, query: bytes) -> Reply:
    return Reply(status, headers=[(b"location", path.encode() + (b"?" + query if query else b""))])
