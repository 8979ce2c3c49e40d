#!/usr/bin/env bash
# Prepares .venv and what the system must have.  setup.sh [up|run|test|bench]
#   up     Python packages alone: enough for `make up`, where Docker brings the rest
#   run    Python packages, Prometheus and Alertmanager: enough for `make demo`
#   test   also what the tests talk to: Pushgateway, PostgreSQL, VictoriaMetrics, Node.js; for root, Docker
#   bench  also wrk and the peers' own environment
# Each step checks before it acts, so a second run is quick and a broken run can be repeated.
set -euo pipefail
cd "$(dirname "$0")/.."
what=${1:-run}

say() { printf 'setup: %s\n' "$*"; }
stop() { printf 'setup: %s\n' "$*" >&2; exit 1; }

# program → Debian package.  Debian keeps PostgreSQL's server programs off PATH.
have() {
  case $1 in
    initdb) command -v initdb >/dev/null || compgen -G '/usr/lib/postgresql/*/bin/initdb' >/dev/null ;;
    venv) "$python" -c 'import ensurepip, venv' 2>/dev/null ;;
    *) command -v "$1" >/dev/null ;;
  esac
}

install_debian() {
  say "installing Debian packages: $*"
  # Debian starts a service as it installs it, and that would hold the ports the stack needs.
  local policy=/usr/sbin/policy-rc.d
  if [ ! -e "$policy" ]; then
    printf '#!/bin/sh\nexit 101\n' >"$policy"
    chmod 755 "$policy"
    trap 'rm -f /usr/sbin/policy-rc.d' EXIT
  fi
  export DEBIAN_FRONTEND=noninteractive
  apt-get update -qq || say "apt-get update failed; trying with the package lists at hand"
  apt-get install -y -qq --no-install-recommends "$@" >/dev/null
}

# Debian 12 packages Compose 1.29 alone.  Its successor's package of Compose v2 is one program that runs here too:
# unpacked for the tests to call, from the mirrors and with the keys this system has; nothing is installed.
compose_v2=$PWD/.tools/docker-compose
unpack_compose_v2() {
  local codename at
  codename=$(. /etc/os-release && printf '%s' "${VERSION_CODENAME:-}")
  [ "$codename" = bookworm ] || return 1
  say "unpacking Compose v2 from the next Debian for the tests"
  at=$(mktemp -d)
  chmod 755 "$at"
  mkdir -p "$at/sources" "$at/lists/partial" "$at/cache/archives/partial" .tools
  local file
  for file in /etc/apt/sources.list /etc/apt/sources.list.d/*.list /etc/apt/sources.list.d/*.sources; do
    # Of foreign repositories nothing is wanted, and they may not know the other release.
    [ -e "$file" ] && grep -q debian "$file" && sed "s/$codename/trixie/g" "$file" >"$at/sources/${file##*/}"
  done
  [ ! -e "$at/sources/sources.list" ] || mv "$at/sources/sources.list" "$at/sources/main.list"
  local apt=(apt-get -qq -o Dir::Etc::sourcelist=/dev/null -o "Dir::Etc::sourceparts=$at/sources"
    -o "Dir::State::lists=$at/lists" -o "Dir::Cache=$at/cache" -o Acquire::Languages=none -o APT::Sandbox::User=root)
  local status=0
  "${apt[@]}" update && (cd "$at" && "${apt[@]}" download docker-compose && dpkg -x docker-compose_*.deb tree) &&
    install -m 755 "$at/tree/usr/libexec/docker/cli-plugins/docker-compose" "$compose_v2" &&
    "$compose_v2" version >/dev/null || status=1
  [ "$status" = 0 ] || rm -f "$compose_v2"
  rm -rf "$at"
  return "$status"
}

find_python() {
  local candidate
  for candidate in ${PYTHON:-} python3.11 python3 python3.12 python3.13; do
    if "$candidate" -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null; then
      command -v "$candidate"
      return
    fi
  done
  return 1
}
python=$(find_python) || python=
packages=()
need() { have "$1" || packages+=("$2"); }
[ -n "$python" ] || { packages+=(python3); python=python3; }
need venv python3-venv
if [ "$what" != up ]; then
  need prometheus prometheus
  need alertmanager prometheus-alertmanager
  command -v prometheus-alertmanager >/dev/null && packages=("${packages[@]/prometheus-alertmanager/}")
fi
if [ "$what" = test ] || [ "$what" = bench ]; then
  need prometheus-pushgateway prometheus-pushgateway
  need initdb postgresql
  need victoria-metrics victoria-metrics
  need node nodejs
  need curl curl
  need npm npm
  need openssl openssl
fi
[ "$what" = bench ] && need wrk wrk
# Removing an entry above leaves an empty string behind.
mapfile -t packages < <(printf '%s\n' "${packages[@]}" | sed '/^$/d')

if [ "${#packages[@]}" -gt 0 ]; then
  if command -v apt-get >/dev/null && [ "$(id -u)" = 0 ]; then
    install_debian "${packages[@]}" ||
      stop "apt-get could not install: ${packages[*]}. Install them by hand, then run the same command again."
    if [ -d /run/systemd/system ]; then
      for package in "${packages[@]}"; do
        case $package in
          prometheus | prometheus-* | victoria-metrics)
            systemctl disable --now "$package" >/dev/null 2>&1 || say "could not disable the service $package" ;;
        esac
      done
    fi
  elif command -v apt-get >/dev/null; then
    stop "missing: ${packages[*]}. Run: sudo apt-get install --no-install-recommends ${packages[*]}   then the same command again."
  else
    stop "missing programs; this system has no apt-get. Put prometheus, alertmanager$([ "$what" = run ] || printf ', pushgateway, PostgreSQL, victoria-metrics, node and npm') on PATH (Debian names: ${packages[*]}), then run the same command again."
  fi
fi
# Docker's engine and the proxy are the tests' choice, not their need: without them they say so.
if [ "$what" = test ] && [ "$(id -u)" = 0 ] && command -v apt-get >/dev/null; then
  packages=()
  need dockerd docker.io
  docker compose version >/dev/null 2>&1 || need docker-compose docker-compose
  need busybox busybox
  need haproxy haproxy
  [ "${#packages[@]}" = 0 ] || install_debian "${packages[@]}" || say "not installed; the tests that need them are skipped"
  docker compose version >/dev/null 2>&1 || [ -x "$compose_v2" ] || unpack_compose_v2 ||
    say "no Compose v2 to be had; the tests that need it are skipped"
fi
python=$(find_python) || stop "no Python 3.11 or newer; install one or set PYTHON=/path/to/python3.11"

lock=requirements/all.txt
stamp=.venv/.installed
want=$(cat "$lock" pyproject.toml grafana/shim/*.toml grafana/shim/*.py | sha256sum)
if [ ! -x .venv/bin/python ] || ! .venv/bin/python -c '' 2>/dev/null; then
  say "creating .venv with $("$python" --version)"
  rm -rf .venv
  "$python" -m venv .venv || stop "could not create .venv with $python"
fi
if [ "$(cat "$stamp" 2>/dev/null)" != "$want" ]; then
  say "installing the locked Python packages (a minute or two)"
  # The lock is complete and hashed, so pip resolves nothing.
  .venv/bin/python -m pip install -q --disable-pip-version-check --no-deps --require-hashes -r "$lock" ||
    stop "pip could not install $lock; is the package index reachable?"
  .venv/bin/python -m pip install -q --disable-pip-version-check --no-deps --no-build-isolation -e . ||
    stop "pip could not install this checkout"
  # What the dashboard builder names and does not need (see grafana/shim); with it `pip check` is clean.
  # Built from a copy, so that no build output is left in the checkout.
  shim=$(mktemp -d)
  cp grafana/shim/*.toml grafana/shim/*.py "$shim"
  .venv/bin/python -m pip install -q --disable-pip-version-check --no-deps --no-build-isolation "$shim" ||
    stop "pip could not install grafana/shim"
  rm -rf "$shim"
  printf '%s' "$want" >"$stamp"
fi
say "ready ($what)"
