"""What the rule and test files say, read once for the tests here."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import yaml

ROOT = Path(__file__).resolve().parent.parent.parent
SOURCE = ROOT / "prometheus"
RULE_FILES = tuple(sorted((SOURCE / "rules").glob("*.yml")))
TEST_FILES = tuple(sorted((SOURCE / "tests").glob("*_test.yml")))


def load(path: Path) -> Any:
    return yaml.safe_load(path.read_text(encoding="utf-8"))


GROUPS: list[dict[str, Any]] = [
    group for name in ("recording", "alerts") for group in load(SOURCE / "rules" / f"{name}.yml")["groups"]
]
ALERTS: list[dict[str, Any]] = [rule for group in GROUPS for rule in group["rules"] if "alert" in rule]
RECORDS: list[dict[str, Any]] = [rule for group in GROUPS for rule in group["rules"] if "record" in rule]
DASHBOARDS = frozenset(
    json.loads(path.read_text())["uid"] for path in (ROOT / "grafana" / "json").glob("*.json")
)
ALERT_NAMES = sorted({rule["alert"] for rule in ALERTS})

WORDS = frozenset(
    {"abs", "absent", "and", "bool", "by", "count", "histogram_quantile", "increase", "label_replace", "max"}
    | {"max_over_time", "min", "min_over_time", "on", "or", "rate", "round", "sort_desc", "sum", "time"}
    | {
        "topk",
        "unless",
        "vector",
        "changes",
        "offset",
        "last_over_time",
        "timestamp",
        "delta",
        "deriv",
        "count_over_time",
    }
)


def names_in(expr: str) -> set[str]:
    """Metric names of a PromQL expression: identifiers that are no word of the language and no label."""
    bare = re.sub(r'"(?:[^"\\]|\\.)*"|\'[^\']*\'', '""', expr)
    bare = re.sub(r"\{[^}]*\}", "", bare)
    bare = re.sub(r"\[[^\]]*\]", "", bare)
    bare = re.sub(r"\b(by|without|on|ignoring|group_left|group_right)\s*\([^)]*\)", " ", bare)
    bare = re.sub(r"\boffset\s+\w+", " ", bare)
    return {word for word in re.findall(r"[A-Za-z_:][A-Za-z0-9_:]*", bare) if word not in WORDS}
