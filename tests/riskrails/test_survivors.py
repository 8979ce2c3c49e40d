"""The list of accepted mutants is about the code as it is."""

from __future__ import annotations

from tests.riskrails.mutate import SURVIVORS, TESTS, accepted, functions_of, mutants_of


def test_every_accepted_mutant_exists_and_stands_in_a_class_with_a_reason() -> None:
    """A line that names no mutant would explain nothing, and a class without a sentence neither."""
    mutants = {
        key
        for name in TESTS
        for function, node, _ in functions_of(name)
        for key, _, _ in mutants_of(name, function, node)
    }
    lines = SURVIVORS.read_text(encoding="utf-8").splitlines()
    reasons = {line[1 : line.index("]")]: line.partition("]")[2].strip() for line in lines if line[:1] == "["}
    known = accepted()

    assert known and set(known) <= mutants
    assert set(known.values()) == set(reasons) and all(reasons.values())
