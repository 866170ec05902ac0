"""The programs of the demo's fleet: where each one runs, with which pool, and how it uses the pool."""

from dataclasses import dataclass
from typing import Literal

#: ``steady``: each thread queries, then thinks. ``asking``: each thread keeps its connection while it calls
#: another service. ``slow``: the statement takes long. ``leaking``: every few seconds a connection is taken and
#: never returned, until none is left; later the program is "restarted". ``forking``: every few seconds the process
#: forks a child that works for a while and exits.
Habit = Literal["steady", "asking", "slow", "leaking", "forking"]
#: ``QueuePool`` is SQLAlchemy's; ``ConnectionPool`` is `poolhouse.pool.ConnectionPool`.
PoolKind = Literal["QueuePool", "ConnectionPool"]


@dataclass(frozen=True, slots=True)
class Program:
    """One program; times are in seconds, and are means of random times."""

    #: One process for each entry, which is the host that the process claims to run on.
    hosts: tuple[str, ...]
    threads: int
    #: How many connections the pool keeps, and how many more it may open temporarily.
    pool_size: int
    max_overflow: int
    #: How long a thread holds a connection, and how long it then thinks before the next checkout.
    hold: float
    think: float
    #: How long a thread waits for a connection before it times out.
    timeout: float = 30.0
    habit: Habit = "steady"
    pool: PoolKind = "QueuePool"


PROGRAMS = {
    "catalog": Program(
        ("web1", "web1", "web2", "web2"), threads=4, pool_size=5, max_overflow=5, hold=0.01, think=0.1
    ),
    # Its threads want more connections than the pool has, so some of them always wait.
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
    # As many threads as checkout, but they release their connections early: three are enough for ten threads.
    "orders": Program(
        ("web1", "web2"), threads=10, pool_size=3, max_overflow=0, hold=0.02, think=0.3, pool="ConnectionPool"
    ),
    "mailer": Program(("batch1",), threads=2, pool_size=2, max_overflow=0, hold=0.05, think=0.2, habit="forking"),
}
