from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.prometheus.live import LiveStack


@pytest.fixture(scope="session")
def stack(tmp_path_factory: pytest.TempPathFactory) -> Iterator[LiveStack]:
    """One running stack for every test here; each leaves it healthy."""
    with LiveStack(tmp_path_factory.mktemp("stack")) as running:
        yield running
