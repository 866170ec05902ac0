"""The setting ``POOLHOUSE`` of a Django project. Pure."""

from collections.abc import Mapping
from typing import Any

from poolhouse.errors import SettingError
from poolhouse.report.destination import Destination

#: The keys that it may have.
NAMES = ("program", "report")


def destination_of(setting: Any, default: Destination) -> Destination | None:
    """The destination of a project's reports.

    Args:
        setting: The value of ``POOLHOUSE``: ``report``, a URL as in ``POOLHOUSE_REPORT``, and ``program``, a name
            that overrides one in the URL. Both may be left out.
        default: The destination without ``report``.

    Returns:
        The destination; ``None`` if the setting is empty, and nothing changes.

    Raises:
        SettingError: If the setting is wrong; the message names it.

    >>> destination_of({"program": "shop"}, Destination(host="web1")).host
    'web1'
    >>> destination_of({}, Destination())
    """
    if not isinstance(setting, Mapping):
        raise SettingError("POOLHOUSE", f"expected a dictionary with {' and '.join(NAMES)}, not {setting!r}")
    for name, value in setting.items():
        if name not in NAMES:
            raise SettingError("POOLHOUSE", f"there is no setting {name!r}; there are {' and '.join(NAMES)}")
        if not isinstance(value, str) or not value.strip():
            raise SettingError("POOLHOUSE", f"{name}: expected a text, not {value!r}")
    if not setting:
        return None
    try:
        found = Destination.from_url(setting["report"]) if "report" in setting else default
    except SettingError as error:
        raise SettingError("POOLHOUSE", f"report: {error}") from None
    return found.replace(program_name=setting["program"]) if "program" in setting else found
