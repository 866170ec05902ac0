"""The single thread that reports all pools of this process, and its behaviour at a fork and at exit.

The thread starts when the first pool is used. **Fork:** it ends before the fork, so that it holds no lock that the
child needs, and so that Python 3.12 finds no thread of ours to warn about. It starts again at once in the parent,
and in the child when the first pool is used there. A thread that waits for a resolver cannot be ended: the fork
waits for it for `FORK_PATIENCE_S`, then continues; the thread ends when the resolver answers. **Exit:** a goodbye
is sent within `END_PATIENCE_S`, on an overloaded machine within `BUSY_PATIENCE_S`, and nothing after it.

Nothing here raises into the application, except for a wrong URL given to `report_to`.
"""

import atexit
import os
import sys
from collections import deque
from collections.abc import Callable, Mapping
from contextlib import suppress
from typing import Any

from poolhouse.clock import Clock, SystemClock
from poolhouse.defaults import REPORT_VARIABLE
from poolhouse.report.destination import Destination
from poolhouse.report.dispatcher import Dispatcher
from poolhouse.report.log import log, notice_hub
from poolhouse.report.native import Lock, NativeThread, Signal
from poolhouse.report.network import Network
from poolhouse.report.sockets import SystemNetwork
from poolhouse.report.source import AnyStream
from poolhouse.report.stream import Identity, Stream
from poolhouse.report.unsent import UNSENT, begin_afresh, unsent_by_default
from poolhouse.safely import ERROR, is_order

#: How long a fork waits for a thread that is waiting for a resolver; and how long a fork or the process's end
#: waits for the thread if only a busy machine holds it up. In seconds.
FORK_PATIENCE_S = 0.1
BUSY_PATIENCE_S = 1.0
#: The longest delay of the process's end, in seconds, and the part of it in which a lookup may end.
END_PATIENCE_S = 0.2
LOOKUP_PATIENCE_S = 0.15
#: Seconds that the thread pauses after an unexpected error.
REST_S = 1.0
#: Seconds between two checks whether all names have been looked up.
_GLANCE_S = 0.001
#: Among multiprocessing's finalizers: after those that end its queues, pools and children.
_EXIT_PRIORITY = -100


class _Run:
    """One run of the thread."""

    def __init__(self, work: Callable[["_Run"], None]) -> None:
        self.must_end = False
        self.thread = NativeThread(lambda: work(self))


class Reporter:
    """The reports of one process.

    Attributes:
        default: The destination passed to `report_to`; ``None`` if there was none.
    """

    def __init__(self, clock: Clock, network: Network) -> None:
        self.default: Destination | None = None
        self._clock = clock
        self._dispatcher = Dispatcher(clock, network, self._identify, self.wake)
        self._is_at_exit = False
        self._begin()

    def _begin(self) -> None:
        self._signal = Signal()
        #: Prevents two threads from starting the reporter's thread twice; never waited for.
        self._starting = Lock()
        self._run: _Run | None = None
        #: One item for every fork under way, during which no thread starts. A deque, because it is atomic.
        self._forks: deque[None] = deque()
        self._has_ended = False
        self._has_failed = False
        self._has_finalizer = False

    def stream(self, destination: Destination) -> Stream:
        """The stream to a destination; neither thread nor socket exists before a pool is added to it.

        The exit handler is registered already: handlers run in reverse order, so those that the application
        registers later, and that use a pool, run before it.
        """
        self._register_at_exit()
        return self._dispatcher.stream(destination)

    def wake(self) -> None:
        """Have the thread check what is due, starting it if necessary. Never waits."""
        if self._run is None:
            notice_hub()
            self._start()
        self._signal.set()

    def flush(self, timeout: float, goodbye: bool, patience: float = 0.0) -> bool:
        """Report all pools now: the function `flush` of this module.

        Args:
            timeout: As in that function.
            goodbye: As in that function.
            patience: If longer, the wait in seconds for a report that only waits for a processor.
        """
        if self._has_ended:
            return False
        deadline = self._clock.monotonic() + timeout
        if goodbye:
            self._has_ended = True
            if (run := self._dismiss_thread()) is not None:
                run.thread.join(min(timeout, LOOKUP_PATIENCE_S))
        else:
            self._wait_for_addresses(deadline)
        return self._dispatcher.report_all(goodbye, max(0.0, deadline - self._clock.monotonic()), patience)

    def end(self) -> None:
        """Say goodbye, once, if a pool has been used; the first one may still be used later."""
        if self._dispatcher.is_active:
            self.flush(END_PATIENCE_S, goodbye=True, patience=BUSY_PATIENCE_S)

    def before_fork(self) -> None:
        """End the thread until the fork is done."""
        self._forks.append(None)
        run = self._dismiss_thread()
        if run is not None and not run.thread.join(FORK_PATIENCE_S) and not self._dispatcher.is_looking_up:
            run.thread.join(BUSY_PATIENCE_S)

    def after_fork_in_parent(self) -> None:
        """Continue."""
        with suppress(IndexError):  # The fork began before there was a reporter.
            self._forks.pop()
        if self._dispatcher.is_active:
            self.wake()

    def after_fork_in_child(self) -> None:
        """Become a separate process, which has not used a pool yet."""
        self._begin()
        begin_afresh(self._dispatcher.begin())

    def _identify(self) -> Identity:
        return Identity(f"{os.getpid()}:{os.urandom(3).hex()}", self._clock.monotonic())

    def _wait_for_addresses(self, deadline: float) -> None:
        """Let the thread finish lookups that have never been made."""
        pause = Signal()
        while self._dispatcher.has_unknown_address and self._clock.monotonic() < deadline:
            pause.wait(_GLANCE_S)

    def _start(self) -> None:
        if not self._starting.acquire(timeout=0):
            return  # Another thread is starting it.
        try:
            if self._run is None and not self._forks and not self._has_ended:
                self._register_end()
                self._run = _Run(self._work)
        except Exception as error:
            if is_order(error):
                raise
            # From CPython 3.12 on, no thread starts once the interpreter is ending; `end` then reports.
            if not self._has_failed and "interpreter shutdown" not in str(error):
                log(
                    ERROR,
                    "poolhouse cannot start a thread: it reports nothing until another pool is used",
                    error=error,
                )
            self._has_failed = True
        finally:
            self._starting.release()

    def _register_at_exit(self) -> None:
        if not self._is_at_exit:
            atexit.register(self.end)
            self._is_at_exit = True

    def _register_end(self) -> None:
        self._register_at_exit()
        # On Python 3.11 and 3.12, children forked by multiprocessing run only its own finalizers.
        finalize = getattr(sys.modules.get("multiprocessing.util"), "Finalize", None)
        if finalize is not None and not self._has_finalizer:
            finalize(None, self.end, exitpriority=_EXIT_PRIORITY)
            self._has_finalizer = True
        # Worker processes of Celery send a signal and exit by `os._exit`.
        ending = getattr(sys.modules.get("celery.signals"), "worker_process_shutdown", None)
        if ending is not None:
            with suppress(Exception):  # Another version: the process then goes silent without a goodbye.
                ending.connect(self._end_of_worker, weak=False, dispatch_uid="poolhouse")

    def _end_of_worker(self, **_: Any) -> None:
        """Called by Celery in a worker process that is ending."""
        self.end()

    def _dismiss_thread(self) -> _Run | None:
        """Tell the thread to end as soon as it can. Returns the run that is ending, or ``None`` if none ran."""
        run, self._run = self._run, None
        if run is not None:
            run.must_end = True
            self._signal.set()
        return run

    def _work(self, run: _Run) -> None:
        """The main function of the thread."""
        while not run.must_end:
            # Suppress everything, even SystemExit: this is the only such thread, and nothing would start another.
            with suppress(BaseException):
                self._take_turn(run)
        if self._has_ended:
            self._dispatcher.look_up_unknown()
        self._signal.set()  # This thread may have consumed the signal meant for its successor.

    def _take_turn(self, run: _Run) -> None:
        try:
            pause = self._dispatcher.turn()
        except BaseException as error:
            pause = REST_S
            with suppress(BaseException):
                log(ERROR, "poolhouse keeps reporting after an unexpected error", error=error)
        if pause > 0:
            self._signal.wait(pause)


#: This process's reporter, under the only key.
_reporters: dict[None, Reporter] = {}


def _reporter() -> Reporter:
    """This process's reporter; made at first use, without a lock that a fork could leave locked."""
    reporter = _reporters.get(None)
    if reporter is None:
        made = Reporter(SystemClock(), SystemNetwork())
        os.register_at_fork(
            before=made.before_fork,
            after_in_parent=made.after_fork_in_parent,
            after_in_child=made.after_fork_in_child,
        )
        reporter = _reporters.setdefault(None, made)
    return reporter


def stream(destination: Destination) -> Stream:
    """The stream of this process's reports to a destination.

    One stream per host, port, program name and reporting host; the first one's interval and detail apply.
    """
    return _reporter().stream(destination)


def default_destination() -> Destination:
    """The destination of pools whose settings name none.

    The URL given to `report_to`; else that in the environment variable ``POOLHOUSE_REPORT``; else localhost.

    Raises:
        SettingError: If the environment variable is wrong.
    """
    return _reporter().default or Destination.from_environment()


def default_stream() -> AnyStream:
    """The stream to `default_destination`.

    Raises:
        SettingError: If the environment variable is wrong.
    """
    return stream(default_destination())


def automatic_stream() -> AnyStream:
    """The stream of pools that poolhouse found by itself.

    If no destination is set, and other code in this process reads all pools, nothing is sent.

    Raises:
        SettingError: If the environment variable is wrong.
    """
    is_named = _reporter().default is not None or os.environ.get(REPORT_VARIABLE)
    return UNSENT if unsent_by_default() and not is_named else default_stream()


def destination_of(settings: Mapping[str, Any], prefixes: tuple[str, ...]) -> Destination:
    """The destination of a pool with these settings; those left out come from `default_destination`.

    Args:
        settings: As for `Destination.from_settings`.
        prefixes: The prefixes that keys may have.

    Raises:
        SettingError: If a setting is wrong, or the environment variable.
    """
    return Destination.from_settings(settings, prefixes, default_destination())


def report_to(url: str) -> None:
    """Report pools whose settings name no destination to `url`, starting with the next one that is made.

    Args:
        url: ``collectd://host:port/?program_name=…``; ``docs/reference/settings.md`` has all of it.

    Raises:
        SettingError: If the URL is wrong; the message names the setting.
    """
    report_at(Destination.from_url(url))


def report_at(destination: Destination) -> None:
    """`report_to` for a destination made from other settings."""
    _reporter().default = destination


def flush(timeout: float = 0.2, *, goodbye: bool = False) -> bool:
    """Report all pools of this process now, in the calling thread.

    For programs that end without letting Python say goodbye, for example by ``os._exit``:
    ``poolhouse.flush(goodbye=True)``.

    Args:
        timeout: The longest wait, in seconds, for names that were never looked up and for reports under way.
        goodbye: Whether to say that the process is ending; nothing is reported after that.

    Returns:
        Whether all reports left, as far as UDP can tell; false, too, if goodbye has already been said.
    """
    reporter = _reporters.get(None)
    return reporter is None or reporter.flush(timeout, goodbye)
