"""How a part of poolhouse introduces itself to people and to consoles."""

from functools import lru_cache

from poolhouse.distributions import version_of


@lru_cache(maxsize=8)
def product(name: str) -> str:
    """Name and version, for example ``connmond 0.1.0``; the name alone if poolhouse is not installed.

    Looked up once, since reading a package's metadata takes half a millisecond.
    """
    version = version_of("poolhouse")
    return name if version is None else f"{name} {version}"
