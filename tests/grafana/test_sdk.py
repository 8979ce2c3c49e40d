"""The JSON is what Grafana's own generated types describe: nothing lost, no wrong type, no unknown enum."""

from __future__ import annotations

import enum
import json
import types
import typing
import warnings
from typing import Any

import pytest

from tests.grafana import boards

with warnings.catch_warnings():
    # The SDK prefers a newer schema, which Grafana 9 to 11 cannot read.
    warnings.simplefilter("ignore", DeprecationWarning)
    from grafana_foundation_sdk.cog import plugins
    from grafana_foundation_sdk.cog.encoder import JSONEncoder
    from grafana_foundation_sdk.models import dashboard as sdk

LOST_ON_PURPOSE = {"options.tooltip.show"}
"""Grafana 9 reads it on heatmaps; the SDK describes later ones."""


@pytest.fixture(scope="module", autouse=True)
def _plugins():
    plugins.register_default_plugins()


def decoded(board: dict[str, Any]) -> Any:
    return sdk.Dashboard.from_json(json.loads(json.dumps(board)))


def lost(given: Any, back: Any, path: str = "") -> list[str]:
    """Paths of `given` that are missing or different in `back`."""
    if isinstance(given, dict) and isinstance(back, dict):
        found = [f"{path}.{key}".lstrip(".") for key in given if key not in back]
        for key in given.keys() & back.keys():
            found += lost(given[key], back[key], f"{path}.{key}".lstrip("."))
        return found
    if isinstance(given, list) and isinstance(back, list) and len(given) == len(back):
        pairs = enumerate(zip(given, back, strict=True))
        return [one for index, (a, b) in pairs for one in lost(a, b, f"{path}[{index}]")]
    return [] if given == back else [f"{path}: {given!r} became {back!r}"]


def fits(value: Any, hint: Any) -> bool:
    """Whether a decoded value is of its declared type; an enum must hold one of its members."""
    origin = typing.get_origin(hint)
    if hint is Any or hint is object:
        return True
    if isinstance(hint, str | typing.ForwardRef | typing.TypeVar):
        return True
    if origin in (typing.Union, types.UnionType):
        return any(fits(value, option) for option in typing.get_args(hint))
    if origin is typing.Literal:
        return value in typing.get_args(hint)
    if origin is list:
        return isinstance(value, list) and all(fits(one, typing.get_args(hint)[0]) for one in value)
    if origin is dict:
        return isinstance(value, dict)
    if hint is type(None):
        return value is None
    if isinstance(hint, type) and issubclass(hint, enum.Enum):
        return value in [member.value for member in hint]
    if hint is sdk.DataTransformerConfig:
        # The SDK hands transformations through as they came.
        return isinstance(value, dict) and isinstance(value["id"], str) and isinstance(value["options"], dict)
    if hint is float:
        return isinstance(value, int | float) and not isinstance(value, bool)
    if hint is int:
        return isinstance(value, int) and not isinstance(value, bool)
    return isinstance(value, hint)


def misfits(value: Any, path: str = "dashboard") -> list[str]:
    """Attributes below `value` that are not of their declared type."""
    found: list[str] = []
    if isinstance(value, list):
        for index, one in enumerate(value):
            found += misfits(one, f"{path}[{index}]")
    elif type(value).__module__.startswith("grafana_foundation_sdk"):
        if isinstance(value, enum.Enum):
            return found
        hints = typing.get_type_hints(type(value))
        for name, one in vars(value).items():
            if name in hints and not fits(one, hints[name]):
                found.append(f"{path}.{name}: {one!r}: want {hints[name]}")
            found += misfits(one, f"{path}.{name}")
    return found


@pytest.mark.parametrize("uid", boards.UIDS)
def test_decoding_and_encoding_loses_nothing(uid):
    """A key that Grafana's types do not know, anywhere in a dashboard, is found here."""
    board = boards.dashboard(uid)
    back = json.loads(JSONEncoder().encode(decoded(board)))
    paths = [path for path in lost(board, back) if not any(path.endswith(known) for known in LOST_ON_PURPOSE)]
    assert paths == []


@pytest.mark.parametrize("uid", boards.UIDS)
def test_every_value_has_its_declared_type(uid):
    """Enums hold their members and numbers are numbers, all the way down."""
    assert misfits(decoded(boards.dashboard(uid))) == []


def test_the_walk_finds_a_key_that_grafana_ignores():
    """The round trip notices a typo deep inside a panel."""
    board = boards.dashboard("allocator")
    board["panels"][0]["options"]["colourMode"] = "value"
    back = json.loads(JSONEncoder().encode(decoded(board)))
    assert "panels[0].options.colourMode" in lost(board, back)


def test_the_walk_finds_a_wrong_enum():
    """The type walk notices a value that is no member of its enum."""
    board = boards.dashboard("allocator")
    board["panels"][0]["options"]["colorMode"] = "loud"
    assert any("color_mode: 'loud'" in found for found in misfits(decoded(board)))
