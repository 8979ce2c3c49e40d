from __future__ import annotations

from pathlib import Path

import requests

from scripts.native import ROOT, Child, allocator, exporter, free_port


def build_info(child: Child, port: int, directory: Path) -> str:
    """What a service started in `directory`, with the `.env` that is there, says of itself."""
    child.cwd = directory
    child.env = {**child.env, "PYTHONPATH": str(ROOT)}
    with child:
        page = requests.get(f"http://127.0.0.1:{port}/metrics", timeout=10).text
    return next(line for line in page.splitlines() if line.startswith(f"{child.name}_build_info{{"))


def test_the_revision_that_env_names_is_on_both_pages(tmp_path: Path) -> None:
    """Who asks which commit runs reads it in a label, of the exporter and of the allocator."""
    (tmp_path / ".env").write_text("DECK_REVISION=af70253\n")
    port, nobody = free_port(), free_port()
    deck = exporter(port, f"sqlite:///{tmp_path}/deck.db", tmp_path / "exporter.log")
    assert 'revision="af70253"' in build_info(deck, port, tmp_path)
    nowhere = f"http://127.0.0.1:{nobody}"
    asker = allocator(port, nowhere, nowhere, tmp_path / "allocator.log")
    assert 'revision="af70253"' in build_info(asker, port, tmp_path)
