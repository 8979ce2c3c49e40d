"""The secrets of a compose stack: created once with random values, never changed by themselves.

Compose mounts a file secret with the mode and owner it has on the host, and the containers run as users this
machine does not know.  So the files are readable by all and the directory is closed to all but its owner: on
the host nobody else gets in, in a container the one file that was mounted can be read.
"""

from __future__ import annotations

import hashlib
import secrets
from pathlib import Path

DIRECTORY_MODE = 0o700
FILE_MODE = 0o444

SCOPES: dict[str, str] = {
    # whose token: what it may do
    "engine": "push,read",
    "allocator": "allocate,read",
    "alerts": "operate",
    "operator": "push,allocate,operate,read",
    "metrics": "read",
}
"""One token each, in `deck_token_<name>`, so that a stolen one can be told and replaced alone."""

TABLE = "deck_tokens"
PASSWORD = "grafana_admin_password"  # noqa: S105 - a file's name
PASSWORDS = (PASSWORD, "postgres_password")
"""The second for docker-compose.scale.yml alone."""


def ensure_secrets(directory: Path) -> list[str]:
    """Create what is missing in `directory`; what is there stays as it is.

    The exporter's table `deck_tokens` holds only hashes.  Lines of it that are not ours (tokens you issued)
    are kept; a token file that was deleted is issued anew and its old line replaced.

    Returns:
        The names of the files that were created or changed.
    """
    directory.mkdir(parents=True, exist_ok=True)
    directory.chmod(DIRECTORY_MODE)
    names = [*PASSWORDS, *(f"deck_token_{who}" for who in SCOPES)]
    changed = [name for name in names if _create(directory / name)]
    table = directory / TABLE
    before = table.read_text() if table.exists() else ""
    after = _table(before, directory)
    if after != before:
        _write(table, after)
        changed.append(TABLE)
    return changed


def _create(path: Path) -> bool:
    if path.exists():
        return False
    _write(path, secrets.token_urlsafe(32) + "\n")
    return True


def _write(path: Path, text: str) -> None:
    fresh = path.with_name(path.name + ".new")
    fresh.write_text(text)
    fresh.chmod(FILE_MODE)
    fresh.replace(path)


def _table(before: str, directory: Path) -> str:
    kept = [line for line in before.splitlines() if line.split()[2:3] not in [[who] for who in SCOPES]]
    ours = []
    for who, scopes in SCOPES.items():
        token = (directory / f"deck_token_{who}").read_text().strip()
        ours.append(f"{hashlib.sha256(token.encode()).hexdigest()} {scopes} {who}")
    return "\n".join([*ours, *kept]) + "\n"
