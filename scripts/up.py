"""`make up` and `make down`: the compose stack, from an empty checkout to healthy.

`up` creates missing secrets, renders what must be rendered, starts, waits and prints the URLs.  `down` stops
the stack; the volumes, and so all data, stay.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path

from deckrails.dotenv import DotenvError, read_environment
from scripts.compose import ComposeError, Stack, find_compose
from scripts.compose_files import READ_BY, render_for_compose
from scripts.deck_secrets import PASSWORD, ensure_secrets
from scripts.native import ROOT
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


def directory_of(settings: Mapping[str, str], name: str, default: str) -> Path:
    """A directory that `.env` may move, relative to the checkout."""
    return (ROOT / settings.get(name, default)).resolve()


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
    stale = {state.service for state in stack.states()} & set(READ_BY) if changed else set()
    stack.run("up", "-d", "--build" if build else "--no-build")
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
    try:
        # Compose reads `.env` by itself and takes a misspelt name for one that is nobody's.
        settings = read_environment(ROOT / ".env")
        stack = Stack(find_compose(), {})
        if args.action == "down":
            stack.run("--profile", "demo", "down", "--remove-orphans")
        else:
            up(stack, settings, build=not args.no_build)
    except (ComposeError, DotenvError, ReceiverError) as error:
        print(f"up: {error}", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
