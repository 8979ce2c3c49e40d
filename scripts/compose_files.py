"""What the containers of a compose stack read: Prometheus's and Alertmanager's configuration, rendered.

The same rendering as everywhere (scripts/render.py), with three differences.  Hosts are service names.  A
secret that `.env` names by its path is written in, since the path means nothing in a container.  Tokens of
ours are named by the path they are mounted at.

A container runs as a user this machine does not know, so the files are readable by all and the directory that
holds them is closed to all but its owner.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import yaml

from scripts.receivers import secret
from scripts.render import COMPOSE_HOSTS, Ports, Rendered, render_stack

__all__ = ["READ_BY", "render_for_compose"]

READ_BY = {
    # directory below the rendered one: what is in it
    "prometheus": ("prometheus.yml", "rules", "targets"),
    "alertmanager": ("alertmanager.yml", "templates"),
}
MOUNTED = "/run/secrets"
SCALE_FILE = "docker-compose.scale.yml"
REPLICAS = ("exporter_a:8002", "exporter_b:8002")
OF_THE_REPLICA = "(exporter|process|python|pushgateway)_.*"
"""What a replica counts of itself; all else on its page is the same on every replica's."""
VMINSERT = "http://vminsert:8480/insert/0/prometheus/api/v1/write"


def render_for_compose(settings: Mapping[str, str], out: Path) -> tuple[Rendered, bool]:
    """Write `out/prometheus` and `out/alertmanager`.

    Args:
        settings: `.env` and environment.
        out: Closed to others; made if missing.

    Returns:
        What was rendered, and whether anything differs from what was there.

    Raises:
        ReceiverError: A receiver is half set up, or a secret file cannot be read.
    """
    out.mkdir(parents=True, exist_ok=True)
    out.chmod(0o700)
    before = _contents(out)
    done = render_stack(
        out / "prometheus",
        Ports(),
        interval_seconds=None,
        hosts=COMPOSE_HOSTS,
        settings=_for_containers(settings),
    )
    scrape = _load(done.prometheus)
    for job in scrape["scrape_configs"]:
        if "authorization" in job:
            job["authorization"] = {"credentials_file": f"{MOUNTED}/deck_token_metrics"}
    scaled = SCALE_FILE in settings.get("COMPOSE_FILE", "")
    if scaled:
        scrape["scrape_configs"] += _replicas(scrape["scrape_configs"])
    remote = settings.get("PROMETHEUS_REMOTE_WRITE_URL", VMINSERT if scaled else "")
    if remote:
        scrape["remote_write"] = [{"url": remote}]
    _dump(done.prometheus, scrape)

    alerting = _load(done.alertmanager)
    hook = next(one for one in alerting["receivers"] if one["name"] == "exporter")["webhook_configs"][0]
    hook["http_config"] = {"authorization": {"credentials_file": f"{MOUNTED}/deck_token_alerts"}}
    _dump(done.alertmanager, alerting)

    for name in READ_BY["alertmanager"]:
        _move(out / "prometheus" / name, out / "alertmanager" / name)
    for path in [*out.glob("*"), *out.glob("*/**/*")]:
        path.chmod(0o755 if path.is_dir() else 0o444)
    return done, _contents(out) != before


def _for_containers(settings: Mapping[str, str]) -> dict[str, str]:
    """The settings as a container should see them: no path of this machine, no TLS inside the network."""
    seen = {name: text for name, text in settings.items() if not name.startswith("DECK_")}
    for name in [name for name in seen if name.endswith("_FILE") and name.startswith("ALERT_")]:
        plain = name.removesuffix("_FILE")
        seen[plain] = secret(seen, plain) or ""
        del seen[name]
    if settings.get("DECK_READ_AUTH") == "1":
        # Any text makes the renderer ask for a token; which one is settled above.
        seen |= {"DECK_READ_AUTH": "1", "SCRAPE_TOKEN": "mounted"}
    return seen


def _replicas(jobs: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """One more job for what each replica counts of itself, which the exporter's own job then leaves out.

    The pushed series are on every replica's page; scraped from each they would be written twice.  So they are
    scraped through the proxy, from whichever replica is ready, and `up{job="exporter"}` is 1 while one is.
    """
    job = next(job for job in jobs if job["job_name"] == "exporter")
    name = {"source_labels": ["__name__"], "regex": OF_THE_REPLICA}
    replicas = {
        key: value for key, value in job.items() if key not in {"file_sd_configs", "honor_labels"}
    } | {
        "job_name": "exporter_replica",
        "static_configs": [{"targets": list(REPLICAS)}],
        "metric_relabel_configs": [{**name, "action": "keep"}],
    }
    job["metric_relabel_configs"] = [{**name, "action": "drop"}]
    return [replicas]


def _contents(directory: Path) -> dict[str, bytes]:
    return {
        str(path.relative_to(directory)): path.read_bytes()
        for path in directory.glob("*/**/*")
        if path.is_file()
    }


def _load(path: Path) -> dict[str, Any]:
    loaded: dict[str, Any] = yaml.safe_load(path.read_text(encoding="utf-8"))
    return loaded


def _dump(path: Path, content: dict[str, Any]) -> None:
    path.write_text(yaml.safe_dump(content, sort_keys=False, width=110), encoding="utf-8")


def _move(source: Path, target: Path) -> None:
    """Move a file or a directory's files, over what is there; a mounted directory stays the same one."""
    if source.is_dir():
        target.mkdir(parents=True, exist_ok=True)
        for path in source.iterdir():
            _move(path, target / path.name)
        source.rmdir()
    else:
        target.parent.mkdir(parents=True, exist_ok=True)
        source.replace(target)
