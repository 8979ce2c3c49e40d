#!/bin/sh
# Starts one of our modules: entry.sh MODULE [ARGUMENT...].
# Our own settings take secrets as files.  PostgreSQL's client wants its password file closed to others, which a
# mounted secret is not, so that one becomes the variable it also reads.
set -eu
if [ -n "${PGPASSWORD_FILE:-}" ]; then
  PGPASSWORD=$(cat "$PGPASSWORD_FILE")
  export PGPASSWORD
fi
exec python -m "$@"
