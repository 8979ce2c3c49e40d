"""Policies from TOML: only what differs, and every mistake named by its cell."""

from __future__ import annotations

import math
from pathlib import Path

import pytest

from riskrails import Policy, PolicyError, RiskRails
from riskrails.policy_toml import load_policy, policy_from_toml, policy_to_toml
from tests.riskrails.desk import call


def test_the_printed_policy_reads_back_equal() -> None:
    """Version 1 through TOML and back, infinity included."""
    back = policy_from_toml(policy_to_toml(Policy()))
    assert back == Policy()
    assert back.strategies["event"].alpha == math.inf


def test_a_file_changes_only_what_it_says(tmp_path: Path) -> None:
    """One constant, one cell of a row, a new row: the rest is version 1's."""
    file = tmp_path / "policy.toml"
    file.write_text(
        "version = 7\nr_max = 0.008\n[strategies.momentum]\nk = 2.5\n"
        "[timeframes.6h]\nminutes = 360\natr_ref = 0.026\natr_max = 0.25\n"
    )
    policy = load_policy(file)
    assert (policy.version, policy.r_max, policy.h_max) == (7, 0.008, 0.06)
    assert policy.strategies["momentum"] == Policy().strategies["momentum"]._replace(k=2.5)
    assert policy.strategies["scalp"] == Policy().strategies["scalp"]
    order = RiskRails(policy).compute_order(**call(base_tf="6h", atr_pct=0.026))
    assert order.stop_pct == pytest.approx(0.065)
    assert order.policy_version == 7


def test_an_empty_file_is_version_one() -> None:
    """Nothing said, nothing changed."""
    assert policy_from_toml("") == Policy()
    assert policy_from_toml("version = 1") == Policy()
    assert policy_from_toml("r_max = 0.01\n[strategies.scalp]\nk = 1.2") == Policy()


@pytest.mark.parametrize(
    ("text", "field", "says"),
    [
        ("r_max = ", "policy", "not TOML"),
        ("version = 0\nr_max = 0.008", "version", "want a whole number of at least 1"),
        ("r_max = 0.008", "version", "version=1: r_max is not version 1's, so want a version of your own"),
        ("version = 1\nkelly_enabled = true", "version", "kelly_enabled is not version 1's"),
        ("[strategies.scalp]\nk = 1.3", "version", "strategies.scalp.k is not version 1's"),
        (
            "[timeframes.6h]\nminutes = 360\natr_ref = 0.026\natr_max = 0.25",
            "version",
            "timeframes.6h is not version 1's",
        ),
        ("version = 2.5", "version", "version=2.5"),
        ("version = 2\nr_mx = 0.01", "r_mx", "did you mean r_max?"),
        ("version = 2\nzzz = 0.01", "zzz", "want one of version"),
        ("version = 2\nr_max = 1.2", "r_max", "r_max=1.2: want a fraction, 0.012 for 1.2 %"),
        ("version = 2\nr_max = 0", "r_max", "above 0"),
        ("version = 2\nr_max = nan", "r_max", "r_max=nan"),
        ("version = 2\nr_max = inf", "r_max", "r_max=inf"),
        ("version = 2\nr_max = true", "r_max", "is not a number"),
        ('version = 2\nr_max = "1 %"', "r_max", "is not a number"),
        ("version = 2\nr_max = 0.07", "r_max", "want r_max ≤ h_max"),
        ("version = 2\nmax_positions = 2.5", "max_positions", "want a whole number"),
        ("version = 2\nkelly_enabled = 1", "kelly_enabled", "want true or false"),
        ("version = 2\nkelly_confidence = 1", "kelly_confidence", "below 1"),
        ("version = 2\ndd_soft = 0.2", "dd_soft", "want dd_soft < dd_max"),
        ("version = 2\nvelocity_soft = 5", "velocity_soft", "want velocity_soft < velocity_hard"),
        ("version = 2\nfunding_soft = 0.003", "funding_soft", "want funding_soft < funding_hard"),
        ("version = 2\nfee_maker_bps = 6", "fee_maker_bps", "at most fee_taker_bps"),
        ("version = 2\nstrategies = 3", "strategies", "want a table of rows"),
        ("version = 2\nstrategies.scalp = 3", "strategies.scalp", "want a table of cells"),
        ("version = 2\n[strategies.scalp]\nkk = 3", "strategies.scalp.kk", "did you mean k?"),
        ("version = 2\n[strategies.scalp]\nk = -1", "strategies.scalp.k", "strategies.scalp.k=-1"),
        ("version = 2\n[strategies.scalp]\nstress = 1.5", "strategies.scalp.stress", "a multiplier"),
        ("version = 2\n[strategies.scalp]\nlev_max = 0.5", "strategies.scalp.lev_max", "from 1"),
        ("version = 2\n[strategies.swing]\nk = 2", "strategies.swing.type_risk", "is missing"),
        ("version = 2\n[timeframes.1h]\nminutes = 60.5", "timeframes.1h.minutes", "want a whole number"),
        ("version = 2\n[timeframes.1h]\natr_ref = 0.9", "timeframes.1h.atr_ref", "want atr_ref ≤ atr_max"),
        ("version = 2\n[timeframes.1h]\natr_ref = 0.0001", "timeframes.1h.atr_ref", "no order could pass"),
    ],
)
def test_a_mistake_is_named_by_its_cell(text: str, field: str, says: str) -> None:
    """The error's field is the cell, its message what came and what was wanted."""
    with pytest.raises(PolicyError) as caught:
        policy_from_toml(text)
    assert caught.value.field == field
    assert says in str(caught.value)
    assert caught.value.code == "E_POLICY"


def test_a_file_that_is_not_there_is_an_oserror(tmp_path: Path) -> None:
    """Reading is the caller's business; the name stands in the message."""
    with pytest.raises(OSError, match=r"none\.toml"):
        load_policy(tmp_path / "none.toml")


@pytest.mark.parametrize("table", ["timeframes", "strategies"])
@pytest.mark.parametrize("rows", [{}, [], 5, None, {"": 1}, {5: 1}])
def test_a_table_is_a_mapping_of_named_rows(table: str, rows: object) -> None:
    """An empty table, none at all, a row without a name: refused by the table's name."""
    with pytest.raises(PolicyError) as caught:
        Policy(**{table: rows})  # type: ignore[arg-type]
    assert caught.value.field == table


def test_two_cells_may_meet_where_one_bounds_the_other() -> None:
    """The largest risk is all the open risk; makers pay what takers do; a stop has one width."""
    assert Policy(r_max=0.06, h_max=0.06).r_max == 0.06
    assert Policy(fee_maker_bps=5.0, fee_taker_bps=5.0).fee_maker_bps == 5.0
    day = Policy().timeframes["1d"]
    assert Policy(timeframes={"1d": day._replace(atr_ref=0.2, atr_max=0.2)}).timeframes["1d"].atr_ref == 0.2
    narrow = Policy(timeframes={"1d": day}, stop_floor_min=0.05, stop_max=0.05)
    assert (narrow.stop_floor_min, narrow.stop_max) == (0.05, 0.05)
