"""The committed Prometheus and Alertmanager configuration, for other addresses, intervals and receivers.

There is one prometheus.yml and one alertmanager.yml.  This loads them, changes what was asked for and writes
them out with their rules, targets and templates: loopback ports for the demo and the tests, service names for
compose, receivers from `.env`.  YAML is loaded and dumped, never edited as text.

    python -m scripts.render --out DIR [--compose] [--port-offset N] [--interval SECONDS]
"""

from __future__ import annotations

import argparse
import dataclasses
import math
import re
import shutil
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from deckrails.dotenv import DotenvError, read_environment
from scripts import receivers
from scripts.receivers import ReceiverError, Settings

SOURCE = Path(__file__).resolve().parent.parent / "prometheus"
LOOPBACK = "127.0.0.1"
ROLES = ("exporter", "allocator", "prometheus", "alertmanager")
COMPOSE_HOSTS = {role: role for role in ROLES}
"""In compose every service answers under its own name, the ops API under the alias `exporter`."""

UNIT_SECONDS = {"ms": 0.001, "s": 1.0, "m": 60.0, "h": 3600.0, "d": 86400.0, "w": 604800.0}
DURATION = re.compile(r"(\d+)(ms|[smhdw])")
RANGE = re.compile(r"(?<=\[)\d+(?:ms|[smhdw])(?=\])|(?<=offset )\d+(?:ms|[smhdw])")
AGE_LIMIT = re.compile(r"(job_instance:push_time_seconds:age(?:\{[^}]*\})? [<>] )(\d+(?:\.\d+)?)")


@dataclass(frozen=True)
class Ports:
    """Where each program listens; the standard ports by default."""

    exporter: int = 8002
    allocator: int = 8003
    prometheus: int = 9090
    alertmanager: int = 9093
    grafana: int = 3000

    def shifted(self, offset: int) -> Ports:
        """The same ports, all moved by `offset`."""
        return Ports(*(port + offset for port in dataclasses.astuple(self)))

    def offset(self, text: str, name: str) -> int:
        """The whole number in `text` by which all ports can be moved.

        Raises:
            ValueError: It is none, or a port would have no such number; the message begins with `name`.
        """
        top = 65535 - max(dataclasses.astuple(self))
        try:
            found = int(text)
        except ValueError:
            found = -1
        if not 0 <= found <= top:
            raise ValueError(f"{name}{text}: want a whole number from 0 to {top}")
        return found


@dataclass(frozen=True)
class Rendered:
    """What was written, and who hears of alerts."""

    prometheus: Path
    alertmanager: Path
    rules: tuple[Path, ...]
    targets: tuple[Path, ...]
    notifiers: Mapping[str, tuple[str, ...]]
    """Role (pager, chat, log, deadman) to the notifiers that serve it."""

    @property
    def summary(self) -> str:
        """One line on who hears of alerts."""
        if not any(self.notifiers.values()):
            return (
                "alerts reach the exporter (breakers, history) and Alertmanager, and nobody else: "
                "set a receiver in .env (ALERT_…)"
            )
        told = [f"{role}: {', '.join(names)}" for role, names in self.notifiers.items() if names]
        return "alerts reach the exporter and " + "; ".join(told)


def seconds(text: str) -> float:
    """Seconds of a Prometheus duration such as `1h30m`; ValueError if it is none."""
    parts = DURATION.findall(text)
    if not parts or "".join(number + unit for number, unit in parts) != text:
        raise ValueError(f"{text}: want a duration such as 30s, 5m, 1h30m")
    return sum(int(number) * UNIT_SECONDS[unit] for number, unit in parts)


def duration(value: float) -> str:
    """A Prometheus duration of `value` seconds, to the millisecond."""
    millis = round(value * 1000)
    return f"{millis // 1000}s" if millis % 1000 == 0 else f"{millis}ms"


def scale_promql(expr: str, factor: float, shortest: float) -> str:
    """Shorten ranges, offsets and limits on the age of a push; a range keeps `shortest` seconds."""
    expr = RANGE.sub(lambda found: duration(max(shortest, seconds(found[0]) * factor)), expr)
    return AGE_LIMIT.sub(lambda found: f"{found[1]}{float(found[2]) * factor:g}", expr)


def _load(path: Path) -> dict[str, Any]:
    with path.open(encoding="utf-8") as stream:
        loaded = yaml.safe_load(stream)
    if not isinstance(loaded, dict):
        raise TypeError(f"{path}: want a mapping, got {type(loaded).__name__}")
    return loaded


def _write(path: Path, content: Any, *, private: bool = False) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.touch(mode=0o600 if private else 0o644)
    # An older file keeps its mode when it is touched, and a secret must not land in a readable one.
    path.chmod(0o600 if private else 0o644)
    path.write_text(yaml.safe_dump(content, sort_keys=False, width=110, allow_unicode=True), encoding="utf-8")
    return path


def _exporter_tls(settings: Settings) -> dict[str, Any]:
    cert = settings.get("DECK_TLS_CERT")
    return {"tls_config": {"ca_file": str(Path(cert).resolve())}} if cert else {}


def prometheus_config(settings: Settings, interval_seconds: float | None) -> dict[str, Any]:
    """prometheus.yml with other intervals, and with the credentials that reading the exporter asks for."""
    config = _load(SOURCE / "prometheus.yml")
    if interval_seconds is not None:
        every = duration(interval_seconds)
        config["global"] |= {"scrape_interval": every, "scrape_timeout": every, "evaluation_interval": every}
    for job in config["scrape_configs"]:
        if interval_seconds is not None:
            job.update({name: every for name in ("scrape_interval", "scrape_timeout") if name in job})
        if job["job_name"] == "exporter":
            if "DECK_TLS_CERT" in settings:
                job.update({"scheme": "https", **_exporter_tls(settings)})
            if settings.get("DECK_READ_AUTH") == "1":
                job.update(receivers.token(settings, "SCRAPE_TOKEN", "DECK_TOKEN"))
    return config


def rules_config(
    name: str, settings: Settings, interval_seconds: float | None, time_scale: float
) -> dict[str, Any]:
    """One rules file with other intervals; `time_scale` shortens waiting, ranges and age limits."""
    config = _load(SOURCE / "rules" / name)
    runbooks, grafana = (
        receivers.url(settings[base], base).rstrip("/") if base in settings else ""
        for base in ("ALERT_RUNBOOK_BASE_URL", "ALERT_GRAFANA_URL")
    )
    for group in config["groups"]:
        shortest = 4 * (interval_seconds or seconds(group["interval"]))
        if interval_seconds is not None:
            group["interval"] = duration(interval_seconds)
        for rule in group["rules"]:
            if time_scale != 1:
                rule["expr"] = scale_promql(rule["expr"], time_scale, shortest)
                for field in ("for", "keep_firing_for"):
                    if field in rule:
                        rule[field] = duration(seconds(rule[field]) * time_scale)
            notes = rule.get("annotations", {})
            if runbooks and "runbook_url" in notes:
                notes["runbook_url"] = f"{runbooks}/{notes['runbook_url']}"
            if grafana and "dashboard_uid" in notes:
                notes["dashboard_url"] = f"{grafana}/d/{notes['dashboard_uid']}"
    return config


def _scale_route(route: dict[str, Any], time_scale: float) -> None:
    for field in ("group_wait", "group_interval", "repeat_interval"):
        if field in route and seconds(route[field]):
            route[field] = duration(max(0.2, seconds(route[field]) * time_scale))
    for child in route.get("routes", []):
        _scale_route(child, time_scale)


def alertmanager_config(
    settings: Settings, exporter: str, time_scale: float
) -> tuple[dict[str, Any], dict[str, tuple[str, ...]]]:
    """alertmanager.yml with the receivers that are set, and the notifiers that serve each role.

    Raises:
        ReceiverError: A receiver is half set up.
    """
    config = _load(SOURCE / "alertmanager.yml")
    if time_scale != 1:
        _scale_route(config["route"], time_scale)
    by_name = {receiver["name"]: receiver for receiver in config["receivers"]}

    hook = by_name["exporter"]["webhook_configs"][0]
    hook["url"] = f"{'https' if 'DECK_TLS_CERT' in settings else 'http'}://{exporter}/alerts"
    http = {**receivers.token(settings, "ALERT_DECK_TOKEN", "DECK_TOKEN"), **_exporter_tls(settings)}
    if http:
        hook["http_config"] = http

    found = receivers.configured(settings)
    serving = receivers.roles(settings, found)
    for role, names in serving.items():
        for name in names:
            # A copy each, or the dump would write YAML anchors.
            by_name[role].setdefault(receivers.NOTIFIERS[name][0], []).append(dict(found[name]))
    switch = receivers.deadman(settings)
    if switch is not None:
        by_name["deadman"]["webhook_configs"] = [switch]
    return config, {**serving, "deadman": ("webhook",) if switch else ()}


def render_stack(
    out: Path,
    ports: Ports,
    *,
    interval_seconds: float | None = 1.0,
    time_scale: float = 1.0,
    hosts: Mapping[str, str] | None = None,
    settings: Settings | None = None,
) -> Rendered:
    """Write the stack's configuration into `out`.

    Args:
        out: Directory to write into; made if missing, files of an earlier run are replaced.
        ports: Where each program listens.
        interval_seconds: Scrape, evaluation and group interval; None keeps the committed ones.
        time_scale: Below 1, shortens waiting (`for`, keep_firing_for, ranges, age limits, Alertmanager's
            groups) in the same proportion, so that a test sees in seconds what takes minutes.
        hosts: Role to host; loopback by default.
        settings: `.env` and environment; empty by default, which means no receivers and no tokens.

    Raises:
        ReceiverError: A receiver is half set up, or a secret file cannot be read.
        ValueError: An interval or a scale that is not positive.
    """
    if interval_seconds is not None and not 0.001 <= interval_seconds < math.inf:
        raise ValueError(f"interval_seconds={interval_seconds:g}: want at least 0.001")
    if not 0 < time_scale <= 1:
        raise ValueError(f"time_scale={time_scale:g}: want above 0, at most 1")
    settings = {} if settings is None else settings
    address = {role: f"{(hosts or {}).get(role, LOOPBACK)}:{getattr(ports, role)}" for role in ROLES}
    # Everything is computed before anything is written: a bad setting leaves the old files whole.
    scrape = prometheus_config(settings, interval_seconds)
    rules = {
        path.name: rules_config(path.name, settings, interval_seconds, time_scale)
        for path in sorted((SOURCE / "rules").glob("*.yml"))
    }
    alerting, notifiers = alertmanager_config(settings, address["exporter"], time_scale)

    for role in ROLES:
        _write(out / "targets" / f"{role}.yml", [{"targets": [address[role]]}])
    for name, content in rules.items():
        _write(out / "rules" / name, content)
    shutil.copytree(SOURCE / "templates", out / "templates", dirs_exist_ok=True)
    return Rendered(
        prometheus=_write(out / "prometheus.yml", scrape, private="DECK_READ_AUTH" in settings),
        alertmanager=_write(
            out / "alertmanager.yml",
            alerting,
            private=any(name.startswith("ALERT_") for name in settings) or "DECK_TOKEN" in settings,
        ),
        rules=tuple(out / "rules" / name for name in rules),
        targets=tuple(out / "targets" / f"{role}.yml" for role in ROLES),
        notifiers=notifiers,
    )


def main(argv: list[str] | None = None) -> int:
    """The command line; 0 when written, 2 when a setting is wrong."""
    parser = argparse.ArgumentParser(prog="python -m scripts.render", description=__doc__.split("\n")[0])
    parser.add_argument("--out", type=Path, required=True, help="directory to write into")
    parser.add_argument("--compose", action="store_true", help="compose's service names instead of loopback")
    parser.add_argument("--port-offset", default="0", metavar="N", help="move every port by N")
    parser.add_argument("--interval", type=float, default=None, help="scrape and rule interval, seconds")
    args = parser.parse_args(argv)
    try:
        done = render_stack(
            args.out,
            Ports().shifted(Ports().offset(args.port_offset, "--port-offset ")),
            interval_seconds=args.interval,
            hosts=COMPOSE_HOSTS if args.compose else None,
            settings=read_environment(),
        )
    except (ReceiverError, DotenvError, ValueError) as err:
        print(f"render: {err}", file=sys.stderr)
        return 2
    except OSError as err:
        print(f"render: cannot write {err.filename or args.out}: {err.strerror or err}", file=sys.stderr)
        return 2
    print(f"render: wrote {done.prometheus} and {done.alertmanager}; {done.summary}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
