from __future__ import annotations

import math

import pytest

from exporter.documents import read_document, write_document
from exporter.errors import CommitFailed, StoreRefused
from exporter.records import Hold, Totals


def test_a_record_reads_back() -> None:
    """What is written is what is read, a field that may be absent included."""
    for doc in (Totals(volume_usd=1.5), Hold(since=1.0, reason="r")):
        assert read_document("any", "k", write_document(doc), type(doc)) == doc


@pytest.mark.parametrize("number", [math.inf, -math.inf, math.nan])
def test_no_number_without_an_end_is_ever_written(number: float) -> None:
    """JSON would say null, and the store would not load again."""
    with pytest.raises(CommitFailed, match="Totals has a number that is not finite"):
        write_document(Totals(volume_usd=number))


@pytest.mark.parametrize("text", ["{", '{"volume_usd": null}', "[]"])
def test_a_row_that_cannot_be_read_is_named(text: str) -> None:
    """The start stops with the row's kind and key, not with a traceback of the parser."""
    with pytest.raises(StoreRefused, match="the totals document k cannot be read"):
        read_document("totals", "k", text, Totals)
