"""Descriptors, threads or memory are exhausted at each call with which collectd's plugins begin and work.

Each plugin goes on, says one sentence, and takes up again when the shortage is over: collectd itself would call a
plugin that raises less and less often.
"""

import selectors
import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from poolhouse.clock import SystemClock
from poolhouse.collectd_plugin import listeners, monitors, server
from poolhouse.collectd_plugin.connmon import ConnmonPlugin
from poolhouse.collectd_plugin.server import ServerPlugin
from poolhouse.fleet.fleet import MENDED, Fleet
from support.collectd import free_port, send
from support.exhausted import OF_FILES, OF_MEMORY, OF_THREADS, Calls, Exhausted, each, words
from support.fake_collectd import FakeCollectd, block
from support.reports import report
from support.waiting import wait_until

#: Calls with which either plugin begins.
BEGINS: Calls = [
    (selectors, "DefaultSelector", OF_FILES | OF_MEMORY),
    (socket, "socketpair", OF_FILES | OF_MEMORY),
    (threading.Thread, "start", OF_THREADS | OF_MEMORY),
    (Path, "open", OF_FILES | OF_MEMORY),
]
#: Calls with which it listens, once it has begun.
LISTENS: Calls = [
    (listeners, "lookup", OF_MEMORY),
    (listeners, "udp_socket", OF_FILES | OF_MEMORY),
    (listeners, "note_destinations", OF_FILES | OF_MEMORY),
]
#: Calls with which the plugin for consoles pushes.
PUSHES: Calls = [
    (monitors, "udp_socket", OF_FILES | OF_MEMORY),
]


def threads_of_ours() -> list[str]:
    return [thread.name for thread in threading.enumerate() if thread.name.startswith("poolhouse")]


@pytest.fixture
def auth(tmp_path: Path) -> Path:
    path = tmp_path / "auth"
    path.write_text("alice: secret\n")
    path.chmod(0o600)
    return path


class Plugin:
    """A plugin in a collectd that only keeps what it is told."""

    def __init__(self, make: Any, *lines: tuple[Any, ...]) -> None:
        self.collectd = FakeCollectd()
        self.port = free_port()
        self.plugin = make(self.collectd)
        self.plugin.register()
        self.call("config", block(("listen", "127.0.0.1", self.port), *lines))

    def call(self, callback: str, *arguments: Any) -> None:
        self.collectd.callbacks[callback](*arguments)

    @property
    def said(self) -> list[str]:
        return self.collectd.logged("error") + self.collectd.logged("warning")


def the_server(collectd: FakeCollectd) -> ServerPlugin:
    return ServerPlugin(collectd, SystemClock())


def the_connmon(collectd: FakeCollectd) -> ConnmonPlugin:
    return ConnmonPlugin(collectd, lambda: None, SystemClock())


@contextmanager
def running(make: Any, *lines: tuple[Any, ...]) -> Iterator[Plugin]:
    plugin = Plugin(make, *lines)
    try:
        yield plugin
    finally:
        plugin.call("shutdown")
        assert threads_of_ours() == []


def take(one: Plugin) -> None:
    """A report, until the fleet has it."""
    before = one.plugin.snapshot().health.received
    wait_until(lambda: send(report("shop", used=1), one.port) or one.plugin.snapshot().health.received > before)


def listens(one: Plugin) -> bool:
    """Whether consoles are answered."""
    consoles = one.plugin._consoles
    return consoles is not None and bool(consoles._listeners.bound)


@pytest.mark.parametrize(("owner", "name", "error"), each(BEGINS + LISTENS))
def test_the_server_receives_when_the_shortage_is_over(auth, owner, name, error):
    with running(the_server, ("AuthFile", str(auth))) as one:
        with Exhausted(owner, name, error) as exhausted:
            one.call("init")
            one.call("read")
        assert exhausted.calls >= 2
        assert len(one.said) == 1
        assert words(error) in one.said[0]
        assert one.said[0].endswith("; it will keep retrying")
        one.call("read")
        take(one)
        assert len(one.said) == 1


@pytest.mark.parametrize(("owner", "name", "error"), each(BEGINS + LISTENS + PUSHES))
def test_consoles_are_answered_when_the_shortage_is_over(auth, owner, name, error):
    with running(the_connmon, ("AuthFile", str(auth))) as one:
        with Exhausted(owner, name, error) as exhausted:
            one.call("init")
            one.call("read")
        assert exhausted.calls >= 2
        said = [line for line in one.said if "keep retrying" in line]
        assert len(said) == 1
        assert words(error) in said[0]
        one.call("read")
        assert listens(one)
        assert [line for line in one.said if "keep retrying" in line] == said


@pytest.mark.parametrize("error", [*OF_FILES.values(), *OF_MEMORY.values()], ids=[*OF_FILES, *OF_MEMORY])
def test_a_socket_that_nobody_could_watch_is_none(error):
    with running(the_server) as one:
        real, calls = selectors.DefaultSelector.register, []

        def register(*arguments: Any) -> Any:
            calls.append(arguments)
            if len(calls) == 2:  # The first one is what wakes the thread.
                raise error
            return real(*arguments)

        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(selectors.DefaultSelector, "register", register)
            one.call("init")
        assert len(calls) == 2
        assert one.plugin.reports == ()
        (sentence,) = one.said
        assert words(error) in sentence
        one.call("read")
        take(one)


@pytest.mark.parametrize("error", [*OF_FILES.values(), *OF_MEMORY.values()], ids=[*OF_FILES, *OF_MEMORY])
def test_the_thread_that_listens_goes_on(monkeypatch, error):
    monkeypatch.setattr(listeners, "PAUSE", 0.01)
    with running(the_server) as one:
        one.call("init")
        take(one)
        with Exhausted(selectors.DefaultSelector, "select", error) as exhausted:
            send(report("shop", used=1), one.port)  # It waits in the real one until something comes.
            wait_until(lambda: exhausted.calls >= 3)
        take(one)
        assert one.said == [f"poolhouse server: datagrams have to wait: {words(error)}"]


def test_a_datagram_for_which_there_is_no_memory_is_lost_and_no_other():
    with running(the_server) as one:
        one.call("init")
        take(one)
        with Exhausted(server, "waiting_datagrams", MemoryError()) as exhausted:
            send(report("shop", used=1), one.port)
            wait_until(lambda: exhausted.calls >= 3)
        take(one)
        assert one.said == ["poolhouse server: datagrams were lost: there is no memory left"]


def test_values_are_told_when_the_shortage_is_over():
    with running(the_server) as one:
        one.call("init")
        take(one)
        with Exhausted(Fleet, "host_rows", MemoryError()):
            one.call("read")
            one.call("read")
        assert one.said == ["poolhouse server: some values were not written this time: there is no memory left"]
        assert not one.collectd.dispatched
        one.call("read")
        assert one.collectd.dispatched


def test_a_fleet_that_was_made_whole_again_is_told():
    with running(the_server) as one:
        one.call("init")
        take(one)
        with Exhausted(Fleet, "_take_report", MemoryError()):
            take(one)
        one.call("read")
        one.call("read")
        assert f"poolhouse server: {MENDED}" in one.said
        assert sum(MENDED in line for line in one.said) == 1
