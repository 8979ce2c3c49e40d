from __future__ import annotations

import io
import json
import logging

import pytest
import structlog

from deckrails.logs import configure_logging


def test_a_line_is_a_phrase_and_keys_for_machines(capsys: pytest.CaptureFixture[str]) -> None:
    """Json gives one object a line, with level and time."""
    configure_logging("info", "json")
    structlog.get_logger().info("shares published", turnover_ratio=0.04, note="100 %")
    line = json.loads(capsys.readouterr().err)
    assert (line["event"], line["level"], line["turnover_ratio"]) == ("shares published", "info", 0.04)
    assert line["note"] == "100 %"
    assert "timestamp" in line


def test_lines_below_the_level_are_not_written(capsys: pytest.CaptureFixture[str]) -> None:
    """DECK_LOG_LEVEL is a floor."""
    configure_logging("warning", "console")
    structlog.get_logger().info("quiet")
    structlog.get_logger().warning("loud")
    written = capsys.readouterr().err
    assert "quiet" not in written
    assert "loud" in written


def test_configuring_again_does_not_double_the_lines(capsys: pytest.CaptureFixture[str]) -> None:
    """A second start in one process writes each line once."""
    configure_logging("info", "console")
    configure_logging("info", "console")
    structlog.get_logger().info("once")
    assert capsys.readouterr().err.count("once") == 1


def test_a_closed_standard_error_ends_nobody(monkeypatch: pytest.MonkeyPatch) -> None:
    """A log line that cannot be written is lost; the caller goes on."""
    gone = io.StringIO()
    monkeypatch.setattr("sys.stderr", gone)
    configure_logging("info", "json")
    gone.close()
    structlog.get_logger().error("nobody reads this")
    assert gone.closed


def test_what_a_library_logs_is_in_our_form_and_ends_nobody(capsys: pytest.CaptureFixture[str]) -> None:
    """Levels of its own, a stack; a line that cannot be made is left out."""
    configure_logging("info", "json")
    library = logging.getLogger("a.library")
    library.warning("went %s", "wrong")
    library.warning("went %d", "wrong")
    library.log(35, "between two levels")
    library.warning("where", stack_info=True)
    lines = [json.loads(line) for line in capsys.readouterr().err.splitlines()]
    assert [(line["level"], line["event"]) for line in lines] == [
        ("warning", "went wrong"),
        ("warning", "between two levels"),
        ("warning", "where"),
    ]
    assert "test_what_a_library_logs" in lines[2]["stack"]
