"""JSON into typed values, and what is wrong with it where it does not fit.

Pure.  msgspec reads fast and says little: a path without the keys of mappings, nothing of what came, no path
for NaN.  What it leaves out is looked for here, and only once a request is refused.  Of a key that is there
twice it takes the last; which of the two was meant nobody knows, so that is refused too.
"""

from __future__ import annotations

import json
import math
import re
from collections.abc import Callable
from typing import Any, TypeVar

import msgspec
from msgspec import inspect as shapes

from exporter.errors import CallerError, Invalid, Malformed

__all__ = ["reader"]

_T = TypeVar("_T")
_PATH = re.compile(r" - at `\$(.*)`$", re.DOTALL)
_FIELD = re.compile(r"(unknown|missing required) field `(.*?)`(?: - at `|$)", re.DOTALL)
_EXPECTED = re.compile(r"Expected `(.*?)`")
_NO_CHOICE = re.compile(r"Invalid enum value ")
_TOO_LARGE = re.compile(r"Number out of range")
_STEP = re.compile(r"\[\.\.\.\]|\[\d+\]|\.?[^.\[]+")
_WORDS = {
    "float": "a number",
    "int": "a whole number",
    "str": "text",
    "bool": "true or false",
    "array": "a list",
    "object": "an object",
}
_SURROGATE = re.compile(rb"\\u[dD][89a-fA-F][0-9a-fA-F]{2}")
_SHOWN = 60
"""Characters of a wrong value that an answer repeats."""

Path = tuple[str | int, ...]


def reader(shape: type[_T], root: str = "", *, part: bool = False) -> Callable[[bytes], _T]:
    """A function that reads JSON of this shape.

    Args:
        shape: What msgspec can decode into.
        root: What the top of the document is called in the path of a field.
        part: It is a first look, another reader takes the whole: leave keys that are there twice to that.

    Returns:
        Body to value; it raises Malformed for what is not JSON and Invalid for what does not fit.
    """
    decoder = msgspec.json.Decoder(shape)

    def read(body: bytes) -> _T:
        try:
            found = decoder.decode(body)
            if not part:
                _refuse_twice(body, root)
        except msgspec.ValidationError as error:
            raise _invalid(str(error), body, decoder, root) from None
        except msgspec.DecodeError as error:
            raise _no_json(str(error), body, root) from None
        except UnicodeDecodeError as error:
            raise Malformed(f"the body is not UTF-8: {error}") from None
        except RecursionError:
            raise Malformed("the body is not JSON: it is nested too deeply") from None
        return found

    return read


def _no_json(text: str, body: bytes, root: str) -> CallerError:
    try:
        known = _not_finite(_loaded(body), root)
        half = _SURROGATE.search(body)
        if known is None and half is not None:
            # The reader waits for the other half and then says that the end is missing.
            text = f"{half[0].decode()} is half of a character"
        return known or Malformed(f"the body is not JSON: {text}")
    except _NotJsonError:
        return Malformed(f"the body is not JSON: {text}")


class _TwiceError(Exception):
    """A key of an object is there twice."""


class _Twice(str):
    """Stands where an object was that has this key twice."""

    __slots__ = ()


def _once(pairs: list[tuple[str, Any]]) -> None:
    if len(dict(pairs)) != len(pairs):
        raise _TwiceError


def _marked(pairs: list[tuple[str, Any]]) -> dict[str, Any] | _Twice:
    found: dict[str, Any] = {}
    for key, value in pairs:
        if key in found:
            return _Twice(key)
        found[key] = value
    return found


def _decode(hook: Callable[[list[tuple[str, Any]]], Any]) -> Callable[[str], Any]:
    # Numbers stay as they came: Python refuses to read the longest, and nothing is done with them.
    return json.JSONDecoder(object_pairs_hook=hook, parse_int=str, parse_float=str, strict=False).decode


_check_once, _read_marked = _decode(_once), _decode(_marked)


def _refuse_twice(body: bytes, root: str) -> None:
    text = body.decode()
    try:
        _check_once(text)
    except _TwiceError:
        path = _find_twice(_read_marked(text), ()) or ()
        field = _spelt(list(path), root)
        raise Invalid(f"{field} is there twice: want it once", field) from None


def _find_twice(value: Any, at: Path) -> Path | None:
    if isinstance(value, _Twice):
        return (*at, str(value))
    items = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    for key, inner in items:
        found = _find_twice(inner, (*at, key))
        if found is not None:
            return found
    return None


def _invalid(text: str, body: bytes, decoder: msgspec.json.Decoder[Any], root: str) -> CallerError:
    where = _PATH.search(text)
    steps = _STEP.findall(where[1]) if where else []
    path: list[str | int] = []
    try:
        document = _loaded(body)
    except _NotJsonError as error:
        return Malformed(f"the body is not JSON: {error}")
    code = "out_of_range" if "out of range" in text else "invalid"
    if code == "out_of_range":
        infinite = _not_finite(document, root)
        if infinite is not None:
            return infinite
    value = document
    for step in steps:
        key: str | int = int(step[1:-1]) if step[0] == "[" and step != "[...]" else step.removeprefix(".")
        if step == "[...]":
            found = _culprit(document, path, decoder, text) if isinstance(value, dict) else None
            if found is None:
                value = _ABSENT
                break
            key = found
        path.append(key)
        try:
            value = value[key]
        except (KeyError, IndexError, TypeError):
            value = _ABSENT
    shown = _spelt(path, root)
    named = _FIELD.search(text)
    if named:
        full = _spelt([*path, named[2]], root)
        if named[1] == "unknown":
            return Invalid(f"{full} is no field here: want {_fields(decoder.type, path)}", full, code)
        return Invalid(f"{full} is missing: want {_wanted(decoder.type, [*path, named[2]])}", full, code)
    detail = text if where is None else text[: where.start()]
    wanted = _EXPECTED.match(detail)
    if _TOO_LARGE.match(detail):
        detail = f"{shown or 'the body'} is larger than any number here: want a finite number"
    elif _NO_CHOICE.match(detail) and value is not _ABSENT:
        detail = f"{shown} is {_short(value)}: want {_wanted(decoder.type, path)}"
    elif wanted and value is not _ABSENT:
        detail = f"{shown or 'the body'} is {_short(value)}: want {_words(wanted[1])}"
    elif shown:
        detail = f"{shown}: {detail}"
    return Invalid(detail, shown or None, code)


_ABSENT: Any = object()


def _shapes_at(shape: Any, path: list[str | int]) -> list[Any]:
    """What may stand at `path`, as msgspec describes it; null apart, for nobody needs to send that."""
    found = _choices(shapes.type_info(shape))
    for key in path:
        below: list[Any] = []
        for info in found:
            if isinstance(info, shapes.StructType):
                below += [field.type for field in info.fields if field.encode_name == key]
            elif isinstance(info, shapes.DictType):
                below.append(info.value_type)
            elif isinstance(info, shapes.ListType):
                below.append(info.item_type)
        found = [choice for info in below for choice in _choices(info)]
    return found


def _choices(info: Any) -> list[Any]:
    found = info.types if isinstance(info, shapes.UnionType) else (info,)
    return [choice for choice in found if not isinstance(choice, shapes.NoneType)]


def _fields(shape: Any, path: list[str | int]) -> str:
    """The names of an object's fields."""
    return ", ".join(
        field.encode_name
        for info in _shapes_at(shape, path)
        if isinstance(info, shapes.StructType)
        for field in info.fields
    )


def _wanted(shape: Any, path: list[str | int]) -> str:
    """What may stand at `path`, in words."""
    words: list[str] = []
    for info in _shapes_at(shape, path):
        if isinstance(info, shapes.LiteralType):
            words += map(str, info.values)
        else:
            words.append(_SHAPE_WORDS.get(type(info), "an object"))
    return " or ".join(words)


_SHAPE_WORDS: dict[type, str] = {
    shapes.FloatType: "a number",
    shapes.StrType: "text",
    shapes.BoolType: "true or false",
    shapes.ListType: "a list",
}


def _culprit(document: Any, at: list[str | int], decoder: msgspec.json.Decoder[Any], text: str) -> str | None:
    """The key of the mapping at `at` whose value the decoder refuses, found by halving the mapping."""
    parent = document
    for key in at:
        mapping, parent = parent, parent[key]
    whole: dict[str, Any] = parent
    keys = list(whole)

    def refused(part: list[str]) -> bool:
        mapping[at[-1]] = {key: whole[key] for key in part}
        try:
            decoder.decode(msgspec.json.encode(document))
        except msgspec.ValidationError as error:
            return str(error) == text
        finally:
            mapping[at[-1]] = whole
        return False

    if not at or not refused(keys):
        return None
    while len(keys) > 1:
        half = keys[: len(keys) // 2]
        keys = half if refused(half) else keys[len(half) :]
    return keys[0]


def _not_finite(document: Any, root: str) -> Invalid | None:
    """Where NaN or an infinity stands, which Python writes and JSON does not have."""
    path = _find(document, ())
    if path is None:
        return None
    value = document
    for key in path:
        value = value[key]
    shown = _spelt(list(path), root)
    name = "NaN" if math.isnan(value) else "Infinity" if value > 0 else "-Infinity"
    return Invalid(f"{shown or 'the body'} is {name}: want a finite number", shown or None, "out_of_range")


class _NotJsonError(ValueError):
    """Not even Python's reader, which takes NaN, can make something of it."""


def _loaded(body: bytes) -> Any:
    try:
        return json.loads(body)
    except RecursionError:
        raise _NotJsonError("it is nested too deeply") from None
    except (json.JSONDecodeError, UnicodeDecodeError) as error:
        raise _NotJsonError(str(error)) from None
    except ValueError:  # a number with more digits than Python reads
        return _ABSENT


def _find(value: Any, at: Path) -> Path | None:
    if isinstance(value, float):
        return None if math.isfinite(value) else at
    items = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    for key, inner in items:
        found = _find(inner, (*at, key))
        if found is not None:
            return found
    return None


def _spelt(path: list[str | int], root: str) -> str:
    text = root
    for key in path:
        text += f"[{key}]" if isinstance(key, int) else f".{key}" if text else key
    return text


def _short(value: Any) -> str:
    if isinstance(value, dict):
        return "an object"
    if isinstance(value, list):
        return "a list"
    text = json.dumps(value, ensure_ascii=False)
    return text if len(text) <= _SHOWN else text[:_SHOWN] + "…"


def _words(types: str) -> str:
    return " or ".join(_WORDS.get(name, name) for name in types.split(" | "))
