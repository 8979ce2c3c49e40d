"""The image's health check: exit status 0 if a URL answers 2xx, 1 with a line that says why if not.

`healthcheck.py URL` asks for any 2xx; `healthcheck.py --pushing URL` also wants the exporter status there to
show equity pushed within the last minute.  The image has no curl, and this needs nothing but Python.
"""

from __future__ import annotations

import json
import os
import ssl
import sys
import urllib.request
from collections.abc import Mapping, Sequence
from pathlib import Path

TIMEOUT_SECONDS = 5.0
FRESH_SECONDS = 60.0
"""The age at which the recording rules stop believing a pushed gauge."""


def fetch(url: str, environ: Mapping[str, str]) -> bytes:
    """The body behind `url`, with the token that the environment names.

    Where the service was told to speak TLS (DECK_TLS_CERT) so does the check, and trusts that certificate
    alone: the name in it is not 127.0.0.1.

    Raises:
        OSError: Nobody answers, or not with 2xx; or a file is missing.
        ValueError: Not a URL.
    """
    context = None
    certificate = environ.get("DECK_TLS_CERT")
    if certificate:
        url = url.replace("http://", "https://", 1)
        context = ssl.create_default_context(cafile=certificate)
        context.check_hostname = False
    token_file = environ.get("DECK_TOKEN_FILE")
    token = Path(token_file).read_text(encoding="utf-8").strip() if token_file else environ.get("DECK_TOKEN")
    headers = {"Authorization": f"Bearer {token}"} if token else {}
    request = urllib.request.Request(url, headers=headers)  # noqa: S310 - compose names the URL, not a user
    with urllib.request.urlopen(request, timeout=TIMEOUT_SECONDS, context=context) as answer:  # noqa: S310
        return bytes(answer.read())


def pushing_problem(status: object) -> str | None:
    """Why the engine does not count as pushing, or None if it does.

    Args:
        status: What the exporter's `GET /status` answered.
    """
    metrics = status.get("metrics") if isinstance(status, dict) else None
    equity = metrics.get("equity_usd") if isinstance(metrics, dict) else None
    age = equity.get("age_seconds") if isinstance(equity, dict) else None
    if not isinstance(age, (int, float)):
        return "no equity was ever pushed"
    if age >= FRESH_SECONDS:
        return f"equity was pushed {age:.0f} s ago: want less than {FRESH_SECONDS:.0f}"
    return None


def main(argv: Sequence[str], environ: Mapping[str, str]) -> int:
    """Check once; the exit status."""
    urls = [word for word in argv if not word.startswith("--")]
    if len(urls) != 1:
        sys.stderr.write("usage: healthcheck.py [--pushing] URL\n")
        return 1
    try:
        body = fetch(urls[0], environ)
        problem = pushing_problem(json.loads(body)) if "--pushing" in argv else None
    except (OSError, ValueError) as error:
        problem = f"{urls[0]}: {error}"
    if problem is not None:
        sys.stderr.write(problem + "\n")
    return 1 if problem else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:], os.environ))
