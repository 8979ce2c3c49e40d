"""Numbers and quoted text as Go writes them, which is what a Pushgateway's answers are made of.

Pure.
"""

from __future__ import annotations

import math

__all__ = ["go_char", "go_float", "go_quote"]


def go_float(value: float) -> str:
    """The shortest text of a float as Go's 'g' writes it, with an exponent from 10^6 on.

    >>> go_float(1.0), go_float(0.5), go_float(1e6), go_float(float("inf"))
    ('1', '0.5', '1e+06', '+Inf')
    """
    if math.isnan(value):
        return "NaN"
    if math.isinf(value):
        return "+Inf" if value > 0 else "-Inf"
    if value == 0:
        return "-0" if math.copysign(1.0, value) < 0 else "0"
    digits = _digits(abs(value))
    exponent = int(f"{abs(value):.{len(digits) - 1}e}".partition("e")[2])
    sign = "-" if value < 0 else ""
    if exponent < -4 or exponent >= 6:
        mantissa = digits[0] + ("." + digits[1:] if len(digits) > 1 else "")
        return f"{sign}{mantissa}e{'-' if exponent < 0 else '+'}{abs(exponent):02d}"
    return sign + f"{abs(value):.{max(len(digits) - 1 - exponent, 0)}f}"


def _digits(value: float) -> str:
    """The significant digits of the shortest text that reads back as `value`."""
    return repr(value).partition("e")[0].replace(".", "").strip("0") or "0"


_ESCAPES = {
    "\a": r"\a",
    "\b": r"\b",
    "\f": r"\f",
    "\n": r"\n",
    "\r": r"\r",
    "\t": r"\t",
    "\v": r"\v",
    "\\": r"\\",
}


def go_quote(text: str) -> str:
    r"""Text in double quotes, control characters escaped, as %q.

    >>> print(go_quote('a"b' + chr(11)))
    "a\"b\v"
    """
    return '"' + "".join(r"\"" if char == '"' else _shown(char) for char in text) + '"'


def go_char(char: str) -> str:
    r"""The first byte of a character in single quotes, as %q: Go's parsers know bytes, not characters.

    >>> print(go_char("'"), go_char(chr(11)), go_char("é"))
    '\'' '\v' 'Ã'
    """
    first = chr(char.encode()[0])
    return r"'\''" if first == "'" else f"'{_shown(first)}'"


def _shown(char: str) -> str:
    return _ESCAPES.get(char) or (char if char.isprintable() else _escape(char))


def _escape(char: str) -> str:
    point = ord(char)
    return f"\\x{point:02x}" if point < 0x80 else f"\\u{point:04x}" if point < 0x10000 else f"\\U{point:08x}"
