from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from exporter.golang import go_char, go_float, go_quote


@given(st.floats(allow_nan=False))
def test_a_float_reads_back(value: float) -> None:
    """The text is the value."""
    assert float(go_float(value)) == value


@pytest.mark.parametrize(
    ("value", "text"),
    [
        # as Debian's Pushgateway 1.5.1 shows them
        (100000.0, "100000"),
        (1e6, "1e+06"),
        (123456789.0, "1.23456789e+08"),
        (1e20, "1e+20"),
        (1e21, "1e+21"),
        (0.0001, "0.0001"),
        (0.00001, "1e-05"),
        (5e-324, "5e-324"),
        (-2.5, "-2.5"),
        (float("-inf"), "-Inf"),
        (float("nan"), "NaN"),
    ],
)
def test_floats_are_written_as_go_writes_them(value: float, text: str) -> None:
    """An exponent appears where Go lets it."""
    assert go_float(value) == text


@pytest.mark.parametrize(
    ("text", "quoted"),
    [
        ("a", '"a"'),
        ('"', '"\\""'),
        ("\\", '"\\\\"'),
        ("\r\n\t", '"\\r\\n\\t"'),
        ("\x00é", '"\\x00é"'),
        ("\a\b\f\v'\x7f", '"\\a\\b\\f\\v\'\\x7f"'),
        ("\xa0\U000e0001", '"\\u00a0\\U000e0001"'),
    ],
)
def test_text_is_quoted_as_go_quotes_it(text: str, quoted: str) -> None:
    """Control characters are escaped, letters of any script are not."""
    assert go_quote(text) == quoted


@pytest.mark.parametrize(
    ("char", "quoted"),
    [
        ("a", "'a'"),
        ("'", r"'\''"),
        ('"', "'\"'"),
        ("\v", r"'\v'"),
        ("\0", r"'\x00'"),
        ("€", "'â'"),
        ("\x80", "'Â'"),
    ],
)
def test_a_character_is_quoted_as_gos_parser_quotes_its_byte(char: str, quoted: str) -> None:
    """Of a character the first byte is named, a control character escaped."""
    assert go_char(char) == quoted
