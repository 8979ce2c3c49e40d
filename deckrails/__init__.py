"""What both services share: the version and the reading of settings."""

__version__ = "0.1.0"
