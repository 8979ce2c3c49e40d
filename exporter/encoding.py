"""Content-Encoding of pushed bodies: gzip and framed snappy, never beyond the limit on a body.

Pure.  Error lines are those of the reference's decoders.
"""

from __future__ import annotations

import zlib

import cramjam

from exporter.errors import Invalid, Malformed, TooLarge

__all__ = ["decode_body", "decode_json_body"]


_PIECE = 4096
"""Bytes of a gzip body that are handed over at a time."""


def decode_body(body: bytes, encoding: bytes | None, limit: int) -> bytes:
    """The body as it was before it was encoded; an encoding nobody knows is taken for none.

    Raises:
        Malformed: The body is not in its encoding, or ends too early.
        TooLarge: It has more than `limit` bytes when decoded.
    """
    name = (encoding or b"").strip().lower()
    if name == b"gzip":
        decoded = _gunzip(body, limit)
    elif name == b"snappy":
        decoded = _unsnap(body)
    else:
        return body
    if len(decoded) > limit:
        raise TooLarge(f"the body has more than {limit} bytes when decoded: DECK_MAX_BODY_BYTES is {limit}")
    return decoded


def decode_json_body(body: bytes, encoding: bytes, limit: int) -> bytes:
    """The body as it was before it was encoded; one in an encoding nobody here knows would not be JSON.

    Raises:
        Invalid: The encoding is not known.
        Malformed: The body is not in its encoding, or ends too early.
        TooLarge: It has more than `limit` bytes when decoded.
    """
    name = encoding.strip().lower()
    if name not in (b"", b"identity", b"gzip", b"snappy"):
        shown = encoding[:40].decode("latin-1")
        raise Invalid(f"Content-Encoding is {shown!r}: want gzip, snappy or none", "Content-Encoding")
    return decode_body(body, name, limit)


def _gunzip(body: bytes, limit: int) -> bytes:
    if not body:
        raise Malformed("EOF")
    parts: list[bytes] = []
    view, at, room = memoryview(body), 0, limit + 1
    while at < len(body) and room > 0:
        member = zlib.decompressobj(wbits=31)
        while not member.eof and room > 0:
            if at == len(body):
                raise Malformed("unexpected EOF")
            # The decoder copies what lies behind its member: given all, it would copy all for each of them.
            piece = view[at : at + _PIECE]
            try:
                parts.append(member.decompress(piece, room))
            except zlib.error as error:
                raise Malformed(_gzip_line(str(error))) from None
            room -= len(parts[-1])
            at += len(piece) - len(member.unused_data)
    return b"".join(parts)


def _gzip_line(text: str) -> str:
    if "header" in text:
        return "gzip: invalid header"
    if "check" in text:
        return "gzip: invalid checksum"
    return f"flate: corrupt input: {text}"


def _unsnap(body: bytes) -> bytes:
    if not body:
        return b""
    try:
        return bytes(cramjam.snappy.decompress(body))
    except cramjam.DecompressionError as error:
        line = "unexpected EOF" if "fill" in str(error) else "snappy: corrupt input"
        raise Malformed(line) from None
