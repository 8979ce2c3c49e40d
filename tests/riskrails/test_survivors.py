"""The list of accepted mutants is about the code as it is."""

from __future__ import annotations

import pytest

from tests.riskrails.mutate import SURVIVORS, TESTS, accepted, functions_of, main, mutants_of


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


def test_a_module_that_is_not_known_is_one_line(capsys: pytest.CaptureFixture[str]) -> None:
    """It names the word and the modules there are; nothing is put to the test."""
    assert main(["stops", "stop"]) == 2
    assert capsys.readouterr().err == f"mutate: stop: want modules among {', '.join(TESTS)}\n"


def test_asked_for_help_the_modules_are_named(capsys: pytest.CaptureFixture[str]) -> None:
    """Whoever knows no module by name finds them there."""
    with pytest.raises(SystemExit) as ended:
        main(["--help"])
    assert ended.value.code == 0
    assert set(TESTS) <= set(capsys.readouterr().out.replace(",", "").split())
