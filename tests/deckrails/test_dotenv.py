from pathlib import Path

import pytest

from deckrails.dotenv import DotenvError, misspelt, read_environment


def write(tmp_path: Path, text: str) -> Path:
    path = tmp_path / ".env"
    path.write_text(text)
    return path


def test_the_environment_wins_over_the_file(tmp_path: Path) -> None:
    """A variable set in the process overrides its line in .env."""
    path = write(tmp_path, "DECK_PORT=1\nREFRESH_SEC=2\n# a comment\n\n")
    assert read_environment(path, {"DECK_PORT": "3", "HOME": "/x"}) == {"DECK_PORT": "3", "REFRESH_SEC": "2"}


def test_a_misspelt_line_is_refused_with_the_likely_name(tmp_path: Path) -> None:
    """A name that nobody reads stops the start and names its line."""
    path = write(tmp_path, "DECK_PORT=1\nMAX_SHAER=.5\n")
    with pytest.raises(DotenvError, match=r"line 2: nobody reads MAX_SHAER; did you mean MAX_SHARE\?"):
        read_environment(path, {})


@pytest.mark.parametrize("line", ["DECK PORT=1", "=5", "DECK_PORT"])
def test_a_line_that_is_no_setting_is_refused(tmp_path: Path, line: str) -> None:
    """What is not NAME=value is an error, never skipped."""
    with pytest.raises(DotenvError, match="line 1"):
        read_environment(write(tmp_path, line + "\n"), {})


def test_a_file_that_is_not_utf_8_is_refused_by_its_line(tmp_path: Path) -> None:
    """One clear line, not a traceback; the byte is named, the value is not shown."""
    path = tmp_path / ".env"
    path.write_bytes(b"DECK_PORT=1\nDECK_TOKEN=s3cret\xff\n")
    with pytest.raises(DotenvError, match=r"line 2: byte 0xff is not UTF-8") as refused:
        read_environment(path, {})
    assert "s3cret" not in str(refused.value)


def test_a_missing_file_is_an_empty_one(tmp_path: Path) -> None:
    """No .env is the normal case."""
    assert read_environment(tmp_path / "none", {}) == {}


def test_an_empty_value_is_the_default(tmp_path: Path) -> None:
    """`NAME=` leaves the setting at its default, as compose's `${NAME:-}` passes it."""
    assert read_environment(write(tmp_path, "DECK_TOKEN=\n"), {"DECK_PORT": ""}) == {}


@pytest.mark.parametrize(
    "line",
    [
        "DECK_TOKEN s3cret",
        "DECK_TOKEN: s3cret",
        "s3cret",
        "=s3cret",
        "DECK_TOKNE=s3cret",
        "DECK_TOKEN 's3cret",
    ],
)
def test_a_value_is_never_shown(tmp_path: Path, line: str) -> None:
    """A line that is refused may hold a secret: the message has its number and at most its name."""
    with pytest.raises(DotenvError, match="line 2") as refused:
        read_environment(write(tmp_path, f"DECK_PORT=1\n{line}\n"), {})
    assert "s3cret" not in str(refused.value)


def test_a_variable_with_nearly_a_known_name_is_found() -> None:
    """Names of others, known names and names that resemble none are left alone."""
    environ = {
        "DECK_TOKNE": "",
        "DECK_HOSTS": "",
        "DECK_PORT": "",
        "DECK_REVISION": "",
        "DECK_COLOUR": "",
        "PORT": "",
    }
    assert misspelt(environ) == {"DECK_HOSTS": "DECK_HOST", "DECK_TOKNE": "DECK_TOKEN"}
