"""`python -m exporter`: settings → store → application → server."""

from __future__ import annotations

import argparse
import gc
import os
import socket
import sys
import time
from collections.abc import Sequence
from pathlib import Path

from deckrails.extras import refuse_without

try:
    import structlog

    from deckrails import __version__
    from deckrails.dotenv import DotenvError, misspelt, read_environment
    from deckrails.logs import configure_logging
    from exporter.app import create_app
    from exporter.backup import backup, check, restore
    from exporter.errors import PortRefused, SettingsError, StoreRefused
    from exporter.serving import DeckServer, listen
    from exporter.settings import Settings, read_settings
    from exporter.sql_store import SqlStore
    from exporter.store_url import read_store_url
except ModuleNotFoundError as missing:
    refuse_without("server", "exporter", missing)

log = structlog.get_logger("exporter")


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
        values = read_environment()
        settings = read_settings(values)
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
        return _refused(error)
    return serve(settings, values.get("DECK_REVISION", ""))


def _refused(error: Exception) -> int:
    print(f"exporter: {error}", file=sys.stderr)
    return 2 if isinstance(error, (DotenvError, SettingsError)) else 1


def serve(settings: Settings, revision: str) -> int:
    """Serve until asked to end; the exit status: 0 after a clean end, 1 or 2 if the start failed."""
    configure_logging(settings.log_level, settings.log_format)
    log.info("settings", **settings.shown())
    for name, meant in misspelt().items():
        log.warning("nobody reads this variable", name=name, did_you_mean=meant)
    sockets: list[socket.socket] = []
    store: SqlStore | None = None
    try:
        sockets = listen(settings.host, settings.port)
        url = settings.store_url.get_secret_value()
        fresh = _to_be_made(url)
        store = SqlStore(url, power_safe=settings.durability == "power")
        if fresh is not None:
            log.warning("new, empty store", path=str(fresh))
        app = create_app(
            settings,
            store,
            now=time.time,
            clock=time.perf_counter,
            version=__version__,
            revision=revision,
        )
    except (SettingsError, StoreRefused, PortRefused) as error:
        if store is not None:
            store.close()
        for sock in sockets:
            sock.close()
        return _refused(error)
    # What is kept is kept for long and has no cycles; looking through all of it would only hold pushes up.
    gc.set_threshold(20_000, 50, 100)
    scheme, port = "https" if settings.tls_cert else "http", sockets[0].getsockname()[1]
    log.info("serving", url=f"{scheme}://{settings.host}:{port}")
    status = DeckServer(app, settings).serve_until_stopped(sockets)
    return status if app.refused is None else _refused(app.refused)


def _to_be_made(url: str) -> Path | None:
    """The file that opening the store makes; None if it is there, or is no file.

    A first start makes one, and so does a path with a typing error, beside a store full of trades.
    """
    location = read_store_url(url)
    path = location.database or ""
    # Path.exists raises where it may not look; opening the store says that better.
    is_there = os.path.exists(path)  # noqa: PTH110
    return Path(path).absolute() if location.get_backend_name() == "sqlite" and not is_there else None


if __name__ == "__main__":
    sys.exit(main())
