"""docs/client.md, and what the README shows of it, do what they say."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from dataclasses import fields
from pathlib import Path

import pytest

from exporter.deck_metrics import Counters
from exporter.deck_payload import METRIC_FIELDS
from tests.fakes.http_deck import StandInDeck

ROOT = Path(__file__).resolve().parents[2]
TEXT = (ROOT / "docs" / "client.md").read_text()


@pytest.mark.parametrize(("page", "trades"), [("docs/client.md", ["2024-000017"]), ("README.md", [])])
def test_its_first_block_runs_and_reaches_a_deck(page: str, trades: list[str], tmp_path: Path) -> None:
    """Copied as it stands; the allocator is told when PnL began, the rails what the day lost."""
    block = re.findall(r"```python\n(.*?)```", (ROOT / page).read_text(), re.DOTALL)[0]
    with StandInDeck() as deck:
        env = {**os.environ, "DECK_URL": deck.url, "DECK_SPOOL_DIR": str(tmp_path)}
        subprocess.run([sys.executable, "-c", block], check=True, env=env)
        assert list(deck.trades) == trades
        told = {name for push in deck.pushes for name in push}
        assert told == {
            "started_at",
            "equity_usd",
            "pnl_24h",
            "drawdown_pct",
            "breaker",
            "pnl_by_strategy",
        }


def test_it_names_every_variable_that_the_client_reads() -> None:
    """XDG_STATE_HOME moves the spool: whoever looks for trades must be able to know."""
    source = (ROOT / "exporter" / "deck_client.py").read_text()
    read = set(re.findall(r'environ\.get\("([A-Z_]+)"\)', source))
    assert {"DECK_URL", "XDG_STATE_HOME"} <= read
    assert {name for name in read if f"`{name}`" not in TEXT and f"`${name}`" not in TEXT} == set()


def test_it_names_every_metric_and_no_counter_that_is_not_there() -> None:
    """Names in the text equal names in the code."""
    named = set(re.findall(r"`([a-z_0-9]+)`", TEXT))
    assert {name for name in METRIC_FIELDS if name != "engine"} <= named
    counters = re.search(r"`deck\.counters`.*?\.\s", TEXT, re.DOTALL)
    assert counters is not None
    told = set(re.findall(r"`([a-z_]+)`", counters[0]))
    assert told <= {field.name for field in fields(Counters)}
    assert {"sent", "retried", "spooled", "dropped"} <= told
