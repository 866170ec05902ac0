"""Connection pools for Python, and a live, fleet-wide view of every pool.

The public names are imported when they are first used (PEP 562): importing poolhouse imports nothing else.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from poolhouse.instrumentation import instrument as instrument
    from poolhouse.report.reporter import flush as flush
    from poolhouse.report.reporter import report_to as report_to

#: Each public name, and the module it is imported from.
_HOMES = {
    "flush": "poolhouse.report.reporter",
    "instrument": "poolhouse.instrumentation",
    "report_to": "poolhouse.report.reporter",
}

__all__ = ["flush", "instrument", "report_to"]  # pyright: ignore[reportUnsupportedDunderAll]


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    value = globals()[name] = getattr(import_module(_HOMES[name]), name)
    return value


def __dir__() -> list[str]:
    return sorted({*globals(), *_HOMES})
