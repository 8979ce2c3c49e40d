"""DECK_STORE_URL: read, refused if there is no such store, and shown without what is secret in it.

Nothing of a URL that cannot be read is ever shown, for nobody can tell where its password stands.
"""

from __future__ import annotations

import sqlalchemy as sa

from exporter.errors import SettingsError

__all__ = ["read_store_url", "shown_url"]

WANTED = "want sqlite:///path/to/deck.db or postgresql+psycopg://user@host/database"
SECRETS = frozenset({"password", "sslpassword", "passfile", "sslkey"})
"""Query arguments that libpq takes and nobody else may see."""


def read_store_url(text: str) -> sa.URL:
    """The URL in its parts.

    Raises:
        SettingsError: It cannot be read, or names a database or a driver that is not here.
    """
    try:
        url = sa.make_url(text)
    except (sa.exc.ArgumentError, ValueError):
        raise SettingsError(f"DECK_STORE_URL cannot be read as a URL: {WANTED}") from None
    try:
        backend = url.get_backend_name()
        if backend in ("sqlite", "postgresql"):
            url.get_dialect().import_dbapi()
            return url
    except (sa.exc.NoSuchModuleError, ImportError):
        raise SettingsError(
            f"DECK_STORE_URL names the driver {url.drivername}, which is not here: {WANTED}"
        ) from None
    raise SettingsError(f"DECK_STORE_URL names the database {backend}: {WANTED}")


def shown_url(url: sa.URL) -> str:
    """The URL as text, its password and every secret query argument masked."""
    masked = {name: "hidden" for name in url.query if name.lower() in SECRETS}
    return url.update_query_dict(masked).render_as_string(hide_password=True)
