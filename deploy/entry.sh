#!/bin/sh
# Starts one of our modules: entry.sh MODULE [ARGUMENT...].
# A secret is a file.  The exporter reads it itself; what speaks to the exporter reads the variable DECK_TOKEN.
set -eu
if [ "$1" != exporter ] && [ -n "${DECK_TOKEN_FILE:-}" ]; then
  DECK_TOKEN=$(cat "$DECK_TOKEN_FILE")
  export DECK_TOKEN
  unset DECK_TOKEN_FILE
fi
exec python -m "$@"
