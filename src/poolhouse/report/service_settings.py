"""A process's service, from the settings ``connmon_service``, ``connmon_addr`` and ``connmon_config``."""

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from poolhouse.addresses import parse_address
from poolhouse.defaults import SERVICE_PORT
from poolhouse.errors import SettingError

if TYPE_CHECKING:
    from poolhouse.configuration.service import Service

#: The settings that name a service, without their prefix.
NAMES = ("service", "addr", "config")


def service_of(settings: Mapping[str, Any], prefix: str = "connmon_") -> "Service":
    """The service named by the settings.

    ``addr`` names one node, in which case no configuration is read. Otherwise ``service`` (``default``) is looked
    up in the file named by ``config``, in ``/etc/connmon.cfg``, or in the built-in configuration.

    Args:
        settings: Texts, by `NAMES` with the prefix; other keys are ignored.
        prefix: The prefix of each key.

    Raises:
        SettingError: If the service is not found, or if an address or a file is wrong.
    """
    # Few processes report to a service: the others need not load the code that reads its configuration.
    from poolhouse.configuration.files import load_configuration
    from poolhouse.configuration.service import DEFAULT_SERVICE, Node, Service

    named = {name: settings[prefix + name] for name in NAMES if prefix + name in settings}
    for name, value in named.items():
        if not isinstance(value, str) or not value.strip():
            what = "given twice" if isinstance(value, (list, tuple)) else f"expected a text, not {value!r}"
            raise SettingError(prefix + name, what)
    if "addr" in named:
        host, port = parse_address(named["addr"], SERVICE_PORT, f"{prefix}addr")
        if port == 0:
            raise SettingError(f"{prefix}addr", f"{named['addr']!r}: expected a port from 1 to 65535")
        return Service("", (Node(named["addr"], host, port),))
    configuration = load_configuration(named.get("config"), f"{prefix}config")
    return configuration.service(named.get("service", DEFAULT_SERVICE), f"{prefix}service")
