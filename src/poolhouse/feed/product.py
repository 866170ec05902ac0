"""How a part of poolhouse introduces itself to people and to consoles."""

from importlib.metadata import PackageNotFoundError, version


def product(name: str) -> str:
    """Name and version, for example ``connmond 0.1.0``; the name alone where poolhouse is not installed."""
    try:
        return f"{name} {version('poolhouse')}"
    except PackageNotFoundError:
        return name
