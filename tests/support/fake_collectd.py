"""The module ``collectd`` as the plugins see it, with everything they do to it kept to be looked at."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any


@dataclass
class FakeConfig:
    """A line or a block of collectd.conf."""

    key: str
    values: tuple[str | float | bool, ...] = ()
    children: "tuple[FakeConfig, ...]" = ()


def block(*lines: tuple[Any, ...]) -> FakeConfig:
    """A ``<Module>`` block of lines, each a directive and its words; numbers become floats, as in collectd."""
    children = (
        FakeConfig(key, tuple(float(w) if isinstance(w, int) and not isinstance(w, bool) else w for w in words))
        for key, *words in lines
    )
    return FakeConfig("Module", ("plugin",), tuple(children))


@dataclass
class FakeValues:
    """A value list; dispatching one keeps it. Given a type that its collectd does not know, it raises."""

    collectd: "FakeCollectd"
    host: str = ""
    plugin: str = ""
    plugin_instance: str = ""
    type: str = ""
    type_instance: str = ""
    time: float = 0.0
    interval: float = 0.0
    values: Sequence[float] = ()
    meta: Mapping[str, object] = field(default_factory=dict)

    def __setattr__(self, name: str, value: Any) -> None:
        if name == "type" and value in self.collectd.unknown_types:
            raise TypeError(f"Dataset {value} not found")
        super().__setattr__(name, value)

    def dispatch(self) -> None:
        self.collectd.dispatched.append(self)

    @property
    def name(self) -> str:
        return f"{self.host}/{self.plugin}-{self.plugin_instance}/{self.type}-{self.type_instance}"


@dataclass
class FakeNotification:
    """A notification; dispatching one keeps it."""

    collectd: "FakeCollectd"
    host: str = ""
    plugin: str = ""
    plugin_instance: str = ""
    type: str = ""
    message: str = ""
    severity: int = 0
    time: float = 0.0

    def dispatch(self) -> None:
        self.collectd.notifications.append(self)


class FakeCollectd:
    """Callbacks by what they are registered for, values dispatched, lines logged."""

    def __init__(self) -> None:
        self.callbacks: dict[str, Callable[..., None]] = {}
        self.names: dict[str, str] = {}
        self.dispatched: list[FakeValues] = []
        self.notifications: list[FakeNotification] = []
        self.unknown_types: set[str] = set()
        self.lines: list[tuple[str, str]] = []

    def Values(self) -> FakeValues:
        return FakeValues(self)

    def Notification(self) -> FakeNotification:
        return FakeNotification(self)

    def values(self) -> dict[str, float]:
        """What was dispatched since this was last asked, by name."""
        values = {one.name: one.values[0] for one in self.dispatched}
        self.dispatched.clear()
        return values

    def logged(self, severity: str) -> list[str]:
        """The lines logged with this severity."""
        return [line for at, line in self.lines if at == severity]

    def error(self, line: str) -> None:
        self.lines.append(("error", line))

    def warning(self, line: str) -> None:
        self.lines.append(("warning", line))

    def info(self, line: str) -> None:
        self.lines.append(("info", line))

    def debug(self, line: str) -> None:
        """What a collectd does that was built without debugging: nothing."""

    def register_config(self, callback: Callable[..., None], *, name: str) -> None:
        self._register("config", callback, name)

    def register_init(self, callback: Callable[[], None], *, name: str) -> None:
        self._register("init", callback, name)

    def register_read(self, callback: Callable[[], None], *, name: str) -> None:
        self._register("read", callback, name)

    def register_write(self, callback: Callable[..., None], *, name: str) -> None:
        self._register("write", callback, name)

    def register_shutdown(self, callback: Callable[[], None], *, name: str) -> None:
        self._register("shutdown", callback, name)

    def _register(self, kind: str, callback: Callable[..., None], name: str) -> None:
        self.callbacks[kind] = callback
        self.names[kind] = name
