"""docs/client.md does what it says."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from dataclasses import fields
from pathlib import Path

from exporter.deck_metrics import Counters
from exporter.deck_payload import METRIC_FIELDS
from tests.fakes.http_deck import StandInDeck

TEXT = (Path(__file__).resolve().parents[2] / "docs" / "client.md").read_text()


def test_its_first_block_runs_and_reaches_a_deck(tmp_path: Path) -> None:
    """Copied as it stands."""
    block = re.findall(r"```python\n(.*?)```", TEXT, re.DOTALL)[0]
    with StandInDeck() as deck:
        env = {**os.environ, "DECK_URL": deck.url, "DECK_SPOOL_DIR": str(tmp_path)}
        subprocess.run([sys.executable, "-c", block], check=True, env=env)
        assert list(deck.trades) == ["2024-000017"]
        told = {name for push in deck.pushes for name in push}
        assert told == {"equity_usd", "drawdown_pct", "breaker", "pnl_by_strategy"}


def test_it_names_every_metric_and_no_counter_that_is_not_there() -> None:
    """Names in the text equal names in the code."""
    named = set(re.findall(r"`([a-z_0-9]+)`", TEXT))
    assert {name for name in METRIC_FIELDS if name != "engine"} <= named
    counters = re.search(r"`deck\.counters`.*?\.\s", TEXT, re.DOTALL)
    assert counters is not None
    told = set(re.findall(r"`([a-z_]+)`", counters[0]))
    assert told <= {field.name for field in fields(Counters)}
    assert {"sent", "retried", "spooled", "dropped"} <= told
