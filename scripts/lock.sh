#!/usr/bin/env bash
# Rewrites requirements/*.txt: universal over the Python versions we support, hashed, no URLs.
set -euo pipefail
cd "$(dirname "$0")/.."
compile() {
  local out=$1
  shift
  .venv/bin/uv pip compile pyproject.toml "$@" --universal --python-version 3.11 --generate-hashes \
    --override requirements/overrides.txt --prerelease if-necessary-or-explicit \
    --no-emit-index-url --no-emit-find-links --no-header --quiet --output-file "$out"
}
compile requirements/all.txt --all-extras
compile requirements/server.txt --extra server
.venv/bin/uv pip compile requirements/bench.in --universal --python-version 3.11 --generate-hashes \
  --override requirements/bench-overrides.txt --no-emit-index-url --no-emit-find-links --no-header --quiet \
  --output-file requirements/bench.txt
if grep -nE 'https?://' requirements/*.txt; then
  echo 'lock: a URL got into a lock file' >&2
  exit 1
fi
