"""`python -m exporter`: settings → store → application → server."""

from __future__ import annotations

import argparse
import gc
import os
import sys
import time
from collections.abc import Sequence
from pathlib import Path

import structlog
import uvicorn

from deckrails import __version__
from deckrails.dotenv import DotenvError, read_environment
from deckrails.logs import configure_logging
from exporter.app import create_app
from exporter.backup import backup, check, restore
from exporter.errors import SettingsError, StoreRefused
from exporter.hotlane import protocol_for
from exporter.settings import Settings, read_settings
from exporter.sql_store import SqlStore

log = structlog.get_logger("exporter")

KEEP_ALIVE_SECONDS = 75
"""Longer than the usual scrape interval, so that Prometheus keeps its connection."""


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command line; the exit status."""
    parser = argparse.ArgumentParser(
        prog="python -m exporter",
        description="Durable push gateway and deck API; serves if no command is given.",
    )
    commands = parser.add_subparsers(dest="command", metavar="command")
    commands.add_parser("check", help="audit the store, in use or not, and print what is wrong")
    commands.add_parser("backup", help="write the whole store, in use or not, to a new file").add_argument(
        "file", type=Path
    )
    commands.add_parser("restore", help="fill an empty store from a backup").add_argument("file", type=Path)
    arguments = parser.parse_args(argv)
    try:
        settings = read_settings(read_environment())
        url = settings.store_url.get_secret_value()
        if arguments.command == "check":
            findings = check(url)
            print("\n".join(findings) or "the store is sound")
            return 1 if findings else 0
        if arguments.command == "backup":
            print(f"{backup(url, arguments.file)} rows in {arguments.file}")
            return 0
        if arguments.command == "restore":
            print(f"{restore(arguments.file, url)} rows from {arguments.file}")
            return 0
    except (DotenvError, SettingsError, StoreRefused) as error:
        print(f"exporter: {error}", file=sys.stderr)
        return 1
    return serve(settings)


def serve(settings: Settings) -> int:
    """Serve until asked to end; the exit status."""
    try:
        configure_logging(settings.log_level, settings.log_format)
        log.info("settings", **settings.shown())
        store = SqlStore(settings.store_url.get_secret_value(), power_safe=settings.durability == "power")
    except StoreRefused as error:
        print(f"exporter: {error}", file=sys.stderr)
        return 1
    try:
        app = create_app(
            settings,
            store,
            now=time.time,
            clock=time.perf_counter,
            version=__version__,
            revision=os.environ.get("DECK_REVISION", ""),
        )
    except SettingsError as error:
        store.close()
        print(f"exporter: {error}", file=sys.stderr)
        return 1
    server = uvicorn.Server(
        uvicorn.Config(
            app,
            host=settings.host,
            port=settings.port,
            loop="uvloop",
            http=protocol_for(app),
            ws="none",
            lifespan="on",
            access_log=False,
            proxy_headers=False,
            timeout_keep_alive=KEEP_ALIVE_SECONDS,
            log_level="warning",
            server_header=False,
            date_header=True,
            ssl_certfile=str(settings.tls_cert) if settings.tls_cert else None,
            ssl_keyfile=str(settings.tls_key) if settings.tls_key else None,
            timeout_graceful_shutdown=10,
        )
    )
    app.service.stop = lambda: setattr(server, "should_exit", True)
    # What is kept is kept for long and has no cycles; looking through all of it would only hold pushes up.
    gc.set_threshold(20_000, 50, 100)
    log.info("serving", url=f"{'https' if settings.tls_cert else 'http'}://{settings.host}:{settings.port}")
    server.run()
    return 0 if server.started else 1


if __name__ == "__main__":
    sys.exit(main())
