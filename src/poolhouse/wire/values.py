"""The content of collectd's protocol: value lists and notifications."""

from typing import NamedTuple

from poolhouse.wire.parts import ABSOLUTE, COUNTER, DERIVE, GAUGE

__all__ = ["ABSOLUTE", "COUNTER", "DERIVE", "GAUGE", "Identifier", "Notification", "ValueList"]


class Identifier(NamedTuple):
    """Whose value it is, as collectd writes it: ``host/plugin-plugin_instance/type-type_instance``."""

    host: str
    plugin: str
    plugin_instance: str
    type: str
    type_instance: str

    def __str__(self) -> str:
        """As in collectd's logs and file names.

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
    #: Seconds between two of them; ``None`` if the sender did not say.
    interval: float | None
    #: How each value is meant: `COUNTER`, `GAUGE`, `DERIVE` or `ABSOLUTE`, a byte each.
    kinds: bytes
    #: A float, possibly NaN, for a gauge; otherwise a whole number of 64 bits, signed for `DERIVE` only.
    values: tuple[float, ...]


class Notification(NamedTuple):
    """A message for people; empty strings in the identifier where it concerns no single value."""

    identifier: Identifier
    #: Seconds since the epoch.
    time: float
    #: `FAILURE`, `WARNING` or `OKAY`.
    severity: int
    message: str


#: Severities of a `Notification`.
FAILURE, WARNING, OKAY = 1, 2, 4
