"""A source, with a second one as long as the first has never answered: TCP, and then UDP as well."""

from collections.abc import Callable, Sequence
from math import inf

from poolhouse.feed.link import Link, is_refused
from poolhouse.feed.service_caller import ServiceCaller
from poolhouse.feed.source import Source, Waitable
from poolhouse.fleet.snapshot import Snapshot


class Fallback:
    """A `poolhouse.feed.source.Source`: starts the second once the first has failed, and keeps what answers.

    Meanwhile the first keeps trying. Once one has answered it is the only one, even if it is lost later.
    """

    def __init__(self, first: ServiceCaller, make_second: Callable[[], Source], what: str) -> None:
        """Prepare.

        Args:
            first: The preferred source.
            make_second: Makes the other source.
            what: The other source in words, for the note about it.
        """
        self._first: ServiceCaller | None = first
        #: ``None`` once the second has started, or is no longer needed.
        self._make_second: Callable[[], Source] | None = make_second
        self._what = what
        self._second: Source | None = None
        self._program: str | None = None
        self._note = ""

    @property
    def sockets(self) -> Sequence[Waitable]:
        """The sockets of both."""
        return [sock for one in self._sources for sock in one.sockets]

    @property
    def next_due(self) -> float:
        """When `step` is due next."""
        return min((one.next_due for one in self._sources), default=inf)

    def prepare(self, now: float) -> None:
        """Prepare the first source; the other is prepared when it starts."""
        for one in self._sources:
            one.prepare(now)

    def ask(self, program: str | None, now: float) -> None:
        """Request the processes of this program too."""
        self._program = program
        for one in self._sources:
            one.ask(program, now)

    def retry(self, now: float) -> None:
        """Try now if nothing answers."""
        for one in self._sources:
            one.retry(now)

    def step(self, now: float) -> Snapshot | None:
        """Do what is due, and start the second source when the first has failed."""
        found = [one.step(now) for one in self._sources]
        if self._make_second is not None and self._first is not None and self._first.is_absent:
            self._note = _why(self._first.link(), self._what)
            self._second = self._make_second()
            self._make_second = None
            self._second.prepare(now)
            self._second.ask(self._program, now)
            found.append(self._second.step(now))
        self._choose()
        return next((one for one in found if one is not None), None)

    def receive(self, sock: Waitable, now: float) -> Snapshot | None:
        """Read what arrived at one of the sockets."""
        owner = next((one for one in self._sources if any(sock is other for other in one.sockets)), None)
        newest = None if owner is None else owner.receive(sock, now)
        self._choose()
        return newest

    def summed(self, now: float, wall_time: float) -> Snapshot | None:
        """The snapshot from value lists, if the server sends those."""
        told = (one.summed(now, wall_time) for one in self._sources)
        return next((snapshot for snapshot in told if snapshot is not None), None)

    def link(self) -> Link:
        """The link of the source that answers; of the second one if none does."""
        source = self._second or self._first
        assert source is not None, "there is always one"
        link = source.link()
        return link._replace(note=self._note) if source is self._second else link

    def close(self) -> None:
        """Close both."""
        for one in self._sources:
            one.close()

    @property
    def _sources(self) -> "list[Source]":
        return [one for one in (self._first, self._second) if one is not None]

    def _choose(self) -> None:
        """Keep the source that has answered."""
        if self._first is not None and self._first.link().phase == "connected":
            self._make_second = None
            if self._second is not None:
                self._second.close()
                self._second = None
        elif self._first is not None and self._second is not None and self._second.link().heard_at is not None:
            self._first.close()
            self._first = None


def _why(link: Link, what: str) -> str:
    """Why the source is not TCP."""
    if link.error is None or is_refused(link.error):
        return f"nothing answers on TCP {link.address}, so this is {what}"
    return f"TCP {link.address}: {link.error}; so this is {what}"
