"""Text 0.0.4 → families, accepting and refusing what Pushgateway does, in its words.

Pure.  A well-formed line is read by one regular expression; any other line goes, byte by byte, through
`_Cursor`, which finds the same error the reference would name.  Both give the same result on what is
well-formed, and a property test holds them equal.
"""

from __future__ import annotations

import math
import re
from dataclasses import dataclass, field

from exporter.errors import ParseError
from exporter.families import CONSTANT_ZERO, Family, Metric, Parsed, too_many_series
from exporter.golang import go_char, go_quote

__all__ = ["canonical_number", "parse_text"]

_PLAIN = re.compile(rb"-?(?:0|[1-9][0-9]{0,14})(?:\.[0-9]{1,15})?\Z")
_FLOAT = re.compile(r"[+-]?(?:[0-9]+\.?[0-9]*|\.[0-9]+)(?:[eE][+-]?[0-9]+)?\Z")
_SPECIAL = {"nan": b"NaN", "inf": b"+Inf", "infinity": b"+Inf"}
_SAMPLE = re.compile(
    rb"([a-zA-Z_:][a-zA-Z0-9_:]*)"
    # Possessive: what follows cannot match within, and to go back in a long value costs 60 bytes a character.
    rb'(?:\{((?:[a-zA-Z_][a-zA-Z0-9_]*="[^"\\\n]*+(?:\\[\\"n][^"\\\n]*+)*+"(?:,(?!\})|(?=\})))*+)\})?'
    rb" ([^ \t\n]+)\Z"
)
_LABEL = re.compile(rb'([a-zA-Z_][a-zA-Z0-9_]*)="([^"\\\n]*+(?:\\[\\"n][^"\\\n]*+)*+)"')
_ESCAPE = re.compile(r"\\(.)")
_NAME = re.compile(r"[a-zA-Z_:][a-zA-Z0-9_:]*\Z")
_LABEL_NAME = re.compile(r"[a-zA-Z_][a-zA-Z0-9_]*\Z")
_WHOLE = re.compile(r"([+-]?)0*([0-9]{1,19})\Z")
_KINDS = {
    "counter": "counter",
    "gauge": "gauge",
    "summary": "summary",
    "untyped": "untyped",
    "histogram": "histogram",
    "gauge_histogram": "gaugehistogram",
    "gaugehistogram": "gaugehistogram",
}


def canonical_number(text: str) -> bytes | None:
    """A float as the exposition writes it; None for what the reference takes for no float.

    Plain decimals stay as they came: a number that was read and written back is one that may change.

    >>> [canonical_number(text) for text in ("1.50", "infinity", "1_0", "0x1p-2")]
    [b'1.50', b'+Inf', None, None]
    """
    if _FLOAT.match(text):
        return None if math.isinf(float(text)) else text.encode()
    sign, bare = (text[0], text[1:]) if text[:1] in "+-" and text else ("", text)
    special = _SPECIAL.get(bare.lower())
    if special is None or (special == b"NaN" and sign):
        return None
    return b"-Inf" if sign == "-" else special


@dataclass(slots=True)
class _Building:
    """A family while its lines come in."""

    name: str
    kind: str | None = None
    help: str | None = None
    metrics: list[Metric] = field(default_factory=list)
    grouped: dict[tuple[tuple[str, str], ...], _Grouped] = field(default_factory=dict)


@dataclass(slots=True)
class _Grouped:
    """A summary or histogram while its lines come in."""

    labels: tuple[tuple[str, str], ...]
    points: list[tuple[float, int]] = field(default_factory=list)
    sum: int = CONSTANT_ZERO
    count: int = CONSTANT_ZERO


_SUFFIXES = ("_count", "_sum", "_bucket", "_gcount", "_gsum")
_COMMENT = re.compile(rb"# (HELP|TYPE) ([a-zA-Z_:][a-zA-Z0-9_:]*) ([^ \t\\][^\\]*)\Z")


class _Body:
    """What has been read so far, and for how many series more there is room."""

    def __init__(self, max_series: float = math.inf) -> None:
        self.max_series = self.room = max_series
        self.families: dict[str, _Building] = {}
        self.values: list[bytes] = []
        self.counts: list[int] = []
        self.has_timestamps = False

    def family_of(self, name: str) -> tuple[_Building, str]:
        """The family a name belongs to, and which line of it: "", "sum", "count" or "bucket"."""
        found = self.families.get(name)
        if found is not None:
            return found, ""
        for suffix, kinds in (
            ("_count", ("summary", "histogram", "gaugehistogram")),
            ("_sum", ("summary", "histogram", "gaugehistogram")),
            ("_bucket", ("histogram", "gaugehistogram")),
            # OpenMetrics' names, which our own exposition uses.
            ("_gcount", ("gaugehistogram",)),
            ("_gsum", ("gaugehistogram",)),
        ):
            if name.endswith(suffix) and len(name) > len(suffix):
                base = self.families.get(name[: -len(suffix)])
                if base is not None and base.kind in kinds:
                    return base, suffix[1:].removeprefix("g")
        created = _Building(name)
        self.families[name] = created
        return created, ""

    def take_comment(self, keyword: bytes, name: str, text: str) -> bool:
        """Take a plain HELP or TYPE line; False leaves it to the cursor, which says what is wrong."""
        family = self.families.get(name)
        if family is None:
            if name.endswith(_SUFFIXES):
                return False
            family = self.families[name] = _Building(name)
        if keyword == b"HELP":
            if family.help is not None:
                return False
            family.help = text
            return True
        if family.kind is not None or text not in _KINDS:
            return False
        family.kind = _KINDS[text]
        return True

    def add(
        self, family: _Building, role: str, labels: tuple[tuple[str, str], ...], number: bytes, line: int
    ) -> None:
        """Take one sample."""
        slot = len(self.values)
        kind = family.kind
        if kind not in ("summary", "histogram", "gaugehistogram"):
            self.values.append(number)
            family.metrics.append(Metric(labels, slot))
            self._take_room()
            return
        point_label = "quantile" if kind == "summary" else "le"
        own = tuple(pair for pair in labels if pair[0] != point_label)
        key = tuple(sorted(own))
        group = family.grouped.get(key)
        if group is None:
            group = family.grouped[key] = _Grouped(own)
        bound = next((value for name, value in labels if name == point_label), None)
        if role == "count" or (bound is not None and kind != "summary" and role != "sum"):
            number = self._count(number, family, role, line)
            self.counts.append(slot)
        self.values.append(number)
        if role == "count":
            group.count = slot
        elif role == "sum":
            group.sum = slot
        elif bound is not None:
            point = float(canonical_number(bound) or b"nan")
            if not math.isnan(point):
                group.points.append((point, slot))
                self._take_room()

    def _take_room(self) -> None:
        self.room -= 1
        if self.room < 0:
            raise too_many_series(self.max_series)

    @staticmethod
    def _count(number: bytes, family: _Building, role: str, line: int) -> bytes:
        value = float(number)
        if family.kind == "summary":
            # The reference keeps an unsigned integer here and drops the fraction.
            return str(int(value)).encode() if math.isfinite(value) and value >= 0 else b"0"
        if value < 0:
            what = "negative count for" if role == "count" else "negative bucket population for"
            raise ParseError(
                f"text format parsing error in line {line}: {what} histogram {go_quote(family.name)}"
            )
        return number

    def finish(self) -> Parsed:
        """The families that have metrics."""
        families = []
        for family in self.families.values():
            metrics = family.metrics or [
                Metric(g.labels, CONSTANT_ZERO, tuple(g.points), g.sum, g.count)
                for g in family.grouped.values()
            ]
            if metrics:
                families.append(Family(family.name, family.kind or "untyped", family.help, tuple(metrics)))
        return Parsed(tuple(families), self.values, tuple(self.counts), self.has_timestamps)


def parse_text(
    body: bytes, *, accept_crlf: bool = False, utf8_names: bool = False, max_series: float = math.inf
) -> Parsed:
    """Families of a body in text format 0.0.4.

    Args:
        body: The whole exposition.
        accept_crlf: Take CRLF line ends, which the reference refuses.
        utf8_names: Take any UTF-8 metric and label name, in quotes.
        max_series: Read no further than to one more: a long file pushed by mistake is soon refused.

    Raises:
        ParseError: `text format parsing error in line N: …`.
        TooLarge: It has more series.
    """
    if accept_crlf:
        body = body.replace(b"\r\n", b"\n")
    try:
        body.decode("utf-8")
    except UnicodeDecodeError as error:
        bad = body.count(b"\n", 0, error.start) + 1
        raise ParseError(f"text format parsing error in line {bad}: invalid UTF-8") from None
    out = _Body(max_series)
    lines = body.split(b"\n")
    last = len(lines)
    plain, sample, comment = _PLAIN.match, _SAMPLE.match, _COMMENT.match
    for row, line in enumerate(lines, 1):
        if not line:
            continue
        ended = row < last
        said = comment(line) if ended and line[0] == 35 else None  # a number sign
        if said is not None and out.take_comment(said[1], said[2].decode(), said[3].decode()):
            continue
        found = sample(line) if ended else None
        if found is None:
            _Cursor(line, row, ended, out, utf8_names=utf8_names).read()
            continue
        name, labels_text, value = found.groups()
        canonical: bytes | None = value if plain(value) else canonical_number(value.decode())
        labels: tuple[tuple[str, str], ...] = ()
        if labels_text:
            labels = tuple(
                (k.decode(), v.decode() if b"\\" not in v else _unescape(v.decode()))
                for k, v in _LABEL.findall(labels_text)
            )
            if len(labels) > 1 and len({k for k, _ in labels}) != len(labels):
                canonical = None
        if canonical is None or (
            labels and any(k == "__name__" or k in ("le", "quantile") for k, _ in labels)
        ):
            _Cursor(line, row, ended, out, utf8_names=utf8_names).read()
            continue
        family, role = out.family_of(name.decode())
        if family.kind is None:
            family.kind = "untyped"
        out.add(family, role, labels, canonical, row)
    return out.finish()


def _unescape(text: str) -> str:
    return _ESCAPE.sub(lambda found: "\n" if found[1] == "n" else found[1], text)


class _Cursor:
    """One line, read the slow way."""

    def __init__(self, line: bytes, number: int, ended: bool, out: _Body, *, utf8_names: bool) -> None:
        self.text = line.decode("utf-8")
        self.number = number
        self.ended = ended
        self.out = out
        self.at = 0
        self.utf8_names = utf8_names

    def fail(self, message: str) -> ParseError:
        return ParseError(f"text format parsing error in line {self.number}: {message}")

    @property
    def char(self) -> str:
        """The character at the cursor, a line feed at the end of the line."""
        if self.at < len(self.text):
            return self.text[self.at]
        if self.ended:
            return "\n"
        raise self.fail("unexpected end of input stream")

    def blanks(self) -> None:
        while self.char in " \t":
            self.at += 1

    def until_blank(self) -> str:
        start = self.at
        while self.char not in " \t\n":
            self.at += 1
        return self.text[start : self.at]

    def until_newline(self) -> str:
        start = self.at
        self.at = len(self.text)
        if self.char != "\n":
            raise AssertionError("the line feed ends a line")  # `char` raises when there is none
        return self.text[start:]

    def read(self) -> None:
        try:
            self.blanks()
        except ParseError:
            return  # blanks before the end of the input are no error
        if self.char == "#":
            self.at += 1
            self.comment()
        elif self.char != "\n":
            self.sample()

    def comment(self) -> None:
        self.blanks()
        if self.char == "\n":
            return
        keyword = self.until_blank()
        if self.char == "\n":
            return
        if keyword not in ("HELP", "TYPE"):
            self.until_newline()
            return
        self.blanks()
        name = self.metric_name()
        if self.char == "\n":
            return
        if self.char not in " \t":
            raise self.fail("invalid metric name in comment")
        family = self.family(name)[0]
        self.blanks()
        if self.char == "\n":
            return
        if keyword == "HELP":
            if family.help is not None:
                raise self.fail(f"second HELP line for metric name {go_quote(family.name)}")
            family.help = self.escaped(self.until_newline(), '\\n"')
            return
        if family.kind is not None:
            raise self.fail(
                f"second TYPE line for metric name {go_quote(family.name)}, or TYPE reported after samples"
            )
        kind = self.until_newline().replace("\\", "")  # the reference reads over a backslash here
        if kind.lower() not in _KINDS:
            raise self.fail(f"unknown metric type {go_quote(kind)}{_crlf_hint(kind)}")
        family.kind = _KINDS[kind.lower()]

    def family(self, name: str) -> tuple[_Building, str]:
        if not name or not (self.utf8_names or _NAME.match(name)):
            raise self.fail(f"invalid metric name {go_quote(name)}")
        return self.out.family_of(name)

    def escaped(self, text: str, allowed: str) -> str:
        out, at = [], 0
        while at < len(text):
            if text[at] == "\\":
                at += 1
                if at >= len(text) or text[at] not in allowed:
                    # The reference shows the byte, not the character it begins.
                    byte = text[at].encode()[0] if at < len(text) else 10
                    raise self.fail(f"invalid escape sequence '\\{chr(byte)}'")
                out.append("\n" if text[at] == "n" else text[at])
            else:
                out.append(text[at])
            at += 1
        return "".join(out)

    def quoted(self, what: str) -> str:
        """The text between the quotes, the cursor behind the closing one."""
        start = self.at = self.at + 1
        while self.char != '"':
            if self.char == "\n":
                raise self.fail(f"{what} {go_quote(self.text[start : self.at])} contains unescaped new-line")
            self.at += 2 if self.char == "\\" and self.at + 1 < len(self.text) else 1
        text = self.escaped(self.text[start : self.at], '\\"n')
        self.at += 1
        return text

    def metric_name(self) -> str:
        return self.quoted("metric name") if self.char == '"' else self.bare(":")

    def bare(self, extra: str) -> str:
        start = self.at
        while self.char.isascii() and (
            self.char.isalpha()
            or self.char == "_"
            or self.char in extra
            or (self.at > start and self.char.isdigit())
        ):
            self.at += 1
        return self.text[start : self.at]

    def sample(self) -> None:
        family: _Building | None = None
        role = ""
        if self.char != "{":
            name = self.metric_name()
            if not name:
                raise self.fail("invalid metric name")
            family, role = self.family(name)
            family.kind = family.kind or "untyped"
            self.blanks()
        labels: list[tuple[str, str]] = []
        if self.char == "{":
            family, role, labels = self.labels(family, role)
        assert family is not None  # noqa: S101 - labels() names one or raises
        token = self.until_blank()
        number = canonical_number(token)
        if number is None:
            raise self.fail(f"expected float as value, got {go_quote(token)}{_crlf_hint(token)}")
        if self.char != "\n":
            self.timestamp()
        self.out.add(family, role, tuple(labels), number, self.number)

    def timestamp(self) -> None:
        self.blanks()
        token = self.until_blank()
        found = _WHOLE.match(token)
        # Nineteen digits at most are read: of thousands Python's int makes an error of its own.
        if found is None or not -(2**63) <= int(found[1] + found[2]) < 2**63:
            raise self.fail(f"expected integer as timestamp, got {go_quote(token)}{_crlf_hint(token)}")
        rest = self.until_newline().replace("\\", "")
        if rest:
            raise self.fail(f"spurious string after timestamp: {go_quote(rest)}")
        self.out.has_timestamps = True

    def labels(self, family: _Building | None, role: str) -> tuple[_Building, str, list[tuple[str, str]]]:
        inside = family is None
        pairs: dict[str, str] = {}
        self.at += 1
        while True:
            self.blanks()
            if self.char == "}":
                break
            name = self.quoted("label name") if self.char == '"' else self.bare("")
            shown = family.name if family else ""
            if not name:
                raise self.fail(f"invalid label name for metric {go_quote(shown)}")
            self.blanks()
            if self.char != "=":
                if not inside:
                    raise self.fail(f"expected '=' after label name, found {go_char(self.char)}")
                if family is not None:
                    raise self.fail(f"multiple metric names for metric {go_quote(shown)}")
                if self.char not in ",}":
                    raise self.fail(f"unexpected end of metric name {go_char(self.char)}")
                family, role = self.family(name)
                family.kind = family.kind or "untyped"
            else:
                self.at += 1
                self.label(name, family, pairs)
            if self.char == "}":
                break
            self.at += 1
        if family is None:
            raise self.fail("invalid metric name")
        self.at += 1
        self.blanks()
        return family, role, list(pairs.items())

    def label(self, name: str, family: _Building | None, pairs: dict[str, str]) -> None:
        """The part of a label behind its equals sign, the cursor left on the comma or brace."""
        if name == "__name__":
            raise self.fail('label name "__name__" is reserved')
        if not (self.utf8_names or _LABEL_NAME.match(name)):
            raise self.fail(f"invalid label name {go_quote(name)}")
        kind = family.kind if family else None
        is_point = (kind == "summary" and name == "quantile") or (
            kind in ("histogram", "gaugehistogram") and name == "le"
        )
        if name in pairs:
            raise self.fail(f"duplicate label names for metric {go_quote(family.name if family else '')}")
        self.blanks()
        if self.char != '"':
            raise self.fail(f"expected '\"' at start of label value, found {go_char(self.char)}")
        value = self.quoted("label value")
        if is_point and canonical_number(value) is None:
            raise self.fail(f"expected float as value for '{name}' label, got {go_quote(value)}")
        pairs[name] = value
        self.blanks()
        if self.char not in ",}":
            raise self.fail(f"unexpected end of label value {go_quote(value)}")


def _crlf_hint(token: str) -> str:
    if token.endswith("\r"):
        return ": the line ends in CRLF; end lines with LF alone, or let the operator set DECK_ACCEPT_CRLF=1"
    return ""
