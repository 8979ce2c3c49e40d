"""The pages of the rails and the policy say the same."""

from __future__ import annotations

import csv
import gzip
import math
import re
from collections.abc import Mapping
from dataclasses import fields
from pathlib import Path

import numpy as np
import pytest

from riskrails import Policy, StrategyRow, TimeframeRow
from riskrails.order import MODES, REASONS, WARNINGS

ROOT = Path(__file__).resolve().parents[2]
PAGES = sorted((ROOT / "docs" / "rails").glob("*.md"))
POLICY = Policy()


def documented(page: Path) -> dict[str, str]:
    """The rows of a page's table of constants."""
    return dict(re.findall(r"^\| (\S+) \| (\S+) \|$", page.read_text(encoding="utf-8"), re.MULTILINE))


def in_force() -> dict[str, str]:
    """Every constant of the policy, as the pages write it."""
    known: dict[str, object] = {}
    for field in fields(Policy):
        value = getattr(POLICY, field.name)
        if isinstance(value, Mapping):
            for name, row in value.items():
                known |= {f"{field.name}.{name}.{column}": cell for column, cell in row._asdict().items()}
        elif field.name != "version":
            known[field.name] = value
    return {
        name: "inf" if value == math.inf else str(value).lower() if isinstance(value, bool) else repr(value)
        for name, value in known.items()
    }


def test_there_is_a_page_for_each_rail() -> None:
    """Twenty-six rails, twenty-six pages."""
    assert len(PAGES) == 26


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.stem)
def test_a_page_states_the_constants_in_force(page: Path) -> None:
    """Each constant on a page has the policy's value, and the page has all its parts."""
    known = in_force()
    stated = {name: value for name, value in documented(page).items() if name not in {"constant", "---"}}
    assert stated
    for name, value in stated.items():
        assert known.get(name) == value, name
    text = page.read_text(encoding="utf-8")
    for part in (
        "```text",
        "**Units.**",
        "## Constants",
        "**Why these.**",
        "**Source.**",
        "**Change it when**",
    ):
        assert part in text, part


def test_every_constant_has_its_page() -> None:
    """No number of the policy is without its reason, and none has two."""
    stated = [name for page in PAGES for name in documented(page) if name not in {"constant", "---"}]
    assert sorted(stated) == sorted(in_force())
    assert TimeframeRow._fields
    assert StrategyRow._fields


def test_every_code_is_explained() -> None:
    """Each reason, warning and mode is named on a page."""
    text = "\n".join(page.read_text(encoding="utf-8") for page in [*PAGES, ROOT / "docs" / "riskrails.md"])
    for code in (*REASONS, *WARNINGS, *MODES):
        assert re.search(rf"\b{code}\b", text), code


@pytest.mark.parametrize(("tf", "hours"), [("1h", 1), ("2h", 2), ("4h", 4), ("12h", 12), ("1d", 24)])
def test_the_reference_atr_is_that_of_real_bitcoin(tf: str, hours: int) -> None:
    """Median ATR(14)/price of Coinbase's BTC-USD hours of 2017 to 2019, within 3 %; none reaches atr_max."""
    with gzip.open(
        ROOT / "examples" / "data" / "btcusd_1h_coinbase.csv.gz", "rt", encoding="utf-8"
    ) as stream:
        rows = [[float(row[name]) for name in ("high", "low", "close")] for row in csv.DictReader(stream)]
    bars = np.array(rows[: len(rows) // hours * hours]).reshape(-1, hours, 3)
    high, low, close = bars[:, :, 0].max(axis=1), bars[:, :, 1].min(axis=1), bars[:, -1, 2]
    before = np.concatenate([close[:1], close[:-1]])
    true_range = np.maximum(high, before) - np.minimum(low, before)
    atr_pct = np.convolve(true_range, np.full(14, 1 / 14), mode="valid") / close[13:]
    frame = POLICY.timeframes[tf]
    assert float(np.median(atr_pct)) == pytest.approx(frame.atr_ref, rel=0.03)
    assert float(atr_pct.max()) < frame.atr_max
