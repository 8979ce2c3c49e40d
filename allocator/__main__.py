"""`python -m allocator`: settings, adapters, loop.

python -m allocator              decide every REFRESH_SEC until SIGTERM
python -m allocator --once       decide once; 0: decided or kept by a guard, 1: could not read or publish
python -m allocator --dry-run    print what would be published and why; publish nothing
python -m allocator backtest     what the shares would have been
"""

from __future__ import annotations

import argparse
import random
import signal
import sys
import threading
import time
from collections.abc import Sequence
from contextlib import ExitStack
from types import FrameType

from deckrails.extras import refuse_without

try:
    import structlog
    from structlog.typing import FilteringBoundLogger

    from allocator.errors import AllocatorError, SettingsError
    from allocator.explain import table
    from allocator.loop import Allocator, Result
    from allocator.prometheus import PrometheusApi
    from allocator.publisher import DeckPublisher
    from allocator.queries import queries
    from allocator.server import HealthServer
    from allocator.settings import Settings, load
    from allocator.telemetry import Telemetry
    from deckrails import __version__
    from deckrails.dotenv import DotenvError, misspelt, read_environment
    from deckrails.logs import configure_logging
except ModuleNotFoundError as missing:
    refuse_without("server", "allocator", missing)

_ATTEMPTS_BY_HAND = 3
_STUCK_PERIODS = 3
_STUCK_SECONDS = 120.0


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command line; its exit status."""
    parser = _parser()
    arguments = parser.parse_args(argv)
    if arguments.command and (arguments.once or arguments.dry_run):
        given = "--once" if arguments.once else "--dry-run"
        parser.error(f"{given}: not with {arguments.command}, which publishes nothing")
    try:
        values = read_environment()
        settings = load(values)
    except (SettingsError, DotenvError) as error:
        for line in str(error).splitlines():
            print(f"allocator: {line}", file=sys.stderr)
        return 2
    configure_logging(settings.log_level, settings.log_format)
    log: FilteringBoundLogger = structlog.get_logger().bind(service="allocator")
    for name, meant in misspelt().items():
        log.warning("nobody reads this variable", name=name, did_you_mean=meant)
    if arguments.command == "backtest":
        from allocator.backtest_command import run  # noqa: PLC0415 - the daemon does without

        with prometheus_api(settings, log) as metrics:
            return run(arguments, settings, metrics)
    stop = threading.Event()

    def on_signal(number: int, frame: FrameType | None) -> None:
        del frame
        log.info("stopping", signal=signal.Signals(number).name)
        stop.set()

    signal.signal(signal.SIGTERM, on_signal)
    signal.signal(signal.SIGINT, on_signal)
    with ExitStack() as stack:
        return _serve(arguments, settings, values.get("DECK_REVISION", "unknown"), log, stop, stack)


def _serve(
    arguments: argparse.Namespace,
    settings: Settings,
    revision: str,
    log: FilteringBoundLogger,
    stop: threading.Event,
    stack: ExitStack,
) -> int:
    telemetry = Telemetry(settings.refresh_sec, revision)
    by_hand = arguments.once or arguments.dry_run
    metrics = stack.enter_context(prometheus_api(settings, log))
    deck = stack.enter_context(
        DeckPublisher(
            settings.deck_url,
            token=settings.deck_token.get_secret_value() if settings.deck_token else None,
            timeout_seconds=min(10.0, settings.request_timeout_seconds),
        )
    )
    allocator = Allocator(
        metrics,
        deck,
        queries(settings.pnl_metric, settings.pnl_selector),
        settings.limits,
        stale_after_seconds=settings.stale_after_sec,
        telemetry=telemetry,
        log=log,
        now=time.time,
        sleep=stop.wait,
        rng=random.Random(),
        again=by_hand,
    )
    if arguments.dry_run:
        try:
            print(table(allocator.look()))
        except AllocatorError as error:
            print(f"allocator: {error}", file=sys.stderr)
            return 1
        return 0
    log.info("starting", version=__version__, **settings.shown())
    if arguments.once:
        return 1 if _failed(allocator) else 0
    try:
        server = HealthServer(
            settings.allocator_host,
            settings.allocator_port,
            telemetry.registry,
            healthy=lambda: _beats(allocator, settings.refresh_sec, started=started),
            ready=lambda: _decided(allocator),
        )
    except OSError as error:
        where = f"{settings.allocator_host}:{settings.allocator_port}"
        print(
            f"allocator: cannot listen on {where}: {error.strerror or error}; "
            "see ALLOCATOR_HOST and ALLOCATOR_PORT",
            file=sys.stderr,
        )
        return 1
    started = time.time()
    stack.enter_context(server)
    allocator.run()
    log.info("stopped")
    return 0


def prometheus_api(settings: Settings, log: FilteringBoundLogger) -> PrometheusApi:
    """The PromQL API that the settings name."""
    token, password = settings.prometheus_token, settings.prometheus_password

    def on_warning(query: str, words: str) -> None:
        log.warning("prometheus warns", query=query, reason=words)

    return PrometheusApi(
        settings.prometheus_url,
        token=token.get_secret_value() if token else None,
        user=settings.prometheus_user,
        password=password.get_secret_value() if password else None,
        tenant=settings.prometheus_tenant,
        ca=settings.prometheus_ca,
        timeout_seconds=settings.request_timeout_seconds,
        on_warning=on_warning,
    )


def _failed(allocator: Allocator) -> bool:
    """Run once; whether something could not be read or written, as opposed to a guard that held."""
    result = allocator.run_once(attempts=_ATTEMPTS_BY_HAND)
    return result is Result.ERROR or allocator.unreachable


def _beats(allocator: Allocator, period: float, started: float) -> tuple[bool, str]:
    """Alive: the loop ended a run lately, or has not had the time to."""
    quiet = time.time() - (allocator.last_run_at or started)
    limit = max(_STUCK_SECONDS, _STUCK_PERIODS * period)
    if quiet > limit:
        return False, f"no run ended for {quiet:.0f} s: want one every {period:g} s"
    return True, "healthy"


def _decided(allocator: Allocator) -> tuple[bool, str]:
    """Ready: the last run read what it needed and, where it had to, published."""
    if allocator.last_result is None:
        return False, "no run has ended yet"
    if allocator.last_result is Result.ERROR or allocator.unreachable:
        return False, "the last run could not read or publish; see the log"
    return True, f"ready: last run {allocator.last_result.value}"


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m allocator", description="Gives each strategy a share of the risk budget."
    )
    parser.add_argument("--version", action="version", version=__version__)
    how = parser.add_mutually_exclusive_group()
    how.add_argument("--once", action="store_true", help="decide once and end")
    how.add_argument("--dry-run", action="store_true", help="print what would be published and why")
    commands = parser.add_subparsers(dest="command")
    backtest = commands.add_parser("backtest", help="what the shares would have been")
    backtest.add_argument("--from", dest="begin", metavar="TIME", help="first row, ISO 8601 or epoch seconds")
    backtest.add_argument("--to", dest="end", metavar="TIME", help="last row, ISO 8601 or epoch seconds")
    backtest.add_argument(
        "--step",
        type=float,
        metavar="SEC",
        help="seconds between rows (REFRESH_SEC; with --csv the usual distance of its lines)",
    )
    backtest.add_argument("--csv", metavar="FILE", help="read this file instead of Prometheus")
    backtest.add_argument("--plot", metavar="FILE", help="draw out.png or out.html")
    backtest.add_argument(
        "--cost-bps", type=float, default=0.0, metavar="BPS", help="cost of turnover, basis points (0)"
    )
    return parser


if __name__ == "__main__":
    sys.exit(main())
