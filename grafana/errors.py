"""What goes wrong in a dashboard's source.

DashboardError   a key, colour, span or expression in the YAML is wrong: mend the file it names
"""

from __future__ import annotations

__all__ = ["DashboardError"]


class DashboardError(ValueError):
    """The YAML asks for what would not show as meant; the message names the place and the choices."""
