"""Read a Procfile, start its programs in order, start again what ends by itself, end all together.

Procfile runners end the whole stack when one program ends; the demo's point is that the loop survives that,
so the restart policy is ours and small.
"""

from __future__ import annotations

import re
import shlex
import string
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path

from scripts.native import Child, NativeError

LINE = re.compile(r"^(?P<name>[a-z][a-z0-9_-]*):\s*(?P<command>\S.*)$")
MAX_RESTARTS = 5
"""Restarts of one program within RESTART_WINDOW before we stop trying."""
RESTART_WINDOW_SECONDS = 30.0


def parse(text: str, variables: Mapping[str, str]) -> dict[str, list[str]]:
    """Program name to argument list, `$NAME` filled in from `variables`, no shell.

    Raises:
        NativeError: A line that is neither a comment nor `name: command`, or an unknown variable.
    """
    programs: dict[str, list[str]] = {}
    for number, line in enumerate(text.splitlines(), 1):
        if not line.strip() or line.lstrip().startswith("#"):
            continue
        match = LINE.match(line)
        if match is None:
            raise NativeError(f"Procfile line {number}: {line!r}: want `name: command`")
        try:
            words = [string.Template(word).substitute(variables) for word in shlex.split(match["command"])]
        except (KeyError, ValueError) as error:
            raise NativeError(f"Procfile line {number}: variable {error} is not set") from error
        programs[match["name"]] = words
    return programs


@dataclass
class Supervisor:
    """Children by name, in start order."""

    run_dir: Path
    say: Callable[[str], None]
    children: dict[str, Child] = field(default_factory=dict)
    restarts: dict[str, list[float]] = field(default_factory=dict)

    def start(self, name: str, child: Child) -> None:
        """Start one child, wait until it answers, and note its pid in `<run_dir>/pids/<name>`."""
        self.children[name] = child
        child.start()
        self._note_pid(name, child)

    def watch(self) -> None:
        """Start again what has ended by itself.

        Raises:
            NativeError: One program ended MAX_RESTARTS times within the window.
        """
        for name, child in self.children.items():
            if child.alive or child.process is None:
                continue
            now = time.monotonic()
            recent = [t for t in self.restarts.get(name, []) if now - t < RESTART_WINDOW_SECONDS]
            if len(recent) >= MAX_RESTARTS:
                raise NativeError(f"{name} keeps ending; its last lines ({child.log}):\n{child.tail()}")
            self.restarts[name] = [*recent, now]
            self.say(f"{name} ended (exit status {child.process.returncode}); starting it again")
            child.spawn()
            self._note_pid(name, child)

    def stop(self) -> None:
        """End every child, last started first, so that the engine's last pushes find a deck."""
        for child in reversed(self.children.values()):
            child.stop()

    def _note_pid(self, name: str, child: Child) -> None:
        pids = self.run_dir / "pids"
        pids.mkdir(parents=True, exist_ok=True)
        (pids / name).write_text(f"{child.pid}\n")
