from __future__ import annotations

import pytest

from deckrails.extras import refuse_without


def test_what_an_extra_brings_is_asked_for_by_the_extras_name(capsys: pytest.CaptureFixture[str]) -> None:
    """One line has the program, the package that is missing and the extra; the status is 2."""
    with pytest.raises(SystemExit) as ended:
        refuse_without("server", "exporter", ModuleNotFoundError("no", name="uvicorn.config"))
    assert ended.value.code == 2
    said = capsys.readouterr().err
    assert said.startswith("exporter: uvicorn is not installed: ") and "'.[server]'" in said
    assert said.count("\n") == 1


def test_a_missing_module_of_ours_is_a_bug_and_is_shown_whole() -> None:
    """No extra would bring it, so nobody is sent to install one."""
    bug = ModuleNotFoundError("no", name="exporter.nowhere")
    with pytest.raises(ModuleNotFoundError) as raised:
        refuse_without("server", "exporter", bug)
    assert raised.value is bug
