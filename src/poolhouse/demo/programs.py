"""The programs of the demo's fleet: who runs where, with which pool, and what it does with it."""

from dataclasses import dataclass
from typing import Literal

#: ``steady``: each thread works and thinks. ``asking``: it keeps its connection while it asks somebody else.
#: ``slow``: its statement takes long. ``leaking``: every few seconds a connection is taken and not given back,
#: until none is left; later the program is "restarted". ``forking``: every few seconds the process forks a child
#: that works for a while and ends.
Habit = Literal["steady", "asking", "slow", "leaking", "forking"]
#: ``QueuePool`` is SQLAlchemy's; ``ConnectionPool`` is `poolhouse.pool.ConnectionPool`.
PoolKind = Literal["QueuePool", "ConnectionPool"]


@dataclass(frozen=True, slots=True)
class Program:
    """One program; times are seconds, and means of what is drawn at random."""

    #: One process for each entry, on the host that it says it runs on.
    hosts: tuple[str, ...]
    threads: int
    #: Connections kept, and how many more may be open for a while.
    pool_size: int
    max_overflow: int
    #: How long a connection is held, and how long a thread waits before it wants one again.
    hold: float
    think: float
    #: How long a thread waits for a connection before it gives up.
    timeout: float = 30.0
    habit: Habit = "steady"
    pool: PoolKind = "QueuePool"


PROGRAMS = {
    "catalog": Program(
        ("web1", "web1", "web2", "web2"), threads=4, pool_size=5, max_overflow=5, hold=0.01, think=0.1
    ),
    # What it holds is more than its pool has, so that some of its threads always wait.
    "checkout": Program(
        ("web1", "web2"),
        threads=10,
        pool_size=3,
        max_overflow=2,
        hold=1.2,
        think=0.3,
        timeout=2.0,
        habit="asking",
    ),
    "reports": Program(
        ("batch1",), threads=6, pool_size=3, max_overflow=0, hold=1.2, think=0.3, timeout=3.0, habit="slow"
    ),
    "billing": Program(
        ("batch1",), threads=3, pool_size=5, max_overflow=0, hold=0.05, think=0.3, timeout=2.0, habit="leaking"
    ),
    # As many threads as checkout, which let go of their connections: three are enough for ten threads.
    "orders": Program(
        ("web1", "web2"), threads=10, pool_size=3, max_overflow=0, hold=0.02, think=0.3, pool="ConnectionPool"
    ),
    "mailer": Program(("batch1",), threads=2, pool_size=2, max_overflow=0, hold=0.05, think=0.2, habit="forking"),
}
