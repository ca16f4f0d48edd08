"""The installed version of Rushes."""

from functools import cache
from importlib.metadata import PackageNotFoundError, version


@cache
def installed_version() -> str:
    """Return the version; "0" where Rushes is not installed as a package, as in the image."""
    try:
        return version("rushes")
    except PackageNotFoundError:
        return "0"
