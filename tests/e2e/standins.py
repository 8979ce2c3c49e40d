"""Stand-ins for the images that docker-compose.yml names, built from this machine's own programs.

A registry cannot always be reached, and a test should not depend on one.  Each stand-in has the name, the
entry point, the user and the directories of the image it stands for, and a label that says it is none:

* prom/prometheus, prom/alertmanager: the real programs as installed here (Debian's are older than the tags);
* python:*-slim: this machine's Python, for our own Dockerfile to build on;
* grafana/grafana: not Grafana.  It checks what Grafana would be given and answers the health check.
"""

from __future__ import annotations

import hashlib
import io
import re
import subprocess
import sys
import sysconfig
import tarfile
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from pathlib import Path

from scripts.native import ROOT, find_program

LABEL = "deckrails.stand-in"
NOT_SHIPPED = {"site-packages", "test", "idlelib", "tkinter", "turtledemo", "lib2to3", "__pycache__"}

GRAFANA_SCRIPT = """#!/bin/sh
# Not Grafana: checks what Grafana would be given, then answers its health check.
set -eu
test "$(wc -c <"$GF_SECURITY_ADMIN_PASSWORD__FILE")" -gt 30
ls /etc/grafana/provisioning/*/*.y*ml /etc/grafana/dashboards/*.json >/tmp/provisioned
date >>/var/lib/grafana/starts
mkdir -p /tmp/www/api
echo '{"database": "ok", "version": "stand-in"}' >/tmp/www/api/health
exec busybox httpd -f -p 3000 -h /tmp/www
"""


@dataclass
class Image:
    """One stand-in: what is in it and how it starts."""

    name: str
    says: str
    files: dict[str, Path] = field(default_factory=dict)
    texts: dict[str, tuple[str, int]] = field(default_factory=dict)
    links: dict[str, str] = field(default_factory=dict)
    owned: dict[str, tuple[int, int]] = field(default_factory=dict)
    changes: tuple[str, ...] = ()

    @property
    def digest(self) -> str:
        """Changes when anything in the image would."""
        facts: list[object] = [self.name, self.says, self.texts, self.links, self.owned, self.changes]
        for target, source in sorted(self.files.items()):
            stat = source.stat()
            facts.append((target, str(source), stat.st_size, int(stat.st_mtime)))
        return hashlib.sha256(repr(facts).encode()).hexdigest()

    def tar(self) -> bytes:
        """Its root file system."""
        out = io.BytesIO()
        with tarfile.open(fileobj=out, mode="w") as archive:
            for path, owner in {"tmp": (0, 0), **self.owned}.items():
                entry = tarfile.TarInfo(path)
                entry.type, entry.mode = tarfile.DIRTYPE, 0o1777 if path == "tmp" else 0o755
                entry.uid, entry.gid = owner
                archive.addfile(entry)
            for path, source in self.files.items():
                with source.open("rb") as stream:
                    entry = tarfile.TarInfo(path)
                    entry.size, entry.mode = source.stat().st_size, 0o755
                    archive.addfile(entry, stream)
            for path, (text, mode) in self.texts.items():
                entry = tarfile.TarInfo(path)
                entry.size, entry.mode = len(text.encode()), mode
                archive.addfile(entry, io.BytesIO(text.encode()))
            for path, target in self.links.items():
                entry = tarfile.TarInfo(path)
                entry.type, entry.linkname = tarfile.SYMTYPE, target
                archive.addfile(entry)
        return out.getvalue()


def libraries(programs: Iterable[Path]) -> dict[str, Path]:
    """The shared libraries that `programs` load, the loader itself included, by their place in an image."""
    found: dict[str, Path] = {}
    for program in programs:
        said = subprocess.run(["ldd", str(program)], capture_output=True, text=True, check=False).stdout
        for path in re.findall(r"(/\S+\.so\S*)", said):
            found[path.lstrip("/")] = Path(path)
    return found


def base() -> Image:
    """What every image has: a shell, the usual small programs, certificates, two users."""
    busybox = Path(find_program("busybox"))
    applets = subprocess.run([str(busybox), "--list"], capture_output=True, text=True, check=True).stdout
    # What this machine trusts, and where it finds packages, so that a build on it can fetch them.
    trusted = [Path("/etc/ssl/certs/ca-certificates.crt"), Path("/etc/pip.conf")]
    return Image(
        name="",
        says="",
        files={
            "bin/busybox": busybox,
            **libraries([busybox]),
            **{str(path).lstrip("/"): path for path in trusted if path.is_file()},
        },
        texts={
            "etc/passwd": ("root:x:0:0::/:/bin/sh\nnobody:x:65534:65534::/:/bin/false\n", 0o644),
            "etc/group": ("root:x:0:\nnobody:x:65534:\n", 0o644),
        },
        links={f"bin/{applet}": "busybox" for applet in applets.split() if applet != "busybox"},
    )


def go_program(name: str, role: str, target: str, data: str, arguments: str) -> Image:
    """A server of the Prometheus family as installed here, laid out as its image is."""
    image, program = base(), Path(find_program(role)).resolve()
    image.name, image.says = name, f"{role} as installed on this machine"
    image.files |= {f"bin/{target}": program, **libraries([program])}
    # Debian takes pages and templates out of the binary.
    shared = Path("/usr/share/prometheus") / role
    if shared.is_dir():
        image.files |= {str(path).lstrip("/"): path for path in _modules(shared)}
    image.owned = {data: (65534, 65534)}
    image.changes = (f"WORKDIR /{data}", "USER nobody", f'ENTRYPOINT ["/bin/{target}"]', f"CMD {arguments}")
    return image


def python(name: str) -> Image:
    """This machine's Python with pip, under the paths it has here."""
    image = base()
    image.name, image.says = name, f"Python {sys.version.split()[0]} of this machine"
    executable = Path(getattr(sys, "_base_executable", sys.executable)).resolve()
    stdlib = Path(sysconfig.get_path("stdlib"))
    extensions = list((stdlib / "lib-dynload").glob("*.so"))
    image.files |= {str(path).lstrip("/"): path for path in [executable, *_modules(stdlib)]}
    pip = Path(sysconfig.get_path("purelib")) / "pip"
    image.files |= {str(stdlib / "pip" / path.relative_to(pip)).lstrip("/"): path for path in _modules(pip)}
    image.files |= libraries([executable, *extensions])
    # A wheel counts on the C and C++ libraries that every distribution has.
    wanted = libraries(Path(sysconfig.get_path("platlib")).glob("**/*.so"))
    image.files |= {path: source for path, source in wanted.items() if path.startswith(("lib", "usr/lib"))}
    image.links |= {f"usr/local/bin/{name}": str(executable) for name in ("python", "python3")}
    image.changes = ("ENV PATH=/usr/local/bin:/bin LANG=C.UTF-8", 'CMD ["python3"]')
    return image


def _modules(directory: Path) -> Iterator[Path]:
    for path in sorted(directory.iterdir()):
        if path.is_dir() and path.name not in NOT_SHIPPED and not path.name.startswith("config-"):
            yield from _modules(path)
        elif path.is_file() and path.suffix != ".a":
            yield path


def grafana(name: str) -> Image:
    """Not Grafana: see the script."""
    image = base()
    image.name, image.says = name, "no Grafana: a health check and a look at what Grafana would be given"
    image.texts["run.sh"] = (GRAFANA_SCRIPT, 0o755)
    image.owned = {"var/lib/grafana": (472, 0), "etc/grafana": (472, 0)}
    image.changes = ("USER 472", 'ENTRYPOINT ["/run.sh"]')
    return image


def defaults() -> dict[str, str]:
    """The versions that `.env.example` tells."""
    text = (ROOT / ".env.example").read_text()
    return dict(re.findall(r"^#?([A-Z_]+)=(.*)$", text, re.MULTILINE))


def all_images() -> list[Image]:
    """Every image that the compose file and our Dockerfile name."""
    version = defaults()
    return [
        python(f"python:{version['DECKRAILS_PYTHON_VERSION']}-slim"),
        go_program(
            f"prom/prometheus:{version['PROMETHEUS_VERSION']}",
            "prometheus",
            "prometheus",
            "prometheus",
            '["--config.file=/etc/prometheus/prometheus.yml", "--storage.tsdb.path=/prometheus"]',
        ),
        go_program(
            f"prom/alertmanager:{version['ALERTMANAGER_VERSION']}",
            "alertmanager",
            "alertmanager",
            "alertmanager",
            '["--config.file=/etc/alertmanager/alertmanager.yml", "--storage.path=/alertmanager"]',
        ),
        grafana(f"grafana/grafana:{version['GRAFANA_VERSION']}"),
    ]
