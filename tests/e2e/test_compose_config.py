"""The compose file as both Composes read it: names resolve, nothing is open, nothing is unlimited."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

from deckrails.dotenv import KNOWN
from scripts.native import ROOT

COMPOSE_FILE = ROOT / "docker-compose.yml"
SCALE_FILE = ROOT / "docker-compose.scale.yml"
OURS = {"hmm_ops", "allocator", "engine"}
ABSENT = {
    # settings that mean nothing in a container, and why
    "DECK_TOKEN": "secrets are files",
    "DECK_TOKEN_FILE": "the scoped table serves the exporter",
    "DECK_INSECURE": "there is always a token",
    "DECK_TLS_CERT": "a proxy speaks TLS; docs/deploy.md has the overlay for the other way",
    "DECK_TLS_KEY": "as above",
}


def commands() -> Iterator[tuple[str, list[str] | None]]:
    """Each Compose there may be, with how to call it here."""
    v2 = ["docker", "compose"]
    unpacked = ROOT / ".tools" / "docker-compose"  # where Debian has no Compose v2, setup.sh puts one here
    if (
        shutil.which("docker")
        and not subprocess.run([*v2, "version"], check=False, capture_output=True).returncode
    ):
        yield "v2", v2
    else:
        yield "v2", [str(unpacked)] if unpacked.exists() else None
    old = shutil.which("docker-compose")
    said = (
        subprocess.run([old, "version", "--short"], check=False, capture_output=True, text=True).stdout
        if old
        else ""
    )
    yield "1.29", ["docker-compose"] if said.startswith("1.") else None


@pytest.fixture(params=list(commands()), ids=lambda pair: pair[0])
def compose(request: pytest.FixtureRequest, tmp_path: Path) -> Any:
    """Runs `compose ARGS` on a copy of the files with a given `.env`, in an environment of nothing else."""
    name, command = request.param
    if command is None:
        pytest.skip(f"Compose {name} is not installed here")
    for file in ROOT.glob("docker-compose*.yml"):
        shutil.copy(file, tmp_path)

    def call(*args: str, env: str = "") -> subprocess.CompletedProcess[str]:
        (tmp_path / ".env").write_text(env)
        # HOME and DOCKER_CONFIG are where the docker command looks for its Compose plugin.
        bare = {"PATH": "/usr/local/bin:/usr/bin:/bin", "HOME": str(Path.home())}
        bare |= {name: os.environ[name] for name in ("DOCKER_CONFIG",) if name in os.environ}
        return subprocess.run(
            [*command, *args], cwd=tmp_path, env=bare, check=False, capture_output=True, text=True, timeout=60
        )

    return call


def services(file: Path = COMPOSE_FILE) -> dict[str, dict[str, Any]]:
    """The services as written, anchors merged, nothing filled in."""
    loaded: dict[str, dict[str, Any]] = yaml.safe_load(file.read_text())["services"]
    return loaded


def depends_on(text: str, service: str) -> set[str]:
    return set(yaml.safe_load(text)["services"][service]["depends_on"])


def test_the_file_is_accepted_as_it_is(compose: Any) -> None:
    """Without any setting the file resolves, and those that need the ops API wait for hmm_ops."""
    done = compose("--profile", "demo", "config")
    assert done.returncode == 0, done.stderr
    assert depends_on(done.stdout, "allocator") == {"hmm_ops", "prometheus"}
    assert depends_on(done.stdout, "engine") == {"hmm_ops"}


def test_an_ops_service_of_another_name_takes_its_place(compose: Any, tmp_path: Path) -> None:
    """OPS_SERVICE_NAME and COMPOSE_FILE in `.env` make the others wait for the user's own service."""
    (tmp_path / "their.yml").write_text(
        "services:\n  desk_ops:\n    image: desk\n    networks: {default: {aliases: [exporter]}}\n"
        "  hmm_ops:\n    profiles: [replaced]\n"
    )
    done = compose(
        "--profile",
        "demo",
        "config",
        env="OPS_SERVICE_NAME=desk_ops\nCOMPOSE_FILE=docker-compose.yml:their.yml\n",
    )
    assert done.returncode == 0, done.stderr
    assert depends_on(done.stdout, "allocator") == {"desk_ops", "prometheus"}
    assert depends_on(done.stdout, "engine") == {"desk_ops"}
    listed = compose(
        "config",
        "--services",
        env="OPS_SERVICE_NAME=desk_ops\nCOMPOSE_FILE=docker-compose.yml:their.yml\n",
    )
    assert "desk_ops" in listed.stdout.split()


def test_an_ops_service_that_nobody_defines_is_refused_by_name(compose: Any) -> None:
    """Compose stops before anything starts, and names the service that is missing."""
    done = compose("config", env="OPS_SERVICE_NAME=nobody\n")
    assert done.returncode != 0
    assert "nobody" in done.stderr
    assert "undefined" in done.stderr


@pytest.mark.parametrize(
    "change", [None, ("pids_limit: 256", "pid_limit: 256"), ("cpus: 1.0", "cpus: [1.0]")]
)
@pytest.mark.parametrize("file", sorted(ROOT.glob("docker-compose*.yml")), ids=lambda p: p.name)
def test_the_specification_allows_every_key(file: Path, change: Any, tmp_path: Path) -> None:
    """The Compose specification's schema accepts each file without any Compose here, and refuses a slip."""
    text = file.read_text()
    (tmp_path / file.name).write_text(text.replace(*change) if change else text)
    argv = ["check_jsonschema", "--builtin-schema", "vendor.compose-spec", str(tmp_path / file.name)]
    done = subprocess.run(
        [sys.executable, "-m", *argv], check=False, capture_output=True, text=True, timeout=60
    )
    assert (done.returncode != 0) is bool(change), done.stdout


def every_service() -> dict[str, dict[str, Any]]:
    """Of both files; those that the second only changes come from the first, changed."""
    first, second = services(), services(SCALE_FILE)
    return first | {f"scaled {name}": {**first.get(name, {}), **service} for name, service in second.items()}


@pytest.mark.parametrize("name", sorted(every_service()))
def test_every_service_is_hardened(name: str) -> None:
    """No service is root, can gain a right or write to its root; each has limits, bounded logs, a check."""
    service = every_service()[name]
    assert service["read_only"] is True
    assert service["cap_drop"] == ["ALL"]
    assert service["security_opt"] == ["no-new-privileges:true"]
    assert service["init"] is True
    assert service["pids_limit"] > 0
    assert service["mem_limit"]
    assert 0 < service["cpus"] <= 1  # more than the machine has is an error, and one is always there
    assert int(service["user"].split(":")[0]) > 0
    assert service["logging"] == {
        "driver": "json-file",
        "options": {"max-size": "10m", "max-file": "3"},
    }
    assert service["healthcheck"]["test"][0] == "CMD"
    assert service["restart"] == "unless-stopped"
    assert not {"privileged", "cap_add", "network_mode", "pid", "ipc", "devices"} & set(service)


@pytest.mark.parametrize("file", sorted(ROOT.glob("docker-compose*.yml")), ids=lambda p: p.name)
def test_every_port_is_on_loopback(file: Path) -> None:
    """What a container publishes reaches this machine and nobody else."""
    published = [str(port) for service in services(file).values() for port in service.get("ports", [])]
    assert [port for port in published if not port.startswith("127.0.0.1:")] == []
    assert published or file != COMPOSE_FILE


@pytest.mark.parametrize("file", sorted(ROOT.glob("docker-compose*.yml")), ids=lambda p: p.name)
def test_every_mounted_file_is_read_only(file: Path) -> None:
    """Only named volumes can be written; what comes from the checkout cannot."""
    mounts = [str(volume) for service in services(file).values() for volume in service.get("volumes", [])]
    assert [m for m in mounts if m.startswith((".", "/", "$")) and not m.endswith(":ro")] == []


@pytest.mark.parametrize("file", sorted(ROOT.glob("docker-compose*.yml")), ids=lambda p: p.name)
def test_no_image_floats(file: Path) -> None:
    """Every image has a version, and one setting moves it."""
    images = [service["image"] for service in services(file).values() if "image" in service]
    assert [image for image in images if not re.search(r":[^$]*\$\{[A-Z_]+:-[^}]+\}[a-z.-]*$", image)] == []


@pytest.mark.parametrize("file", sorted(ROOT.glob("docker-compose*.yml")), ids=lambda p: p.name)
def test_every_variable_is_in_the_example_file_with_the_same_default(file: Path) -> None:
    """A default in a compose file is the one that `.env.example` tells."""
    told = dict(re.findall(r"^#?([A-Z][A-Z0-9_]+)=(.*)$", (ROOT / ".env.example").read_text(), re.MULTILINE))
    used = re.findall(r"\$\{([A-Z][A-Z0-9_]+)(?::-([^}]*))?", file.read_text())
    other = {
        # differ on purpose: in a container another service has another address, and logs are for machines
        "PROMETHEUS_URL": {"http://prometheus:9090", "http://vmselect:8481/select/0/prometheus"},
        "DECK_LOG_FORMAT": {"json"},
    }
    wrong = {
        (name, default, told.get(name))
        for name, default in used
        if name not in told or default not in {told[name], *other.get(name, set())}
    }
    assert wrong == set()


@pytest.mark.parametrize(
    ("service", "part"), [("hmm_ops", "exporter"), ("allocator", "allocator")], ids=lambda p: p
)
def test_every_setting_reaches_its_container(service: str, part: str) -> None:
    """What `.env` sets for a service is handed on to it, or it is listed with the reason why not."""
    handed = set(services()[service]["environment"])
    assert {*KNOWN[part], *KNOWN["build"]} - handed - set(ABSENT) == set()


def test_a_replica_has_the_settings_of_the_one_exporter() -> None:
    """Scaling out loses no setting: each replica is handed what the single exporter is."""
    one = services()["hmm_ops"]["environment"]
    for name in ("exporter_a", "exporter_b"):
        assert set(one) <= set(services(SCALE_FILE)[name]["environment"])


def test_the_scaled_stack_resolves(compose: Any) -> None:
    """Both files together are accepted: the proxy stands where the exporter stood, before two replicas."""
    files = ("-f", "docker-compose.yml", "-f", "docker-compose.scale.yml")
    done = compose(*files, "config")
    assert done.returncode == 0, done.stderr
    assert depends_on(done.stdout, "hmm_ops") == {"exporter_a", "exporter_b"}
    assert depends_on(done.stdout, "allocator") == {"hmm_ops", "prometheus"}
    loaded = yaml.safe_load(done.stdout)["services"]
    assert loaded["hmm_ops"]["image"].startswith("deckrails-proxy:")
    assert loaded["grafana"]["environment"]["PROMETHEUS_URL"].startswith("http://vmselect:8481/")


def test_no_secret_is_in_an_environment() -> None:
    """Tokens and passwords of ours come as files; only those of a Prometheus elsewhere may be variables."""
    for name, service in services().items():
        for key, value in service.get("environment", {}).items():
            if re.search("TOKEN|PASSWORD|SECRET", key) and not key.startswith("PROMETHEUS_"):
                assert str(value).startswith("/run/secrets/"), f"{name}: {key}"
    for name in OURS:
        assert services()[name]["secrets"], name


def test_grafana_neither_calls_home_nor_lets_strangers_in() -> None:
    """Sign-up, anonymous access, usage reports, update checks and plugin downloads are off."""
    grafana = services()["grafana"]["environment"]
    off = [
        "GF_USERS_ALLOW_SIGN_UP",
        "GF_AUTH_ANONYMOUS_ENABLED",
        "GF_ANALYTICS_REPORTING_ENABLED",
        "GF_ANALYTICS_CHECK_FOR_UPDATES",
        "GF_ANALYTICS_CHECK_FOR_PLUGIN_UPDATES",
        "GF_SNAPSHOTS_EXTERNAL_ENABLED",
    ]
    assert [name for name in off if grafana[name] != "false"] == []
    assert grafana["GF_PLUGINS_PREINSTALL_DISABLED"] == "true"
    assert "GF_SECURITY_ADMIN_PASSWORD" not in grafana
