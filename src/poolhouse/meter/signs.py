"""What a pool and its process report beyond counters: the holders of connections, and what goes wrong around them.

Everything is absolute and cumulative, as in `poolhouse.meter.reading`: any part of a report may be lost.

A *site* is a line of the application that takes connections, in words: ``app/views.py:88 in checkout_cart``,
followed by `VIA` and a helper's line if one lies in between. It contains no value of the program's data.
"""

from typing import NamedTuple

from poolhouse.meter.histogram import Histogram

#: Stands between a site's line and the line of the helper through which it takes connections.
VIA = " via "
#: The site of connections that were taken before the pool was watched.
UNKNOWN_SITE = "unknown"
#: The sum of the sites beyond the number that is reported one by one.
OTHER_SITES = "other"


class Looks(NamedTuple):
    """How often the reporter found a site's holders in each state; one look counts once for each connection."""

    #: In a driver, or in SQLAlchemy's call of one: the database or the network is working.
    busy: int = 0
    #: Somewhere else: Python, another library, a sleep.
    idle: int = 0
    #: Asking for another connection.
    asks: int = 0
    #: The call that took the connection has ended, and the connection is still out.
    ended: int = 0


class SiteReading(NamedTuple):
    """One line of the application that takes connections from one pool."""

    site: str
    #: Connections that it holds now, and how long it has held the oldest of them, in seconds.
    open: int = 0
    oldest_s: float = 0.0
    #: Connections that came back, and those of them that the garbage collector returned.
    returned: int = 0
    collected: int = 0
    #: Connection-seconds: the sum of all holds, including current ones.
    held_s: float = 0.0
    #: The sum of its callers' noticeable waits, in seconds.
    waited_s: float = 0.0
    looks: Looks = Looks()
    #: The application's line at which most looks found holders that were idle or asked for another connection;
    #: empty if there were none.
    idle_line: str = ""
    #: How long its connections were out; ``None`` if the source does not measure that by site.
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
    #: The server is starting, shutting down or recovering.
    starting: int = 0
    lost: int = 0
    other: int = 0


class PoolSigns(NamedTuple):
    """The signs of one pool, beyond its counters."""

    #: ``host:port/database``, without user or secret; pools of one target share a server. Empty if not known.
    target: str = ""
    #: The application's line that made the pool; empty if not known.
    made_at: str = ""
    #: Looks at the pool while a connection was out or a caller waited, those of them with a waiting caller, and
    #: the sums of connections in use and of waiting callers over all of these looks.
    looks: int = 0
    looks_waiting: int = 0
    used_sum: int = 0
    waiting_sum: int = 0
    connect_errors: ConnectErrors = ConnectErrors()
    #: Connections of the parent process that were handed out in this forked child.
    inherited: int = 0
    #: Connections that were found dead while in use.
    dead: int = 0
    #: By connection-seconds, the largest first; at most `MOST_SITES`, and then `OTHER_SITES` if there are more.
    sites: tuple[SiteReading, ...] = ()


#: The most sites of a pool that are reported one by one.
MOST_SITES = 64


class ProcessSigns(NamedTuple):
    """The signs of a process, beyond its pools."""

    #: Looks, and those of them that came late because the process got no CPU.
    looks: int = 0
    late_looks: int = 0
    #: Seconds that an event loop stood still, in total and at most at a time, and the application's line where it
    #: stood most often; empty if it never stood still.
    stalled_s: float = 0.0
    longest_stall_s: float = 0.0
    stall_line: str = ""
    #: The application's line that forked this process; empty if it was not forked, or if that is not known.
    fork_line: str = ""
    #: How many pools have been made in this process.
    pools_made: int = 0


class Finding(NamedTuple):
    """A cause of trouble that a process has found in itself."""

    #: Its name in `poolhouse.verdicts.causes`.
    cause: str
    #: The key of the pool; `poolhouse.meter.reading.REST` if it concerns the whole process.
    pool: int = 0
    #: The site to blame, and where its holders are, or where the process stands; empty if there is none.
    site: str = ""
    line: str = ""
    #: How long it has stood, in seconds.
    age_s: float = 0.0
    #: The numbers that decided, in the order in which the cause's entry names them; at most `MOST_NUMBERS`.
    numbers: tuple[float, ...] = ()


#: The most numbers of a finding.
MOST_NUMBERS = 6
