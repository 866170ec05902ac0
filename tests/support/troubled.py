"""A process with a pool in virtual time that reports every two seconds: requests, their holds, looks at them.

`Life` takes steps of 10 ms. Each request takes one connection, goes through stages, and returns it, or does not.
"""

from collections import Counter, deque
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field

from poolhouse.meter.histogram import Histogram
from poolhouse.meter.reading import Counters, Gauges, Limits, PoolReading
from poolhouse.meter.signs import ConnectErrors, Finding, Looks, PoolSigns, ProcessSigns, SiteReading
from poolhouse.verdicts.moment import Moment
from poolhouse.verdicts.standing import Change, Examiner

STEP = 0.01


@dataclass
class Request:
    """What one caller does with a connection."""

    site: str
    #: States and how many seconds each lasts; the last one for ever if it has no end.
    stages: list[tuple[str, float]]
    line: str = ""
    is_collected: bool = False
    came: float = 0.0
    took: float = 0.0
    #: In a chain, called when the request is done.
    then: Callable[[], None] | None = None

    @property
    def hold(self) -> float:
        return sum(seconds for _, seconds in self.stages)

    def state(self, now: float) -> str:
        at = now - self.took
        for state, seconds in self.stages:
            if at < seconds:
                return state
            at -= seconds
        return self.stages[-1][0]


def busy(seconds: float, site: str = "app.py:10 in query") -> Request:
    return Request(site, [("busy", seconds)])


def idle(seconds: float, site: str = "app.py:20 in call", line: str = "http.py:5 in send") -> Request:
    return Request(site, [("busy", 0.01), ("idle", seconds)], line)


def leaked(site: str = "app.py:30 in export") -> Request:
    return Request(site, [("busy", 0.05), ("ended", float("inf"))])


@dataclass
class _Site:
    returned: int = 0
    collected: int = 0
    held: float = 0.0
    waited: float = 0.0
    looks: Counter[str] = field(default_factory=Counter)
    lines: Counter[str] = field(default_factory=Counter)
    use: Histogram = field(default_factory=Histogram)


class Life:
    """One process with one pool, which looks at it every `pause` seconds."""

    def __init__(self, most: int | None = 5, interval: float = 2.0, key: int = 1, pause: float = 0.1) -> None:
        self.most = most
        self.interval = interval
        self.key = key
        self.steps_a_look = round(pause / STEP)
        self.looks_due = 0
        self.now = 0.0
        self.ticks = 0
        self.queue: deque[Request] = deque()
        self.out: list[Request] = []
        self.sites: dict[str, _Site] = {}
        self.looks = self.looks_waiting = self.used_sum = self.waiting_sum = 0
        self.use = Histogram()
        self.connects = self.checkouts = 0
        self.errors: Counter[str] = Counter()
        self.signs: dict[str, int] = {}
        self.process = ProcessSigns()
        self.examiner = Examiner()
        self.changes: list[tuple[float, Change]] = []
        self.moments: list[Moment] = []
        self._next_report = 0.0

    def ask(self, request: Request) -> None:
        request.came = self.now
        self.queue.append(request)
        self._serve()

    def work(self, make: Callable[[], Request], workers: int = 1) -> None:
        """Callers that ask again as soon as they are done, for ever."""

        def again() -> None:
            request = make()
            request.then = again
            self.ask(request)

        for _ in range(workers):
            again()

    def live(self, seconds: float, arrivals: Callable[[float], Iterable[Request]] = lambda now: ()) -> None:
        """Go on for so long; `arrivals` is asked at each step who comes."""
        for _ in range(round(seconds / STEP)):
            for request in arrivals(self.now):
                self.ask(request)
            self._end_holds()
            if self.ticks % self.steps_a_look == 0:
                self.looks_due += 1
                if self.out or self.queue:
                    self._look()
            if self.now >= self._next_report - STEP / 2:
                self._next_report += self.interval
                self.report()
            self.ticks += 1
            self.now = self.ticks * STEP

    def report(self) -> None:
        moment = self.moment()
        self.moments.append(moment)
        self.changes += [(self.now, change) for change in self.examiner.take(moment)]

    @property
    def findings(self) -> tuple[Finding, ...]:
        return self.examiner.findings

    @property
    def causes(self) -> list[str]:
        return [finding.cause for finding in self.findings]

    @property
    def began(self) -> list[tuple[float, str]]:
        """When findings began, and their causes."""
        return [(at, change.now.cause) for at, change in self.changes if change.now is not None]

    def moment(self) -> Moment:
        gauges = Gauges(0, len(self.out), 0, len(self.queue))
        pool = PoolReading(
            self.key, "db:5432/shop", "QueuePool", limits=Limits(self.most), gauges=gauges,
            counters=Counters(checkouts=self.checkouts, connects=self.connects),
            use=self.use.copy(),
            signs=PoolSigns(
                "db:5432/shop", "app.py:1 in make", self.looks, self.looks_waiting, self.used_sum,
                self.waiting_sum, ConnectErrors(**self.errors), sites=tuple(map(self._site, self.sites)),
                **self.signs,
            ),
        )  # fmt: skip
        return Moment(self.now, (pool,), self.process, self.looks_due)

    def _site(self, name: str) -> SiteReading:
        site = self.sites[name]
        mine = [request for request in self.out if request.site == name]
        oldest = max((self.now - request.took for request in mine), default=0.0)
        open_s = sum(self.now - request.took for request in mine)
        line = site.lines.most_common(1)[0][0] if site.lines else ""
        looks = Looks(*(site.looks[state] for state in Looks._fields))
        return SiteReading(
            name, len(mine), oldest, site.returned, site.collected, site.held + open_s, site.waited, looks, line,
            site.use.copy(),
        )  # fmt: skip

    def _serve(self) -> None:
        while self.queue and (self.most is None or len(self.out) < self.most):
            request = self.queue.popleft()
            request.took = self.now
            self.checkouts += 1
            site = self.sites.setdefault(request.site, _Site())
            site.waited += self.now - request.came
            self.out.append(request)

    def _end_holds(self) -> None:
        for request in [one for one in self.out if self.now - one.took >= one.hold - STEP / 2]:
            self.out.remove(request)
            held = self.now - request.took
            site = self.sites[request.site]
            site.returned += 1
            site.collected += request.is_collected
            site.held += held
            site.use.record_all([round(held * 1e9)])
            self.use.record_all([round(held * 1e9)])
            self._serve()
            if request.then is not None:
                request.then()

    def _look(self) -> None:
        self.looks += 1
        self.looks_waiting += bool(self.queue)
        self.used_sum += len(self.out)
        self.waiting_sum += len(self.queue)
        for request in self.out:
            site = self.sites[request.site]
            state = request.state(self.now)
            site.looks[state] += 1
            if state in ("idle", "asks"):
                site.lines[request.line] += 1
