"""`python -m riskrails` as a shell user meets it."""

from __future__ import annotations

import json
import shlex
from pathlib import Path

import pytest

from riskrails import Policy
from riskrails.__main__ import main
from riskrails.policy_toml import policy_from_toml

WORKED = shlex.split(
    "explain --strat momentum --tf 1h --price 60000 --atr-pct .009 --spread-bps 1 --depth 1e8 --vol1m 1e8 "
    "--funding .0001 --event-heat .1 --liq-score .9 --share .25 --regime trend"
)


def test_explain_shows_the_worked_example(capsys: pytest.CaptureFixture[str]) -> None:
    """Size, stop, loss, risk, every cap with the binding one marked, every multiplier; exit status 0."""
    assert main(WORKED) == 0
    text = capsys.readouterr().out
    for part in ("TAKER 21,884.23 USD", "1.800%", "2.113%", "462.50 USD", "<- binding", "m 0.925"):
        assert part in text
    assert len([line for line in text.splitlines() if line.startswith("  cap ")]) == 8


@pytest.mark.parametrize("tf", Policy().timeframes)
def test_the_usual_range_of_the_timeframe_stands_in_for_an_atr(
    tf: str, capsys: pytest.CaptureFixture[str]
) -> None:
    """Three answers make a what-if: without --atr-pct the order is that of the policy's atr_ref."""
    short = ["explain", "--strat", "trend", "--tf", tf, "--price", "50000"]
    main(short)
    without = capsys.readouterr().out
    main([*short, "--atr-pct", str(Policy().timeframes[tf].atr_ref)])
    assert capsys.readouterr().out == without
    assert "BAD_ATR" not in without


def test_json_is_the_order(capsys: pytest.CaptureFixture[str]) -> None:
    """With --json one line of JSON with every field of the order."""
    assert main([*WORKED, "--json", "--drawdown", ".12"]) == 0
    order = json.loads(capsys.readouterr().out)
    assert round(order["size_usd"]) == 11_672
    assert order["caps"]["order_notional"] == 50_000.0


def test_every_option_reaches_the_order(capsys: pytest.CaptureFixture[str]) -> None:
    """Venue, exposures, leverage, name and regime as numbers change what they should."""
    extra = shlex.split(
        "--name m1 --step .001 --tick 1 --min-qty .01 --min-notional 50 --max-notional 900 "
        "--held ETH-USD=-5000 --held BTC-USD=100 --exposure 5100 --positions 2 --open-risk .01 "
        "--leverage 1.5 --regime .5 --json --equity 50000 --velocity 1 --symbol BTC-USD"
    )
    assert main([*WORKED, *extra]) == 0
    order = json.loads(capsys.readouterr().out)
    assert (order["strat_name"], order["binding"], order["qty"]) == ("m1", "venue", 0.015)
    assert order["caps"]["leverage"] == 1.5 * 50_000 - 5_100
    assert order["caps"]["exposure_symbol"] == 0.75 * 50_000 - 100
    assert order["leverage"] == 1.5
    assert order["multipliers"]["m_regime"] == pytest.approx(0.9)
    assert order["stop_price_long"] == 58_920.0


def test_a_refused_order_says_why_and_exits_with_one(capsys: pytest.CaptureFixture[str]) -> None:
    """A breaker, a percent for a fraction: the sentence stands in the table."""
    assert main([*WORKED, "--breaker", "manual"]) == 1
    assert "REDUCE" in (text := capsys.readouterr().out)
    assert "breaker manual is open" in text
    assert main([*WORKED, "--atr-pct", "0.9"]) == 1
    assert (
        "atr_pct=0.9: want a fraction of price, 0.012 for 1.2 %, at most 0.12 for 1h"
        in capsys.readouterr().out
    )


@pytest.mark.parametrize(
    ("extra", "says"),
    [
        (["--strat", "swing"], "want one of scalp, momentum, trend, event"),
        (["--tf", "7m"], "want one of 1m, 3m"),
        (["--share", "25"], "want a share from 0 to 1"),
        (["--drawdown", "12"], "0.12 for 12 %"),
        (["--leverage", "-2"], "leverage_allowed=-2.0"),
        (["--positions", "-1"], "open_positions=-1"),
        (["--step", "abc"], "qty_step='abc'"),
        (["--held", "A=1", "--held", "B=1", "--held", "A=2"], "--held A=2 after A=1: want each symbol once"),
        (
            ["--policy", "/nowhere/policy.toml"],
            "--policy /nowhere/policy.toml: No such file or directory: want a TOML",
        ),
        (["--policy", "/"], "--policy /: Is a directory: want a TOML file"),
    ],
)
def test_a_call_that_makes_no_sense_exits_with_two(
    extra: list[str], says: str, capsys: pytest.CaptureFixture[str]
) -> None:
    """One line on stderr that says what was wanted, no traceback."""
    assert main([*WORKED, *extra]) == 2
    captured = capsys.readouterr()
    assert captured.out == ""
    assert captured.err.startswith("riskrails: ")
    assert says in captured.err
    assert len(captured.err.splitlines()) == 1


def test_what_is_held_is_the_exposure_without_another(capsys: pytest.CaptureFixture[str]) -> None:
    """Longs and shorts count alike, and no mismatch is warned of; --exposure, where given, is compared."""
    held = ["--held", "ETH-USD=-5000", "--held", "SOL-USD=2000", "--json"]
    assert main([*WORKED, *held]) == 0
    order = json.loads(capsys.readouterr().out)
    assert order["caps"]["exposure_total"] == 193_000.0
    assert "EXPOSURE_MISMATCH" not in order["warnings"]
    assert main([*WORKED, *held, "--exposure", "0"]) == 0
    assert "EXPOSURE_MISMATCH" in json.loads(capsys.readouterr().out)["warnings"]


def test_help_shows_defaults_only_where_there_are_some(capsys: pytest.CaptureFixture[str]) -> None:
    """No required option claims a default of None."""
    with pytest.raises(SystemExit):
        main(["explain", "--help"])
    text = capsys.readouterr().out
    assert "(default: None)" not in text
    assert "(default: [])" not in text
    assert "basis points of mid (default: 1.0)" in " ".join(text.split())
    assert text.isascii(), "what stands there can be typed"


def test_a_leverage_that_is_none_says_what_was_wanted(capsys: pytest.CaptureFixture[str]) -> None:
    """The sentence a user can mend the call by, not the name of a function."""
    with pytest.raises(SystemExit):
        main([*WORKED, "--leverage", "abc"])
    assert "argument --leverage: 'abc': want true, false or a number, 2.5 for 2.5x" in capsys.readouterr().err


@pytest.mark.parametrize(
    "extra", [["--held", "BTC-USD"], ["--held", "=5"], ["--held", "A=x"], ["--price", "high"]]
)
def test_an_option_of_the_wrong_shape_is_argparses_business(
    extra: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    """Usage and the option's name on stderr, exit status 2."""
    with pytest.raises(SystemExit) as caught:
        main([*WORKED, *extra])
    assert caught.value.code == 2
    assert extra[0] in capsys.readouterr().err


@pytest.mark.parametrize("regime", ["−1", "-1.01", "2", "nan", "bull", "Trend", ""])
def test_a_regime_that_is_none_is_refused(regime: str, capsys: pytest.CaptureFixture[str]) -> None:
    """A misspelt one would be sized as unknown, and look like an answer; a true minus sign is one."""
    with pytest.raises(SystemExit) as caught:
        main([*WORKED, "--regime", regime])
    assert caught.value.code == 2
    says = f"argument --regime: {regime!r}: want stress, neutral, trend or a number from -1 to 1"
    assert says in capsys.readouterr().err


@pytest.mark.parametrize(("regime", "multiplier"), [("-1", 0.5), ("0", 0.8), ("1", 1.0), ("stress", 0.5)])
def test_the_ends_of_the_regimes_are_known(
    regime: str, multiplier: float, capsys: pytest.CaptureFixture[str]
) -> None:
    """Both ends of the range and a label are sized without a warning."""
    main([*WORKED, "--regime", regime, "--json"])
    order = json.loads(capsys.readouterr().out)
    assert order["multipliers"]["m_regime"] == multiplier
    assert "REGIME_UNKNOWN" not in order["warnings"]


def test_a_policy_that_is_no_text_says_what_was_wanted(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """A picture for a policy is named, not decoded."""
    file = tmp_path / "odd.toml"
    file.write_bytes(b"\xff\xfe")
    assert main(["policy", "--policy", str(file)]) == 2
    assert f"--policy {file}: not UTF-8: want a TOML file" in capsys.readouterr().err


def test_policy_prints_what_it_reads(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """The printed policy reads back equal; a file is checked and completed."""
    assert main(["policy"]) == 0
    assert policy_from_toml(capsys.readouterr().out) == Policy()
    file = tmp_path / "mine.toml"
    file.write_text("version = 2\nr_max = 0.004\n")
    assert main(["policy", "--policy", str(file)]) == 0
    assert policy_from_toml(capsys.readouterr().out) == Policy(version=2, r_max=0.004)
    assert main([*WORKED, "--policy", str(file), "--json"]) == 0
    order = json.loads(capsys.readouterr().out)
    assert (order["policy_version"], order["risk_usd"]) == (2, pytest.approx(100_000 * 0.004 * 0.925))
