"""The content of collectd's protocol: value lists and notifications."""

from typing import NamedTuple

from poolhouse.wire.parts import ABSOLUTE, COUNTER, DERIVE, GAUGE

__all__ = ["ABSOLUTE", "COUNTER", "DERIVE", "GAUGE", "Identifier", "Notification", "ValueList"]


class Identifier(NamedTuple):
    """What a value belongs to, in collectd's terms: ``host/plugin-plugin_instance/type-type_instance``."""

    host: str
    plugin: str
    plugin_instance: str
    type: str
    type_instance: str

    def __str__(self) -> str:
        """The identifier as in collectd's logs and file names.

        >>> str(Identifier("web1", "sqlalchemy", "nova", "count", ""))
        'web1/sqlalchemy-nova/count'
        """
        plugin = f"{self.plugin}-{self.plugin_instance}" if self.plugin_instance else self.plugin
        kind = f"{self.type}-{self.type_instance}" if self.type_instance else self.type
        return f"{self.host}/{plugin}/{kind}"


class ValueList(NamedTuple):
    """The values of one identifier at one time."""

    identifier: Identifier
    #: Seconds since the epoch.
    time: float
    #: Seconds between two value lists; ``None`` if the sender did not say.
    interval: float | None
    #: The kind of each value, one byte each: `COUNTER`, `GAUGE`, `DERIVE` or `ABSOLUTE`.
    kinds: bytes
    #: A float, possibly NaN, for a gauge; otherwise a whole number of 64 bits, signed for `DERIVE` only.
    values: tuple[float, ...]


class Notification(NamedTuple):
    """A message for people; strings of the identifier are empty if it concerns no single value."""

    identifier: Identifier
    #: Seconds since the epoch.
    time: float
    #: `FAILURE`, `WARNING` or `OKAY`.
    severity: int
    message: str


#: Severities of a `Notification`.
FAILURE, WARNING, OKAY = 1, 2, 4
