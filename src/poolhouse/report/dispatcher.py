"""The turns of the reporter's thread: which reports are due, and which name to look up.

Guarantees, however slow a resolver is: a lookup begins only after every report that is due and has an address has
been sent; one lookup runs at a time; one name takes at most a tenth of the time (`poolhouse.report.route`). So a
lookup for one destination delays the reports to another by at most its own duration. Nothing is lost by this,
since reports are cumulative.
"""

import random
from collections.abc import Callable, Iterable
from contextlib import suppress
from math import inf
from typing import NamedTuple

from poolhouse.clock import Clock
from poolhouse.report.destination import NAMELESS, Destination, Target
from poolhouse.report.log import log
from poolhouse.report.looks import Looks
from poolhouse.report.native import Lock, Signal
from poolhouse.report.network import Network
from poolhouse.report.roster import Failure
from poolhouse.report.route import Address, Route, State
from poolhouse.report.sender import AnySender, Sender
from poolhouse.report.source import Source
from poolhouse.report.stream import Identity, Stream
from poolhouse.report.told import Told
from poolhouse.safely import DEBUG, ERROR, INFO, WARNING


class _Key(NamedTuple):
    """The identity of a stream for its receiver, and its destination."""

    target: Target
    program_name: str
    report_host: str


class Dispatcher:
    """All streams of a process.

    Thread-safe except `begin`, which must not run concurrently with anything.

    Args:
        clock: The source of time.
        network: The operating system's sockets and resolver.
        identify: Gives this process an identity; called when its first pool is used.
        wake: Called when a stream must report at once; neither waits nor raises.
    """

    def __init__(
        self, clock: Clock, network: Network, identify: Callable[[], Identity], wake: Callable[[], None]
    ) -> None:
        self._clock = clock
        self._network = network
        self._identify = identify
        self._wake = wake
        #: Any thread and any signal handler may insert without a lock, because inserting is atomic. So every loop
        #: iterates over a list. The same holds for the senders.
        self._streams: dict[_Key, Stream] = {}
        #: Destinations whose differences from their stream, in interval or detail, have been logged.
        self._differing: set[Destination] = set()
        self._is_namelessness_told = False
        self._begin()

    def _begin(self) -> None:
        #: The process's identity, under the only key. It is not made before a pool is used: a server in C, such as
        #: uWSGI, may load the application once and then fork without telling Python, and each worker is a process.
        self._identities: dict[None, Identity] = {}
        #: Protects rosters, routes and sockets. Held while reports are made and sent, never during a lookup.
        self._turn = Lock()
        self._senders: dict[Target, tuple[AnySender, ...]] = {}
        self._told: dict[AnySender, Told] = {}
        self._is_closed = False
        #: The samples of who holds the connections of this process's pools.
        self._looks = Looks(self._clock)

    def begin(self) -> list[Source]:
        """Start afresh in a forked child, without the parent's sockets and locks; returns the parent's sources."""
        self._close_sockets()
        self._begin()
        sources = [source for stream in list(self._streams.values()) for source in stream.sources]
        for stream in list(self._streams.values()):
            stream.begin(self._senders_to(stream.destination))
        return sources

    def stream(self, destination: Destination) -> Stream:
        """The stream to a destination, the same one for the same host, port, program and reporting host."""
        key = _Key(destination.target, destination.program_name, destination.report_host)
        stream = self._streams.get(key)
        if stream is None:
            self._warn_of_host(destination)
            made = Stream(destination, self._senders_to(destination), self._used)
            stream = self._streams.setdefault(key, made)
        if stream.destination != destination and destination not in self._differing:
            self._differing.add(destination)
            log(
                WARNING,
                "poolhouse reports %r to %s already, every %g s in %s detail; interval and detail stay the same",
                destination.program_name,
                destination.address,
                stream.destination.interval,
                stream.destination.detail,
            )
        return stream

    def _warn_of_host(self, destination: Destination) -> None:
        """Warn once that this machine has no name: all such machines share one row."""
        if destination.report_host == NAMELESS and not self._is_namelessness_told:
            self._is_namelessness_told = True
            log(
                WARNING,
                "poolhouse finds no host name on this machine and reports as host %r; "
                "set collectd_report_host, or report_host in POOLHOUSE_REPORT",
                NAMELESS,
            )

    @property
    def is_active(self) -> bool:
        """Whether a pool has been used in this process."""
        return bool(self._active())

    @property
    def has_unknown_address(self) -> bool:
        """Whether a name that a report needs has never been looked up."""
        return any(not stream.is_looked_up for stream in self._active())

    @property
    def is_looking_up(self) -> bool:
        """Whether a lookup is under way."""
        return any(sender.route.lookup_due == inf for sender in self._all_senders())

    def turn(self) -> float:
        """Send what is due, then look up at most one name. Returns the seconds until something is due again."""
        now = self._clock.monotonic()
        if not self._is_closed:
            self._look(now)
        with self._turn:
            if self._is_closed:
                return inf
            senders = self._active_senders()
            steps = [sender.step(now) for sender in senders]
            for stream in self._active():
                if stream.due <= now and stream.is_ready:
                    self._report(stream, goodbye=False)
                elif stream.look_due(now) <= now:
                    self._tell_failures(stream.look(now))
        self._tell()
        waiting_longest = min(senders, key=lambda sender: sender.route.lookup_due, default=None)
        if waiting_longest is not None and waiting_longest.route.lookup_due <= now:
            self._look_up(waiting_longest)
            self._looks.put_off()
            return 0.0
        lookups = [sender.route.lookup_due for sender in senders]
        reports = [stream.due for stream in self._active() if stream.is_ready]
        looks = [stream.look_due(now) for stream in self._active()]
        due = min([self._looks.due, self._looks.loops_due, *steps, *lookups, *reports, *looks], default=inf)
        return max(0.0, due - self._clock.monotonic())

    def _look(self, now: float) -> None:
        """Look at who holds connections, if a look or a report is due."""
        active = self._active()
        if self._looks.due <= now or any(stream.due <= now and stream.is_ready for stream in active):
            sources: list[Source] = []
            for stream in active:
                with suppress(Exception):  # Its report will fail, too, and log the error.
                    sources += stream.reported
            self._looks.look(sources)
        elif self._looks.loops_due <= now:
            self._looks.look_at_loops()

    def look_up_unknown(self) -> None:
        """Look up every name that a report needs and that has never been looked up."""
        for sender in self._active_senders():
            if not sender.route.was_looked_up:
                self._look_up(sender)

    def report_all(self, goodbye: bool, timeout: float, patience: float = 0.0) -> bool:
        """Report every stream now. Returns whether all reports left. After a goodbye nothing more is sent.

        Args:
            goodbye: Whether to say that the process is ending.
            timeout: The longest wait, in seconds.
            patience: If longer, the wait in seconds for a report under way that only waits for a processor.
        """
        turn = self._turn  # A signal handler may fork meanwhile, and the child has another one.
        deadline = self._clock.monotonic() + timeout
        if not turn.acquire(max(timeout, patience)):
            return False
        try:
            self._look_up_at_once()
            self._move_on(deadline)
            left = [not self._is_closed and self._report(stream, goodbye) for stream in self._active()]
            if goodbye:
                self._move_on(deadline)  # For what a node has not taken yet.
                self._is_closed = True
                self._close_sockets()
        finally:
            turn.release()
        self._tell()
        return all(left)

    def _look_up_at_once(self) -> None:
        """Look up IP addresses and this machine itself, which needs no resolver.

        On a busy machine the thread may not have had a turn yet.
        """
        for sender in self._active_senders():
            route = sender.route
            if not route.was_looked_up and (route.host == "localhost" or _is_address(route.host)):
                route.begin_lookup(self._clock.monotonic())
                try:
                    self._end_lookup(route, *self._ask(route))
                except BaseException:
                    route.give_up_lookup()
                    raise

    def _move_on(self, deadline: float) -> None:
        """Have every sender do what it can until the deadline, so that a report leaves."""
        pause = Signal()
        while not self._is_closed:
            senders, now = self._active_senders(), self._clock.monotonic()
            due = [due for sender in senders if (due := sender.step(now)) < deadline and not sender.is_ready]
            if not due or now >= deadline:
                return
            pause.wait(max(0.0, min(min(due), deadline) - now))

    def _used(self) -> None:
        """Note that a pool is used: from now on this process reports."""
        self._identity()
        self._wake()

    def _identity(self) -> Identity:
        return self._identities.get(None) or self._identities.setdefault(None, self._identify())

    def _active(self) -> list[Stream]:
        """The streams with pools that have been used in this process."""
        return [stream for stream in list(self._streams.values()) if stream.due < inf]

    def _active_senders(self) -> set[AnySender]:
        return {sender for stream in self._active() for sender in stream.senders}

    def _all_senders(self) -> list[AnySender]:
        return [sender for senders in list(self._senders.values()) for sender in senders]

    def _report(self, stream: Stream, goodbye: bool) -> bool:
        """Report one stream; its failure affects no other stream."""
        try:
            now, wall_time = self._clock.monotonic(), self._clock.wall_time()
            looks = self._looks
            delivery = stream.report(self._identity(), now, wall_time, goodbye, looks.signs(), looks.looks_due)
        except Exception as error:
            if not stream.has_failed:
                log(ERROR, "poolhouse cannot report %r", stream.destination.program_name, error=error)
            stream.has_failed = True
            return False
        stream.has_failed = False
        self._tell_failures(delivery.failures)
        return delivery.left

    def _tell_failures(self, failures: Iterable[Failure]) -> None:
        for failure in failures:
            log(
                ERROR,
                "poolhouse cannot read a pool and repeats its last figures: %r",
                failure.source,
                error=failure.error,
            )

    def _look_up(self, sender: AnySender) -> None:
        """Look up a name's addresses, for as long as it takes."""
        route = sender.route
        with self._turn:
            was_unresolved = route.state is State.UNRESOLVED
            route.begin_lookup(self._clock.monotonic())
        try:
            self._take_lookup(sender, was_unresolved, *self._ask(route))
        except BaseException:  # Out of memory: a lookup that never ends would be the last one.
            route.give_up_lookup()
            raise
        self._tell()

    def _take_lookup(
        self, sender: AnySender, was_unresolved: bool, addresses: list[Address], error: Exception
    ) -> None:
        route = sender.route
        with self._turn:
            if route.lookup_due < inf:
                return  # `_look_up_at_once` has completed it meanwhile.
            self._end_lookup(route, addresses, error)
            if addresses:
                sender.renew()
            if was_unresolved and addresses:
                for stream in self._active():
                    if sender in stream.senders:
                        stream.due = -inf  # It has been silent too long already.

    def _ask(self, route: Route) -> tuple[list[Address], Exception]:
        """The addresses of a route's host, and the reason if there are none."""
        error: Exception = OSError("it has no address")
        try:
            return self._network.look_up(route.host, route.port), error
        except Exception as raised:
            return [], raised

    def _end_lookup(self, route: Route, addresses: list[Address], error: Exception) -> None:
        if addresses:
            route.found(addresses, self._clock.monotonic())
        else:
            route.not_found(error, self._clock.monotonic())

    def _tell(self) -> None:
        """Log what is new of each destination."""
        for sender in self._all_senders():
            told = self._told.setdefault(sender, Told())
            before, where, error = told.state, sender.where, sender.error
            if not told.is_news(sender.state, error):
                continue
            match sender.state:
                case State.UNTRIED:
                    pass
                case State.UNRESOLVED:
                    log(
                        WARNING,
                        "poolhouse cannot report to %s: the name lookup failed (%s); it will keep retrying",
                        where,
                        error,
                    )
                case State.UNREACHED:
                    log(WARNING, "poolhouse cannot report to %s: %s; it will keep retrying", where, error)
                case State.REACHED:
                    log(DEBUG if before is State.UNTRIED else INFO, "poolhouse reports to %s", where)

    def _close_sockets(self) -> None:
        for sender in self._all_senders():
            sender.close()

    def _senders_to(self, destination: Destination) -> tuple[AnySender, ...]:
        target = destination.target
        return self._senders.get(target) or self._senders.setdefault(target, self._make_senders(destination))

    def _make_senders(self, destination: Destination) -> tuple[AnySender, ...]:
        """One sender for each host; a single one for a service, whichever node it talks to."""
        if destination.service is None:
            routes = [Route(host, destination.port) for host in destination.hosts]
            protection = destination.protection
            return tuple(
                Sender(route, self._network, None if protection is None else protection.sealer())
                for route in routes
            )
        from poolhouse.report.tcp import TcpSender  # Imported here: few processes report to a service.

        name, interval = destination.program_name, destination.interval
        return (TcpSender(destination.service, name, interval, self._network, self._clock, random.random),)


def _is_address(host: str) -> bool:
    """Whether a host is an IP address.

    >>> [_is_address(host) for host in ("127.0.0.1", "fe80::1%eth0", "db.example")]
    [True, True, False]
    """
    from ipaddress import ip_address  # Used only at the end of a process, and rarely.

    with suppress(ValueError):
        return bool(ip_address(host))
    return False
