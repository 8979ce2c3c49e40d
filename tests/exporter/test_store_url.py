from __future__ import annotations

import pytest

from exporter.errors import SettingsError
from exporter.store_url import read_store_url, shown_url


@pytest.mark.parametrize(
    "url",
    [
        "postgresql+psycopg://u:s3cretpw@h/d",
        "postgresql+psycopg://u@h/d?password=s3cretpw",
        "postgresql+psycopg://u@h/d?sslpassword=s3cretpw&sslmode=require",
        "postgresql+psycopg://u@h/d?passfile=/home/s3cretpw",
        "postgresql+psycopg://u@h/d?PASSWORD=s3cretpw",
        "postgresql+psycopg://u@h/d?password=s3cretpw&password=s3cretpw",
    ],
)
def test_what_is_secret_is_masked(url: str) -> None:
    """Wherever a URL may hold a password; the rest stays readable."""
    shown = shown_url(read_store_url(url))
    assert "s3cretpw" not in shown
    assert shown.startswith("postgresql+psycopg://u")


@pytest.mark.parametrize(
    "url",
    ["s3cretpw", "", "mysql://u:s3cretpw@h/d", "postgresql+s3://u:s3cretpw@h/d", "sqlite://h:s3cretpw/x"],
)
def test_what_is_no_store_is_refused(url: str) -> None:
    """The message names the setting and what is wanted, and nothing of what may be a password."""
    with pytest.raises(SettingsError, match=r"DECK_STORE_URL .* want sqlite:///") as refused:
        read_store_url(url)
    assert "s3cretpw" not in str(refused.value)
