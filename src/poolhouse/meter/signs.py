"""What a pool and its process report beyond counters: the holders of connections, and what goes wrong around them.

Everything is absolute and cumulative, as in `poolhouse.meter.reading`: any part of a report may be lost.

A *site* is a line of the application that takes connections, in words: ``app/views.py:88 in checkout_cart``,
followed by `VIA` and a helper's line where one lies in between. It carries no value of the program's data.
"""

from typing import NamedTuple

from poolhouse.meter.histogram import Histogram

#: Stands between a site's line and the line of the helper through which it takes connections.
VIA = " via "
#: The site of connections that were taken before anybody watched.
UNKNOWN_SITE = "unknown"
#: The sum of the sites beyond the number that are told one by one.
OTHER_SITES = "other"


class Looks(NamedTuple):
    """How often the reporter found a site's holders in each state; one look counts once for each connection."""

    #: In a driver, or in SQLAlchemy's call of one: the database works, or the network does.
    busy: int = 0
    #: Somewhere else: Python, another library, a sleep.
    idle: int = 0
    #: Asking for a further connection.
    asks: int = 0
    #: The call that took the connection has ended, and the connection is still out.
    ended: int = 0


class SiteReading(NamedTuple):
    """One line of the application that takes connections from one pool."""

    site: str
    #: Connections that it holds now, and for how long it has held the oldest of them, in seconds.
    open: int = 0
    oldest_s: float = 0.0
    #: Connections that came back, and those of them that the garbage collector returned.
    returned: int = 0
    collected: int = 0
    #: Connection-seconds: the sum of all holds, including current ones.
    held_s: float = 0.0
    #: The sum of its callers' waits, of those who waited noticeably.
    waited_s: float = 0.0
    looks: Looks = Looks()
    #: The application's line at which most looks found its holders that were idle, or asked for a further
    #: connection; empty if there were none.
    idle_line: str = ""
    #: How long its connections were out; ``None`` where the source does not measure it by site.
    use: Histogram | None = None


class ConnectErrors(NamedTuple):
    """Failed connects by class."""

    refused: int = 0
    #: All the connections that the server allows are open.
    full: int = 0
    auth: int = 0
    no_database: int = 0
    dns: int = 0
    timeout: int = 0
    #: The server starts, shuts down or recovers.
    starting: int = 0
    lost: int = 0
    other: int = 0


class PoolSigns(NamedTuple):
    """What one pool shows beyond its counters."""

    #: ``host:port/database``, without user or secret; pools of one target share a server. Empty if not known.
    target: str = ""
    #: The application's line that made the pool; empty if not known.
    made_at: str = ""
    #: Looks at the pool while something was out or somebody waited, those of them with somebody waiting, and the
    #: sums of connections in use and of callers waiting over all of these looks.
    looks: int = 0
    looks_waiting: int = 0
    used_sum: int = 0
    waiting_sum: int = 0
    connect_errors: ConnectErrors = ConnectErrors()
    #: Connections of the parent process that were handed out in this forked child.
    inherited: int = 0
    #: Connections that turned out to be dead while a client used them.
    dead: int = 0
    #: By connection-seconds, the largest first; at most `MOST_SITES`, and then `OTHER_SITES` if there are more.
    sites: tuple[SiteReading, ...] = ()


#: How many sites of a pool are told one by one.
MOST_SITES = 64


class ProcessSigns(NamedTuple):
    """What a process shows beyond its pools."""

    #: Looks, and those of them that came late because the process got no CPU.
    looks: int = 0
    late_looks: int = 0
    #: Seconds that an event loop stood still, in all and at most at a time, and the application's line that it was
    #: at most often; empty if it never stood still.
    stalled_s: float = 0.0
    longest_stall_s: float = 0.0
    stall_line: str = ""
    #: The application's line that forked this process; empty if it was not forked, or if that is not known.
    fork_line: str = ""
    #: Pools that were made in this process, in all.
    pools_made: int = 0


class Finding(NamedTuple):
    """A cause of trouble that a process has found in itself."""

    #: Its name in `poolhouse.verdicts.causes`.
    cause: str
    #: The key of the pool; `poolhouse.meter.reading.REST` where it concerns the whole process.
    pool: int = 0
    #: The site that is to blame, and where its holders are, or where the process stands; empty if there is none.
    site: str = ""
    line: str = ""
    #: For how many seconds it has stood.
    age_s: float = 0.0
    #: The numbers that decided, in the order in which the cause's entry names them; at most `MOST_NUMBERS`.
    numbers: tuple[float, ...] = ()


#: How many numbers a finding may have.
MOST_NUMBERS = 6
