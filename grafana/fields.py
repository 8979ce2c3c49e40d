"""Pure: how a value looks.  Colours have names here, so that green means the same on every dashboard."""

from __future__ import annotations

import difflib
from collections.abc import Collection, Mapping, Sequence
from typing import Any

from grafana.errors import DashboardError
from grafana.verbatim import plain

__all__ = [
    "COLOURS",
    "NO_DATA",
    "cell",
    "checked",
    "colour",
    "links",
    "mappings",
    "merged",
    "overrides",
    "thresholds",
]

NO_DATA = "NO DATA"

COLOURS = {
    "good": "green",
    "watch": "orange",
    "bad": "red",
    "plain": "blue",
    "none": "#6e7681",
}
"""Meaning to colour.  `none` is what a value that is not there wears; it is nowhere else."""

ANYTHING = -1e15
"""Stands for minus infinity, which JSON lacks: below any sum of money or ratio."""

CELLS: dict[str, tuple[str, dict[str, Any]]] = {
    # name: (Grafana 9's displayMode, the cellOptions of 10 and later)
    "gauge": ("gradient-gauge", {"type": "gauge", "mode": "gradient", "valueDisplayMode": "text"}),
    "background": ("color-background-solid", {"type": "color-background", "mode": "basic"}),
    "text": ("color-text", {"type": "color-text"}),
    "auto": ("auto", {"type": "auto"}),
}


def checked(
    where: str, data: object, allowed: Collection[str], required: Collection[str] = ()
) -> dict[str, Any]:
    """`data` as a mapping that holds every required key and none that is not allowed.

    Raises:
        DashboardError: It is no mapping, lacks a key, or has one that nobody reads.
    """
    if not isinstance(data, Mapping):
        raise DashboardError(f"{where}: {data!r}: want a mapping")
    for key in data:
        if key not in allowed:
            close = difflib.get_close_matches(str(key), list(allowed), n=1)
            hint = f"did you mean {close[0]}?" if close else f"want one of {', '.join(sorted(allowed))}"
            raise DashboardError(f"{where}: unknown key {key!r}; {hint}")
    for key in required:
        if data.get(key) is None:
            raise DashboardError(f"{where}: {key} is missing")
    return dict(data)


def merged(where: str, defaults: Mapping[str, Any], given: object) -> dict[str, Any]:
    """`defaults` with the values of `given` on top, level by level; a key without a default is refused."""
    out = dict(defaults)
    for key, value in checked(where, given, defaults).items():
        nested = defaults[key]
        inside = isinstance(nested, Mapping) and nested and isinstance(value, Mapping)
        out[key] = merged(f"{where}.{key}", nested, value) if inside else value
    return out


def colour(where: str, name: object) -> str:
    """The colour of a meaning.

    Raises:
        DashboardError: No such meaning; colours are not chosen panel by panel.
    """
    if not isinstance(name, str) or name not in COLOURS:
        raise DashboardError(f"{where}: colour {name!r}: want one of {', '.join(COLOURS)}")
    return COLOURS[name]


def thresholds(where: str, given: Sequence[Sequence[Any]], *, empty_base: bool) -> dict[str, Any]:
    """Grafana's thresholds from pairs of meaning and lower bound, lowest first; None bounds nothing.

    Grafana paints a value that is not there with the lowest step.  With `empty_base` that step is grey and
    the first given one starts just above it, so that nothing is green by default.
    """
    steps: list[dict[str, Any]] = [{"color": COLOURS["none"], "value": None}] if empty_base else []
    for pair in given:
        if not isinstance(pair, Sequence) or isinstance(pair, str) or len(pair) != 2:
            raise DashboardError(f"{where}: threshold {pair!r}: want [meaning, lower bound]")
        meaning, bound = pair
        if bound is None and steps and (len(steps) > 1 or not empty_base):
            raise DashboardError(f"{where}: threshold {meaning}: only the first may lack a bound")
        value = ANYTHING if bound is None and empty_base else bound
        if value is not None and steps and steps[-1]["value"] is not None and value <= steps[-1]["value"]:
            raise DashboardError(f"{where}: threshold {meaning} at {value}: want bounds that rise")
        steps.append({"color": colour(where, meaning), "value": value})
    if steps and steps[0]["value"] is not None:
        # Grafana needs a step without a bound.
        steps.insert(0, {"color": COLOURS["none"], "value": None})
    return {"mode": "absolute", "steps": steps}


def mappings(where: str, given: Mapping[object, object] | None, *, empty: bool) -> list[dict[str, Any]]:
    """Value mappings; with `empty`, one for "no value" last.

    Grafana takes text for not a number, so that mapping would cover every cell of a column of names.
    """
    out: list[dict[str, Any]] = []
    options: dict[str, Any] = {}
    for index, (value, result) in enumerate((given or {}).items()):
        shown = checked(f"{where}: mapping {value!r}", result, ("text", "color"), ("text",))
        options[str(value)] = {"index": index, "text": plain(shown["text"], where)}
        if "color" in shown:
            options[str(value)]["color"] = colour(where, shown["color"])
    if options:
        out.append({"type": "value", "options": options})
    if empty:
        result = {"color": COLOURS["none"], "index": len(options), "text": NO_DATA}
        out.append({"type": "special", "options": {"match": "null+nan", "result": result}})
    return out


def links(where: str, given: Sequence[object]) -> list[dict[str, Any]]:
    """Data links: to any `url`, or `to` a dashboard, keeping time and data source.

    A link to a dashboard sets the variables of `with` there and passes on those that this dashboard `keep`s.
    """
    out = []
    for link in given:
        data = checked(f"{where}: link", link, ("title", "to", "with", "keep", "url", "new_tab"), ("title",))
        if ("to" in data) == ("url" in data):
            raise DashboardError(f"{where}: link {data['title']!r}: want either to or url")
        if "url" in data:
            url = plain(data["url"], where)
        else:
            own = [f"var-{name}={plain(value, where)}" for name, value in (data.get("with") or {}).items()]
            common = [f"${{{name}:queryparam}}" for name in ["datasource", *(data.get("keep") or [])]]
            url = f"/d/{plain(data['to'], where)}?{'&'.join([*own, *common, '${__url_time_range}'])}"
        out.append(
            {"title": plain(data["title"], where), "url": url, "targetBlank": bool(data.get("new_tab"))}
        )
    return out


def cell(where: str, name: object) -> list[dict[str, Any]]:
    """The two properties that make a table cell look the same in Grafana 9 and in 10 and later."""
    if not isinstance(name, str) or name not in CELLS:
        raise DashboardError(f"{where}: cell {name!r}: want one of {', '.join(CELLS)}")
    mode, options = CELLS[name]
    return [{"id": "custom.displayMode", "value": mode}, {"id": "custom.cellOptions", "value": dict(options)}]


_MATCHERS = {"field": "byName", "regex": "byRegexp", "query": "byFrameRefID"}
_PLAIN_PROPERTIES = {
    "unit": "unit",
    "decimals": "decimals",
    "min": "min",
    "max": "max",
    "name": "displayName",
}
_OVERRIDE_KEYS = frozenset(
    {*_MATCHERS, *_PLAIN_PROPERTIES, "thresholds", "map", "color", "links", "cell", "custom", "no_value"}
)


def overrides(where: str, given: Sequence[object], *, empty_base: bool) -> list[dict[str, Any]]:
    """Field overrides: one matcher (`field`, `regex` or `query`) and what differs there."""
    out = []
    for override in given:
        data = checked(f"{where}: override", override, _OVERRIDE_KEYS)
        matchers = [key for key in _MATCHERS if key in data]
        if len(matchers) != 1:
            raise DashboardError(f"{where}: override {data!r}: want one of {', '.join(_MATCHERS)}")
        target = plain(data[matchers[0]], where)
        here = f"{where}: override of {target}"
        properties = [
            {"id": property_id, "value": data[key]}
            for key, property_id in _PLAIN_PROPERTIES.items()
            if key in data
        ]
        if "no_value" in data:
            properties.append({"id": "noValue", "value": plain(data["no_value"], here)})
        if "thresholds" in data:
            properties.append(
                {"id": "thresholds", "value": thresholds(here, data["thresholds"], empty_base=empty_base)}
            )
        if "map" in data:
            # An empty map is for a column of numbers: it says NO DATA for what is none, and nothing else.
            shown = mappings(here, data["map"], empty=not data["map"])
            properties.append({"id": "mappings", "value": shown})
        if "color" in data:
            properties.append({"id": "color", "value": color_mode(here, data["color"])})
        if "links" in data:
            properties.append({"id": "links", "value": links(here, data["links"])})
        if "cell" in data:
            properties.extend(cell(here, data["cell"]))
        properties.extend(
            {"id": f"custom.{key}", "value": value} for key, value in (data.get("custom") or {}).items()
        )
        out.append({"matcher": {"id": _MATCHERS[matchers[0]], "options": target}, "properties": properties})
    return out


def color_mode(where: str, name: object) -> dict[str, Any]:
    """`palette` (a colour a series), `thresholds` (by value), or a meaning of COLOURS for all of it."""
    if name == "palette":
        return {"mode": "palette-classic"}
    if name == "thresholds":
        return {"mode": "thresholds"}
    return {"mode": "fixed", "fixedColor": colour(where, name)}
