"""`make demo`: the whole loop on this machine, without Docker, on real market data.

Prints the URLs, a live line, and on exit a summary.  DEMO_SECONDS=N ends it by itself; the exit status is 0
if the loop closed (trades counted, PromQL answered, risk shares moved) and 1 if not.  PORT_OFFSET moves every
port.  Its files live in `.demo/`, wiped at each start; a `.env` of yours does not reach it.
"""

from __future__ import annotations

import argparse
import os
import shutil
import signal
import sys
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import FrameType

from deckrails.dotenv import KNOWN, DotenvError, read_environment
from scripts.native import ROOT, Child, NativeError, find_program, port_in_use
from scripts.observe import Observer, summarise
from scripts.procfile import Supervisor, parse
from scripts.render import Ports, render_stack

REFRESH_SECONDS = 1
LIVE_LINE_SECONDS = 5.0
"""Seconds between live lines where the output is not a terminal; on one the line refreshes each second."""
READY_PATH = {
    "exporter": "/-/ready",
    "prometheus": "/-/ready",
    "alertmanager": "/-/ready",
    "allocator": "/-/healthy",
    "grafana": "/api/health",
}

HINTS = {"alertmanager": "  (Debian's has no page; docs/alerts.md has the commands)"}


@dataclass(frozen=True)
class DemoSettings:
    """What the demo reads from the environment and `.env`."""

    seconds: float | None
    port_offset: int
    grafana_home: Path | None


def read_settings(values: Mapping[str, str]) -> DemoSettings:
    """Check the demo's three settings.

    Raises:
        NativeError: One is out of range; the message names it, what came and what was wanted.
    """
    seconds: float | None = None
    if "DEMO_SECONDS" in values:
        try:
            seconds = float(values["DEMO_SECONDS"])
        except ValueError:
            seconds = -1.0
        if not 1 <= seconds <= 7 * 86400:
            raise NativeError(
                f"DEMO_SECONDS={values['DEMO_SECONDS']}: want a number of seconds from 1 to 604800"
            )
    try:
        offset = Ports().offset(values.get("PORT_OFFSET", "0"), "PORT_OFFSET=")
    except ValueError as error:
        raise NativeError(str(error)) from None
    home = values.get("GRAFANA_HOME")
    return DemoSettings(seconds, offset, Path(home) if home else None)


def grafana_argv(home: Path | None) -> list[str] | None:
    """How to start Grafana here, or None where there is none."""
    if home is not None:
        for binary in (home / "bin" / "grafana", home / "bin" / "grafana-server"):
            if binary.exists():
                server = ["server"] if binary.name == "grafana" else []
                return [str(binary), *server, "--homepath", str(home)]
        raise NativeError(f"GRAFANA_HOME={home}: no bin/grafana in it")
    found = shutil.which("grafana")
    default_home = Path("/usr/share/grafana")
    if found is None or not default_home.is_dir():
        return None
    return [found, "server", "--homepath", str(default_home)]


def check_ports(ports: Ports) -> None:
    """Refuse to start beside something else; NativeError names the port and the way out."""
    taken = [f"{port} ({name})" for name, port in vars(ports).items() if port_in_use(port)]
    if taken:
        raise NativeError(
            f"port {', '.join(taken)} is in use: stop what holds it, "
            "or move the whole demo: PORT_OFFSET=10000 make demo"
        )


def environment(ports: Ports, run_dir: Path, grafana: bool) -> dict[str, str]:
    """The variables of every child.

    Settings of the user's own shell are blanked (an empty value is the default), so that the demo is the same
    everywhere and a token meant for another deck is not sent to this one.
    """
    blank = {name: "" for names in KNOWN.values() for name in names}
    urls = {
        "DECK_URL": f"http://127.0.0.1:{ports.exporter}",
        "PROMETHEUS_URL": f"http://127.0.0.1:{ports.prometheus}",
    }
    grafana_settings = {
        "GF_SERVER_HTTP_ADDR": "127.0.0.1",
        "GF_SERVER_HTTP_PORT": str(ports.grafana),
        "GF_PATHS_DATA": str(run_dir / "data" / "grafana"),
        "GF_PATHS_PROVISIONING": str(ROOT / "grafana" / "provisioning"),
        "GF_AUTH_ANONYMOUS_ENABLED": "true",
        "GF_ANALYTICS_REPORTING_ENABLED": "false",
        "GF_ANALYTICS_CHECK_FOR_UPDATES": "false",
        "GF_ANALYTICS_CHECK_FOR_PLUGIN_UPDATES": "false",
        "GF_PATHS_LOGS": str(run_dir / "logs"),
        "GF_PATHS_PLUGINS": str(run_dir / "data" / "grafana" / "plugins"),
        "SCRAPE_INTERVAL": "1s",
        "ALERTMANAGER_URL": f"http://127.0.0.1:{ports.alertmanager}",
        "DASHBOARDS_PATH": str(ROOT / "grafana" / "json"),
    }
    return {
        **blank,
        **urls,
        "DECK_HOST": "127.0.0.1",
        "DECK_PORT": str(ports.exporter),
        "DECK_STORE_URL": f"sqlite:///{run_dir}/data/deck.db",
        "DECK_SPOOL_DIR": str(run_dir / "data" / "spool"),
        "ALLOCATOR_PORT": str(ports.allocator),
        "REFRESH_SEC": str(REFRESH_SECONDS),
        "MIN_READINGS": "5",
        "PYTHONPATH": str(ROOT),
        "PYTHONUNBUFFERED": "1",
        **(grafana_settings if grafana else {}),
    }


class Demo:
    """One run of the stack."""

    def __init__(self, settings: DemoSettings, run_dir: Path) -> None:
        self.settings = settings
        self.run_dir = run_dir
        self.ports = Ports().shifted(settings.port_offset)
        self.observer = Observer(
            f"http://127.0.0.1:{self.ports.exporter}", f"http://127.0.0.1:{self.ports.prometheus}"
        )
        self.supervisor = Supervisor(run_dir, self.say)
        self.ending = False
        self.tty = sys.stdout.isatty()

    def say(self, text: str) -> None:
        """A line of its own, clear of the live line."""
        print(f"\r\x1b[K{text}" if self.tty else text, flush=True)

    def start(self) -> None:
        """Render the configuration and start every program in order."""
        check_ports(self.ports)
        shutil.rmtree(self.run_dir, ignore_errors=True)
        for folder in ("data", "logs"):
            (self.run_dir / folder).mkdir(parents=True)
        render_stack(self.run_dir / "prometheus", self.ports, interval_seconds=1.0)
        grafana = grafana_argv(self.settings.grafana_home)
        env = environment(self.ports, self.run_dir, grafana is not None)
        variables = {
            "PYTHON": sys.executable,
            "PROMETHEUS": find_program("prometheus"),
            "ALERTMANAGER": find_program("alertmanager"),
            "RUN_DIR": str(self.run_dir),
            **{f"{name.upper()}_PORT": str(port) for name, port in vars(self.ports).items()},
        }
        programs = parse((ROOT / "Procfile").read_text(), variables)
        if grafana is not None:
            programs["grafana"] = grafana
        for name, argv in programs.items():
            ready = None
            if name in READY_PATH:
                ready = f"http://127.0.0.1:{getattr(self.ports, name)}{READY_PATH[name]}"
            log = self.run_dir / "logs" / f"{name}.log"
            self.supervisor.start(name, Child(name, argv, log, ready, env, self.run_dir))
            url = ready.removesuffix(READY_PATH[name]) if ready else "replays BTC-USD hours"
            self.say(f"  {name:<13} {url}{HINTS.get(name, '')}")
        if grafana is None:
            self.say("  grafana       not on this machine: set GRAFANA_HOME, or `make up` runs it in Docker")
        self.say(f"  logs          {self.run_dir / 'logs'}\n")

    def run(self) -> None:
        """Watch and report until the time is up or someone asks to end."""
        began = time.monotonic()
        next_line = began
        while not self.ending:
            elapsed = time.monotonic() - began
            if self.settings.seconds is not None and elapsed >= self.settings.seconds:
                break
            self.supervisor.watch()
            line = f"{elapsed:5.0f} s  {self.observer.look()}"
            if self.tty:
                width = shutil.get_terminal_size().columns
                print(f"\r\x1b[K{line[: width - 1]}", end="", flush=True)
            elif time.monotonic() >= next_line:
                print(line, flush=True)
                next_line += LIVE_LINE_SECONDS
            time.sleep(1.0)

    def end(self, _number: int, _frame: FrameType | None) -> None:
        """Signal handler: leave the loop at its next turn."""
        self.ending = True


def main(argv: Sequence[str] | None = None) -> int:
    """Run the demo; 0 if the loop closed, 1 if not, 2 if it could not start."""
    parser = argparse.ArgumentParser(
        prog="python -m scripts.demo",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.parse_args(argv)
    try:
        settings = read_settings(read_environment(ROOT / ".env"))
        name = ".demo" if settings.port_offset == 0 else f".demo-{settings.port_offset}"
        demo = Demo(settings, ROOT / name)
    except (NativeError, DotenvError) as error:
        print(f"demo: {error}", file=sys.stderr)
        return 2
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, demo.end)
    try:
        print("Deckrails demo: replay engine, exporter, Prometheus, Alertmanager, allocator\n", flush=True)
        demo.start()
        demo.run()
        summary = summarise(demo.observer)
    except NativeError as error:
        print(f"demo: {error}", file=sys.stderr)
        return 2
    finally:
        demo.supervisor.stop()
    failures = summary.failures()
    demo.say(f"\nSummary\n{summary.table()}\n")
    for failure in failures:
        print(f"demo: {failure}", file=sys.stderr)
    print(
        "The loop closed: trades counted, PromQL answered, risk shares moved."
        if not failures
        else "The loop did not close."
    )
    return 1 if failures else 0


if __name__ == "__main__":
    os.chdir(ROOT)
    sys.exit(main())
