"""A stand-in for requests-kerberos: it can be imported, and refuses to log in."""


class HTTPKerberosAuth:
    """Raises where the real one would authenticate."""

    def __init__(self, *_: object, **__: object) -> None:
        raise RuntimeError(
            "Kerberos login is not installed: dashboards are built here and provisioned from files"
        )
