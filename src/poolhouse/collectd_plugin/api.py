"""The part of collectd's Python interface that the plugins use, as types.

The module ``collectd`` exists inside collectd only; the plugins are given it, and tests give them another.

Source: ``collectd-python(5)`` of collectd 5.12.
"""

from collections.abc import Callable, Mapping, Sequence
from typing import Protocol

from poolhouse.collectd_plugin.config import Config


class DispatchedValues(Protocol):
    """One value list: made and dispatched by the server plugin, handed to the connmon plugin."""

    host: str
    plugin: str
    plugin_instance: str
    type: str
    type_instance: str
    #: Seconds since the epoch.
    time: float
    #: Seconds.
    interval: float
    values: Sequence[float]
    #: Data that stays with the values inside this collectd only.
    meta: Mapping[str, object]

    def dispatch(self) -> None:
        """Hand the values to collectd."""
        ...


class DispatchedNotification(Protocol):
    """One notification, made and dispatched by the server plugin."""

    host: str
    plugin: str
    plugin_instance: str
    type: str
    #: At most 255 bytes.
    message: str
    #: One of the module's ``NOTIF_`` constants.
    severity: int
    #: Seconds since the epoch.
    time: float

    def dispatch(self) -> None:
        """Hand the notification to collectd."""
        ...


class Collectd(Protocol):
    """The module."""

    @property
    def Values(self) -> "Callable[[], DispatchedValues]":
        """Makes an empty value list."""
        ...

    @property
    def Notification(self) -> "Callable[[], DispatchedNotification]":
        """Makes an empty notification."""
        ...

    error: Callable[[str], None]
    warning: Callable[[str], None]
    info: Callable[[str], None]

    def register_config(self, callback: Callable[[Config], None], *, name: str) -> object:
        """Called once for each ``<Module>`` block of this name; threads must not be used yet."""
        ...

    def register_init(self, callback: Callable[[], None], *, name: str) -> object:
        """Called once before anything is read or written: the first moment for a thread."""
        ...

    def register_read(self, callback: Callable[[], None], *, name: str) -> object:
        """Called once an interval; suspended for longer and longer while it raises."""
        ...

    def register_write(self, callback: Callable[[DispatchedValues], None], *, name: str) -> object:
        """Called for every value that any plugin dispatched, by several threads at once."""
        ...

    def register_shutdown(self, callback: Callable[[], None], *, name: str) -> object:
        """Called once, before the end."""
        ...
