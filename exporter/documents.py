"""Records ↔ the JSON the store keeps of them, and what is said when either cannot be.

Pure.
"""

from __future__ import annotations

from typing import TypeVar

import msgspec

from exporter.errors import StoreRefused, Unstorable

__all__ = ["read_document", "write_document"]

_T = TypeVar("_T")


def write_document(doc: object) -> str:
    """A record as JSON that reads back.

    Raises:
        Unstorable: A number of it is NaN or infinite: JSON would say null, and no start could load it.
    """
    text = msgspec.json.encode(doc)
    if b"null" in text:
        try:
            msgspec.json.decode(text, type=type(doc))
        except msgspec.ValidationError as error:
            raise Unstorable(f"{type(doc).__name__} has a number that is not finite: {error}") from None
    return text.decode()


def read_document(kind: str, key: str, text: str, shape: type[_T]) -> _T:
    """The record a row holds.

    Raises:
        StoreRefused: The row is not what this version, or any, writes.
    """
    try:
        return msgspec.json.decode(text, type=shape)
    except msgspec.MsgspecError as error:
        raise StoreRefused(
            f"the {kind} document {key} cannot be read: {error}: the store was not touched; "
            "go back to a backup, or mend the row"
        ) from None
