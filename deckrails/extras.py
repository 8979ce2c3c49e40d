"""What a program says that was installed without the extra it needs: a line, where Python has a traceback."""

from __future__ import annotations

import sys
from typing import NoReturn

__all__ = ["refuse_without"]

_OURS = ("allocator", "deckrails", "exporter", "riskrails")


def refuse_without(extra: str, program: str, error: ModuleNotFoundError) -> NoReturn:
    """End with status 2 and one line that names the extra.

    Raises:
        ModuleNotFoundError: `error` itself, where a module of ours is missing: no extra brings that.
    """
    module = (error.name or "").partition(".")[0]
    if module in _OURS:
        raise error
    sys.stderr.write(
        f"{program}: {module or error} is not installed: want Deckrails with its extra {extra}, "
        f"in a checkout pip install '.[{extra}]'\n"
    )
    sys.exit(2)
