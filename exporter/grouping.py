"""URL path ↔ grouping key.

Pure.  The rules are Pushgateway's: the path is percent-decoded before it is split, so a value with a slash
needs `@base64`; a label may be given twice and the last one wins; the job of the path cannot be overridden.
"""

from __future__ import annotations

import base64
import binascii
import json
import re
from dataclasses import dataclass
from urllib.parse import unquote_to_bytes

from exporter.errors import Malformed
from exporter.golang import go_quote

__all__ = ["MAX_GROUP_BYTES", "GroupKey", "group_key", "parse_labels"]

MAX_GROUP_BYTES = 2000
"""Of a group's id in UTF-8 (JC): PostgreSQL's index takes 2,704 at most."""

_LABEL_NAME = re.compile(r"[a-zA-Z_][a-zA-Z0-9_]*\Z")
_SUFFIX = "@base64"
_BASE64URL = re.compile(r"[A-Za-z0-9_-]*\Z")


@dataclass(frozen=True, slots=True)
class GroupKey:
    """The labels every series of a group carries.

    Attributes:
        labels: Name to value, sorted by name; always holds `job`.
        id: The same as text, unique per key; names the group in the store.
        hollow: A label is empty, which to Prometheus is no label at all.
    """

    labels: tuple[tuple[str, str], ...]
    id: str
    hollow: bool

    @property
    def bare(self) -> str:
        """The id without empty labels: two groups that share it would be one in the exposition."""
        return group_key({name: value for name, value in self.labels if value}).id

    def __hash__(self) -> int:
        return hash(self.id)


def group_key(labels: dict[str, str]) -> GroupKey:
    """The key of these labels."""
    pairs = tuple(sorted(labels.items()))
    return GroupKey(
        pairs, json.dumps(pairs, ensure_ascii=False, separators=(",", ":")), "" in labels.values()
    )


def parse_labels(
    path: bytes, *, utf8_names: bool = False, limit: int | None = MAX_GROUP_BYTES
) -> dict[str, str]:
    """Grouping labels of the part of a raw URL path behind `/metrics/`: `job/J/label/value…`.

    `limit` bounds the id of their key in bytes; None is for a group that may be there already.

    Raises:
        Malformed: With the line Pushgateway answers.
    """
    decoded = unquote_to_bytes(path)
    try:
        text = decoded.decode("utf-8")
    except UnicodeDecodeError:
        raise Malformed(
            f"path {path.decode('ascii', 'replace')!r} is not UTF-8: want percent-encoded UTF-8"
        ) from None
    head, _, rest = text.partition("/")
    job, slash, labels_text = rest.partition("/")
    if head == "job" + _SUFFIX:
        job = _decode(job, f"invalid base64 encoding in job name {go_quote(job)}")
    labels = _split(slash + labels_text, utf8_names=utf8_names) if labels_text else {}
    if not job:
        raise Malformed("job name is required")
    labels["job"] = job
    size = len(group_key(labels).id.encode())
    if limit is not None and size > limit:
        raise Malformed(f"grouping key of {size} bytes, counted as JSON: want at most {limit}")
    return labels


def _split(text: str, *, utf8_names: bool) -> dict[str, str]:
    parts = text[1:].split("/")
    if len(parts) % 2:
        raise Malformed(f"odd number of components in label string {go_quote(text)}")
    labels: dict[str, str] = {}
    for name, value in zip(parts[::2], parts[1::2], strict=True):
        bare = name.removesuffix(_SUFFIX)
        plain = unescape_name(bare) if utf8_names else bare
        if bare.startswith("__") or not (plain if utf8_names else _LABEL_NAME.match(plain)):
            raise Malformed(f"improper label name {go_quote(bare)}")
        labels[plain] = (
            value
            if bare == name
            else _decode(value, f"invalid base64 encoding for label {bare}={go_quote(value)}")
        )
    return labels


def unescape_name(name: str) -> str:
    """Undo `U__` escaping: `_XX_` is a code point in hex, `__` an underscore; else it stays as it is."""
    if not name.startswith("U__"):
        return name
    out: list[str] = []
    body, at = name[3:], 0
    while at < len(body):
        if body[at] != "_":
            out.append(body[at])
            at += 1
        elif body[at + 1 : at + 2] == "_":
            out.append("_")
            at += 2
        else:
            end = body.find("_", at + 1)
            code = body[at + 1 : end] if end > 0 else ""
            if not re.fullmatch(r"[0-9A-Fa-f]{1,6}", code) or not _is_scalar(int(code, 16)):
                return name
            out.append(chr(int(code, 16)))
            at = end + 1
    return "".join(out)


def _is_scalar(point: int) -> bool:
    return point <= 0x10FFFF and not 0xD800 <= point <= 0xDFFF


def _decode(text: str, complaint: str) -> str:
    bare = text.rstrip("=").replace("\r", "").replace("\n", "")
    if not _BASE64URL.match(bare) or len(bare) % 4 == 1:
        bad = next((i for i, c in enumerate(bare) if not _BASE64URL.match(c)), max(len(bare) - 1, 0))
        raise Malformed(f"{complaint}: illegal base64 data at input byte {bad}")
    try:
        return base64.urlsafe_b64decode(bare + "=" * (-len(bare) % 4)).decode("utf-8")
    except (binascii.Error, UnicodeDecodeError):
        raise Malformed(f"{complaint}: want base64 of UTF-8 text") from None
