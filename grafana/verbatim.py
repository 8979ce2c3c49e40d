"""Text that the builder must not touch.

grafana-dashboard-builder expands braces in every string, so `{{strategy}}` would arrive as `{strategy}` and a
matcher with a quantifier would raise.  It leaves values alone that are not strings; `!promql` makes one.
"""

from __future__ import annotations

from dataclasses import dataclass

from grafana_dashboards.gdbyaml import GDBLoader
from yaml.nodes import ScalarNode

from grafana.errors import DashboardError

__all__ = ["Verbatim", "plain"]


@dataclass(frozen=True)
class Verbatim:
    """A scalar tagged `!promql`: a query, a legend, a link, with its braces."""

    text: str


def plain(value: object, where: str) -> str:
    """The text of a string or a tagged string.

    Raises:
        DashboardError: An untagged string has braces left or is no string: it went through expansion.
    """
    if isinstance(value, Verbatim):
        return value.text
    if not isinstance(value, str):
        raise DashboardError(f"{where}: {value!r}: want text")
    if "{" in value or "}" in value:
        raise DashboardError(f"{where}: {value!r} has braces, which the builder eats: tag it !promql")
    return value


def _construct(loader: GDBLoader, node: ScalarNode) -> Verbatim:
    return Verbatim(" ".join(str(loader.construct_scalar(node)).split()))


GDBLoader.add_constructor("!promql", _construct)
