"""`make up` and `make down`: the compose stack, from an empty checkout to healthy.

`up` creates missing secrets, renders what must be rendered, starts, waits and prints the URLs.  `down` stops
the stack; the volumes, and so all data, stay.
"""

from __future__ import annotations

import argparse
import io
import os
import sys
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path

from deckrails.dotenv import DotenvError, read_environment
from scripts.compose import ComposeError, Stack, find_compose
from scripts.compose_files import READ_BY, render_for_compose
from scripts.deck_secrets import PASSWORD, ensure_secrets
from scripts.native import ROOT, port_in_use
from scripts.receivers import ReceiverError

HEALTHY_WITHIN_SECONDS = 420.0
"""Above the longest start period in docker-compose.yml, Prometheus's 300 s."""

PAGES = {
    # what: (setting of its port, its default, path)
    "Grafana": ("GRAFANA_PORT", "3000", "/"),
    "Prometheus": ("PROMETHEUS_PORT", "9090", "/"),
    "Alertmanager": ("ALERTMANAGER_PORT", "9093", "/"),
    "exporter": ("DECK_PORT", "8002", "/docs"),
    "allocator": ("ALLOCATOR_PORT", "8003", "/metrics"),
}


READ_IN_CONTAINERS = (
    # mounted into Grafana, or copied into an image with the mode they have here
    *("grafana/json", "grafana/provisioning"),
    *("allocator", "deckrails", "deploy", "examples", "exporter", "riskrails"),
)


def let_containers_read(root: Path, names: Iterable[str] = READ_IN_CONTAINERS) -> None:
    """Open `names` below `root` to reading: a checkout made under umask 077 is closed to a container's user.

    The checkout itself may stay closed: a container sees no directory above.
    """
    for name in names:
        for path in [root / name, *(root / name).rglob("*")]:
            mode = path.stat().st_mode
            wanted = mode | (0o555 if path.is_dir() or mode & 0o100 else 0o444)
            if wanted != mode:
                path.chmod(wanted)


def directory_of(settings: Mapping[str, str], name: str, default: str) -> Path:
    """A directory that `.env` may move, relative to the checkout."""
    return (ROOT / settings.get(name, default)).resolve()


def taken_ports(stack: Stack, settings: Mapping[str, str]) -> list[str]:
    """A line for each port of ours that another program holds, with the setting that moves it."""
    if not os.environ.get("DOCKER_HOST", "unix:").startswith("unix:"):
        return []  # the ports are another machine's
    ours = {port for state in stack.states() for port in state.ports}
    lines = []
    for name, default, _ in PAGES.values():
        port = settings.get(name, default)
        if port.isdecimal() and int(port) not in ours and port_in_use(int(port)):
            lines.append(f"another program listens on port {port}: stop it, or set {name} in .env")
    return lines


def up(stack: Stack, settings: Mapping[str, str], *, build: bool) -> None:
    """Start the stack and wait until it is healthy.

    Raises:
        ComposeError: It does not start, or not healthy; what runs is left as it is, to be looked at.
    """
    secrets = directory_of(settings, "DECKRAILS_SECRETS_DIR", "secrets")
    created = ensure_secrets(secrets)
    if created:
        print(f"up: created in {secrets}: {', '.join(created)}")
    rendered, changed = render_for_compose(
        settings, directory_of(settings, "DECKRAILS_RENDERED_DIR", ".deck")
    )
    print(f"up: {rendered.summary}")
    let_containers_read(ROOT)
    stale = {state.service for state in stack.states()} & set(READ_BY) if changed else set()
    try:
        stack.run("up", "-d", "--build" if build else "--no-build")
    except ComposeError as error:
        raise ComposeError("\n".join([str(error), *taken_ports(stack, settings)])) from error
    if stale:
        # Compose sees that its own file is the same and leaves them running with what they read before.
        stack.run("restart", *sorted(stale))
    print("up: started; waiting until every service is healthy")
    stack.wait_healthy(HEALTHY_WITHIN_SECONDS)
    for name, (port, default, path) in PAGES.items():
        print(f"  {name:<13} http://127.0.0.1:{settings.get(port, default)}{path}")
    print(f"  Grafana's user is admin, its password in {secrets / PASSWORD}")
    print(f"  an engine sends the token in {secrets / 'deck_token_engine'} (DECK_TOKEN)")


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command line; the exit status."""
    parser = argparse.ArgumentParser(prog="up", description="Start or stop the compose stack.")
    parser.add_argument("action", nargs="?", choices=["up", "down"], default="up")
    parser.add_argument("--no-build", action="store_true", help="use the images that are there")
    args = parser.parse_args(argv)
    if isinstance(sys.stdout, io.TextIOWrapper):
        sys.stdout.reconfigure(line_buffering=True)  # in a pipe too, our lines stand among Compose's in order
    try:
        # Compose reads `.env` by itself and takes a misspelt name for one that is nobody's.
        settings = read_environment(ROOT / ".env")
        stack = Stack(find_compose(), {})
        stack.require_engine()
        if args.action == "down":
            stack.run("--profile", "demo", "down", "--remove-orphans")
        else:
            up(stack, settings, build=not args.no_build)
    except (ComposeError, DotenvError, ReceiverError) as error:
        print(f"up: {error}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        print(
            f"\n{args.action}: interrupted; what runs keeps running: `make up` goes on, `make down` stops it"
        )
        return 130
    return 0


if __name__ == "__main__":
    sys.exit(main())
