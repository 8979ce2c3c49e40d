"""`python -m tests.riskrails.mutate`: break the arithmetic on purpose, and see whether it shows.

The single call and the batch are written apart and must agree to the last bit; each is the other's test.  A
mutant of a function is killed when any of some thousand calls, edges of every band and gate among them, gives
another answer than the original did.  A general tool would copy these long functions once per mutant; here a
mutant is a changed syntax tree whose code is put in the function's place, and taken out again.
"""

from __future__ import annotations
import __future__

import argparse
import ast
import contextlib
import copy
import functools
import importlib
import inspect
import io
import itertools
import random
import sys
import types
from collections import Counter
from collections.abc import Callable, Iterator
from concurrent.futures import ProcessPoolExecutor
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from riskrails import EdgeStatistics, Policy, RiskInputError, RiskRails, RiskState, VenueRules
from tests.riskrails.desk import call

POLICY = Policy()
SYMBOLS = ("BTC-USD", "ETH-USD", "XRP-USD")
CALLS = ("stops", "caps", "cells", "policy", "features", "venue", "state", "refusals", "rails", "adapter")
"""Modules whose mutants are put to the single call."""
BATCHES = ("batch", "columns", "orders")
"""Modules whose mutants are put to the batch."""
TESTS = {
    # What the calls cannot see, because another function hides it or none of them meets it, these may.
    "stops": ("test_formulas.py",),
    "caps": ("test_formulas.py",),
    "cells": ("test_formulas.py",),
    "policy": ("test_formulas.py", "test_policy_toml.py"),
    "tables": ("test_policy_toml.py",),
    "features": ("test_bad_input.py",),
    "refusals": ("test_edges.py", "test_bad_input.py", "test_rails.py", "test_venue.py"),
    "venue": ("test_venue.py",),
    "state": ("test_state.py",),
    "rails": ("test_rails.py", "test_state.py", "test_batch.py"),
    "adapter": ("test_edges.py", "test_bad_input.py", "test_venue.py"),
    "breakers": ("test_breakers.py",),
    "batch": ("test_edges.py", "test_batch.py"),
    "columns": ("test_edges.py", "test_batch.py"),
    "order": ("test_explain.py", "test_rails.py", "test_main.py"),
    "orders": ("test_rails.py", "test_batch.py"),
    "policy_toml": ("test_policy_toml.py", "test_main.py"),
}
SURVIVORS = Path(__file__).with_name("survivors.txt")
COMPARE: dict[type[ast.cmpop], type[ast.cmpop]] = {
    ast.Lt: ast.LtE,
    ast.LtE: ast.Lt,
    ast.Gt: ast.GtE,
    ast.GtE: ast.Gt,
    ast.Eq: ast.NotEq,
    ast.NotEq: ast.Eq,
    ast.Is: ast.IsNot,
    ast.IsNot: ast.Is,
    ast.In: ast.NotIn,
    ast.NotIn: ast.In,
}
ARITHMETIC: dict[type[ast.operator], type[ast.operator]] = {
    ast.Add: ast.Sub,
    ast.Sub: ast.Add,
    ast.Mult: ast.Div,
    ast.Div: ast.Mult,
    ast.BitAnd: ast.BitOr,
    ast.BitOr: ast.BitAnd,
}


def corpus(count: int) -> list[tuple[int, dict[str, Any]]]:
    """Calls from everywhere, each with the desk it is made at; values on the edges come up often."""
    rng = random.Random(11)

    def pick(low: float, high: float, *edges: Any) -> Any:
        return rng.choice(edges) if rng.random() < 0.25 else rng.uniform(low, high)

    made = []
    for _ in range(count):
        tf = rng.choice(list(POLICY.timeframes))
        frame = POLICY.timeframes[tf]
        kind = rng.choice(list(POLICY.strategies))
        widest = POLICY.strategies[kind].max_spread_bps
        equity = pick(1e3, 1e6, 1e5, 1e5, 0.0, -1.0, 1e15, 0.5, 10.0)
        gross = rng.choice([0.0, 0.0, 0.3, 1.0, 2.0, 2.5]) * max(equity, 1.0)
        own = rng.choice([0.0, 0.1, 0.75, -0.75, 0.9]) * max(equity, 1.0)
        bad = rng.choice([None, float("nan"), "x", -1.0, 2.0, float("inf"), True])
        call_ = call(
            strat_name=rng.choice(["a", "b", "c", "d"]),
            strat_type=kind,
            base_tf=tf,
            leverage_allowed=rng.choice([True, False, 0, 1.5, 9]),
            symbol=rng.choice(SYMBOLS),
            price=pick(1e-2, 1e5, 1.0, 100.0, 1e-15, 1e15, 0.0),
            atr_pct=pick(
                frame.atr_ref / 10,
                frame.atr_ref * 2.9,
                frame.atr_ref,
                0.0,
                frame.atr_max,
                1.5 * frame.atr_ref,
            ),
            spread_bps=pick(0, widest, widest, widest / 2, widest * 1.01, 0.0, 1e4),
            depth10bps_usd=pick(1e4, 1e7, 0.0, 1e15, 100.0, 1.0),
            vol1m_usd=pick(1e4, 1e7, 0.0, 1e15, 40.0, 1e5),
            funding=pick(-0.002, 0.002, 0.003, -0.003, 0.0005, 0.03, -0.03, 0.0),
            event_heat=pick(0, 0.8, 0.0, 0.5, 0.9, 1.0),
            velocity=pick(-3, 3, 2.0, -2.0, 5.0, -5.0, 6.0, -6.0, 0.0),
            liq_score=pick(0.2, 1, 0.0, 0.15, 1.0),
            equity_usd=equity,
            open_risk_sum_pct=pick(0, 0.05, 0.06, 0.07, 0.0, 1.0),
            open_positions=rng.choice([0, 3, 7, 8, 9]),
            exposure_total_usd=gross,
            exposure_by_symbol=rng.choice([{}, {"BTC-USD": own}, {"ETH-USD": gross * 1.01, "BTC-USD": 0}]),
            regime_signal=rng.choice(
                ["stress", "neutral", "trend", None, 0.3, -0.4, -1.0, 1.0, 0.0, 1.5, -1.5]
            ),
        )
        if rng.random() < 0.1:
            name = rng.choice(
                [*type(call_["live"]).__slots__[1:], "equity_usd", "open_risk_sum_pct", "exposure_total_usd"]
            )
            if name in call_:
                call_[name] = bad
            else:
                call_["live"] = replace(call_["live"], **{name: bad})
        made.append((rng.randrange(4), call_))
    return made


def desks() -> list[RiskRails]:
    """Four desks: calm, halted in drawdown with stale shares, Kelly with every venue rule, wide open."""
    rules = {
        "BTC-USD": VenueRules(qty_step="0.001", price_tick="0.5", min_qty=0.01, max_notional=3e4),
        "ETH-USD": VenueRules(qty_step=1, max_qty=100, multiplier=0.1, min_notional=50, fee_maker_bps=-1),
    }
    shares = {"a": 0.5, "b": 0.3, "c": 0.1}
    edges = {"a": EdgeStatistics(300, 100, 1.0, 1.0), "b": EdgeStatistics(300, 170, 1.0, 1.0)}
    known: dict[str, Any] = {"breaker_age_seconds": 0.0, "drawdown_age_seconds": 0.0}
    tame = Policy(min_notional=0.0, tau_sym=9.0, sym_max=9.0, gross_max=9.0, order_max=9.0)
    return [
        RiskRails(None, rules, RiskState(risk_shares=shares, drawdown_pct=0.07, **known)),
        RiskRails(
            None,
            {},
            RiskState(risk_shares=shares, share_age_seconds=1e6, drawdown_pct=0.25, breakers={"x": True}),
        ),
        RiskRails(Policy(kelly_enabled=True), rules, RiskState(risk_shares=shares, edges=edges, **known)),
        RiskRails(tame, {"XRP-USD": VenueRules(price_tick=2)}, RiskState(risk_shares={"a": 1.0}, **known)),
    ]


def answer(run: Callable[[], Any]) -> Any:
    """What came out, comparable: a plain order, or the code and field of the error."""
    try:
        order = run()
    except RiskInputError as error:
        return (error.code, error.field)
    return order.to_dict() | {"messages": []}


def run_single(made: list[tuple[int, dict[str, Any]]]) -> Iterator[Any]:
    """Each call by itself, every fifth of them strict."""
    rails = desks()
    for place, (which, arguments) in enumerate(made):
        run = functools.partial(rails[which].compute_order, **arguments, strict=place % 5 == 0)
        yield answer(run)


def run_batch(made: list[tuple[int, dict[str, Any]]]) -> Iterator[Any]:
    """Batches of mixed rows, then batches of one symbol, type and timeframe each."""

    def key(item: tuple[int, dict[str, Any]]) -> tuple[Any, ...]:
        return (item[0], item[1]["live"].symbol, item[1]["strat_type"], item[1]["base_tf"])

    rails = desks()
    for which in range(len(rails)):
        yield from _batch(rails[which], [a for where, a in made if where == which], scalars=False)
    for group, items in itertools.groupby(sorted(made[:200], key=key), key=key):
        yield from _batch(rails[group[0]], [arguments for _, arguments in items], scalars=True)


def _batch(rails: RiskRails, rows: list[dict[str, Any]], *, scalars: bool) -> Iterator[Any]:
    columns: dict[str, Any] = {name: [row[name] for row in rows] for name in rows[0]}
    if scalars:
        columns |= {name: columns[name][0] for name in ("strat_name", "strat_type", "base_tf")}
        live = columns["live"]
        fields = {n: [getattr(item, n) for item in live] for n in type(live[0]).__slots__}
        columns["live"] = type(live[0])(**(fields | {"symbol": live[0].symbol}))
        drawdown = np.linspace(0.0, 0.25, len(rows))
        columns |= {"drawdown_pct": drawdown, "risk_share": drawdown * 2}
    columns["exposure_by_symbol"] = {
        s: [row["exposure_by_symbol"].get(s, 0.0) for row in rows] for s in SYMBOLS[:2]
    }
    for order in rails.compute_orders(**columns):
        yield order.to_dict()


Point = tuple[int, int, str, Callable[[ast.AST], None]]


def points(function: ast.FunctionDef) -> Iterator[Point]:
    """Every single change of a function but annotations and keywords: which node, where, what, and how."""
    annotations = {id(node.annotation) for node in ast.walk(function) if isinstance(node, ast.AnnAssign)}
    quiet = {
        id(inner)
        for outer in ast.walk(function)
        if isinstance(outer, (ast.arguments, ast.keyword))
        or outer is function.returns
        or id(outer) in annotations
        for inner in ast.walk(outer)
    }
    for index, node in enumerate(ast.walk(function)):
        if id(node) in quiet:
            continue
        number = getattr(node, "lineno", 0)
        if isinstance(node, ast.Compare):
            for place, operator in enumerate(node.ops):
                other = COMPARE[type(operator)]
                yield index, number, f"{type(operator).__name__} to {other.__name__}", _compare(place, other)
        elif isinstance(node, (ast.BinOp, ast.AugAssign)) and type(node.op) in ARITHMETIC:
            new = ARITHMETIC[type(node.op)]
            yield index, number, f"{type(node.op).__name__} to {new.__name__}", _set("op", new)
        elif isinstance(node, ast.BoolOp):
            swap = ast.Or if isinstance(node.op, ast.And) else ast.And
            yield index, number, f"{type(node.op).__name__} to {swap.__name__}", _set("op", swap)
        elif isinstance(node, (ast.If, ast.IfExp)):
            yield index, number, "negated", _negate
        elif isinstance(node, ast.Constant):
            code = isinstance(node.value, str) and node.value.isupper()
            if code or isinstance(node.value, (int, float)):
                yield index, number, f"{node.value!r} changed", _change


def _compare(place: int, other: type[ast.cmpop]) -> Callable[[ast.AST], None]:
    def apply(node: ast.AST) -> None:
        assert isinstance(node, ast.Compare)
        node.ops[place] = other()

    return apply


def _set(name: str, kind: type[ast.AST]) -> Callable[[ast.AST], None]:
    return lambda node: setattr(node, name, kind())


def _negate(node: ast.AST) -> None:
    assert isinstance(node, (ast.If, ast.IfExp))
    node.test = ast.UnaryOp(ast.Not(), node.test)


def _change(node: ast.AST) -> None:
    assert isinstance(node, ast.Constant)
    value = node.value
    if isinstance(value, str):
        node.value = "X" + value
    elif isinstance(value, bool):
        node.value = not value
    else:
        assert isinstance(value, (int, float))
        node.value = value + 1


def functions_of(name: str) -> Iterator[tuple[str, ast.FunctionDef, types.FunctionType]]:
    """Every function and method of a module: its name, its syntax tree and itself."""
    module = importlib.import_module(f"riskrails.{name}")
    for node in ast.parse(inspect.getsource(module)).body:
        if isinstance(node, ast.FunctionDef) and not node.decorator_list:
            yield node.name, node, getattr(module, node.name)
        elif isinstance(node, ast.ClassDef):
            for inner in node.body:
                if isinstance(inner, ast.FunctionDef):
                    bound: Any = inspect.getattr_static(getattr(module, node.name), inner.name)
                    bound = bound.fget if isinstance(bound, property) else getattr(bound, "__func__", bound)
                    yield f"{node.name}.{inner.name}", inner, bound


def put_to_test(task: tuple[str, str]) -> tuple[int, list[str]]:
    """Every mutant of one function: how many, and the names of those that nothing noticed."""
    name, wanted = task
    made = corpus(1500)
    run = run_batch if name in BATCHES else run_single if name in CALLS else _no_answers
    expected = list(run(made))
    node, function = next((n, f) for known, n, f in functions_of(name) if known == wanted)
    code, total, survived = function.__code__, 0, []
    for key, index, change in mutants_of(name, wanted, node):
        mutant = copy.deepcopy(node)
        change(next(itertools.islice(ast.walk(mutant), index, None)))
        total += 1
        try:
            function.__code__ = _compiled(mutant, code)
            alive = _same(run(made), expected) and (not TESTS[name] or _tests_pass(TESTS[name]))
        finally:
            function.__code__ = code
        if alive:
            survived.append(key)
    return total, survived


def mutants_of(
    name: str, function: str, node: ast.FunctionDef
) -> Iterator[tuple[str, int, Callable[[ast.AST], None]]]:
    """Every mutant of a function: a name that outlives a moved line, which node it changes, and how."""
    lines = inspect.getsource(importlib.import_module(f"riskrails.{name}")).splitlines()
    seen = Counter[str]()
    for index, number, what, change in list(points(node)):
        key = f"{name}.{function} | {what} | {lines[number - 1].strip()}"
        seen[key] += 1
        yield key if seen[key] == 1 else f"{key} | {seen[key]}", index, change


def accepted() -> dict[str, str]:
    """The mutants known to survive, each with the class whose reason is given there."""
    kind, known = "", {}
    for line in SURVIVORS.read_text(encoding="utf-8").splitlines():
        if line.startswith("["):
            kind = line[1 : line.index("]")]
        elif line and not line.startswith("#"):
            known[line] = kind
    return known


def main(argv: list[str]) -> int:
    """Put every mutant of the modules to the test.

    Returns:
        0; 1 when other mutants survive than those explained, 2 for a module that is not known.
    """
    parser = argparse.ArgumentParser(
        prog="python -m tests.riskrails.mutate", description=(__doc__ or "").split("\n")[0]
    )
    parser.add_argument("modules", nargs="*", help=f"all of them without one: {', '.join(TESTS)}")
    names = parser.parse_args(argv).modules or list(TESTS)
    unknown = [name for name in names if name not in TESTS]
    if unknown:
        sys.stderr.write(f"mutate: {', '.join(unknown)}: want modules among {', '.join(TESTS)}\n")
        return 2
    out = sys.stdout
    for files in {TESTS[name] for name in names if TESTS[name]}:
        if not _tests_pass(files):
            raise RuntimeError(f"{files} fail on the code as it is")
    tasks = [(name, function) for name in names for function, _, _ in functions_of(name)]
    # The longest first, so that the processes end together.
    tasks.sort(key=lambda task: task[0] not in {"adapter", "batch", "breakers"})
    figures = {name: [0, 0] for name in names}
    alive: list[str] = []
    with ProcessPoolExecutor(2) as pool:
        for (name, _), (total, survived) in zip(tasks, pool.map(put_to_test, tasks), strict=True):
            figures[name][0] += total
            figures[name][1] += len(survived)
            alive += survived
            out.writelines(f"survived: {key}\n" for key in survived)
            out.flush()
    for name, (total, survived_) in figures.items():
        out.write(f"{name}: {total} mutants, {survived_} survived\n")
    known = {key for key in accepted() if key.split(".")[0] in names}
    unexplained, gone = sorted(set(alive) - known), sorted(known - set(alive))
    out.writelines(f"not explained in {SURVIVORS.name}: {key}\n" for key in unexplained)
    out.writelines(f"explained, but killed or gone: {key}\n" for key in gone)
    total = sum(figure[0] for figure in figures.values())
    out.write(f"all: {total} mutants, {len(alive)} survived, {len(unexplained)} of them unexplained\n")
    return 1 if unexplained or gone else 0


def _no_answers(made: list[tuple[int, dict[str, Any]]]) -> Iterator[Any]:
    """No call reaches the module: its tests alone decide."""
    return iter(made[:0])


def _compiled(function: ast.FunctionDef, old: types.CodeType) -> types.CodeType:
    """The code of a changed function, to take the place of the old."""
    function.decorator_list = []
    tree = ast.Module([function], [])
    flags = old.co_flags & __future__.annotations.compiler_flag
    module = compile(ast.fix_missing_locations(tree), old.co_filename, "exec", flags, dont_inherit=True)
    return next(c for c in module.co_consts if isinstance(c, types.CodeType) and c.co_name == function.name)


def _tests_pass(files: tuple[str, ...]) -> bool:
    """Whether the unit tests notice nothing, run in this process where the mutant is in place."""
    here = Path(__file__).parent
    options = ["-x", "-q", "-p", "no:cacheprovider", "--hypothesis-profile=mutants"]
    with contextlib.redirect_stdout(io.StringIO()):
        code = pytest.main([*options, *(str(here / file) for file in files)])
    if code not in {pytest.ExitCode.OK, pytest.ExitCode.TESTS_FAILED, pytest.ExitCode.INTERRUPTED}:
        raise RuntimeError(f"pytest could not run {files}: {code}")
    return code == pytest.ExitCode.OK


def _same(got: Iterator[Any], expected: list[Any]) -> bool:
    """Whether all answers are the original's; an exception is another answer."""
    try:
        return all(g == e for g, e in itertools.zip_longest(got, expected))
    except Exception:  # noqa: BLE001  # a mutant may break in any way, and that is how it is noticed
        return False


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
