"""The part of collectd's Python interface that the plugins use, as types.

The module ``collectd`` exists inside collectd only, so the plugins take it as an argument; tests pass a fake.

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
    #: Data that accompanies the values inside this collectd only.
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
        """Register a callback for each ``<Module>`` block of this name; it must not use threads yet."""
        ...

    def register_init(self, callback: Callable[[], None], *, name: str) -> object:
        """Register a callback for once before any read or write: the first moment when threads may start."""
        ...

    def register_read(self, callback: Callable[[], None], *, name: str) -> object:
        """Register a callback for each interval; while it raises, collectd suspends it for longer and longer."""
        ...

    def register_write(self, callback: Callable[[DispatchedValues], None], *, name: str) -> object:
        """Register a callback for every value that any plugin dispatches; several threads may call it at once."""
        ...

    def register_shutdown(self, callback: Callable[[], None], *, name: str) -> object:
        """Register a callback for once before collectd ends."""
        ...
