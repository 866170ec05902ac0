"""The causes of trouble with connections, as data: symptoms, what to do, and what would disprove each.

The order of `CAUSES` is their rank. If several are true of one pool, the first is the main one, because the others
may follow from it. ``docs/reference/causes.md`` has the same numbers, and a test compares them.

Two terms that several causes use: a pool is *saturated* while callers wait for it and nearly all of it is in use.
A line's *habit* is how long it held its connections, on average, before the trouble began.
"""

from typing import Literal, NamedTuple

Severity = Literal["alarm", "notice"]


class Threshold(NamedTuple):
    """One number that a verdict depends on."""

    name: str
    value: float
    #: ``s`` for seconds, ``share`` for a part of a whole, ``times`` for a multiple; otherwise what is counted.
    unit: str
    #: What the number measures, in words that follow the number; may be empty.
    of: str
    #: The reason for this value.
    reason: str


class Cause:
    """One cause of trouble.

    ``cause["threshold"]`` is the value of one of its thresholds.
    """

    def __init__(
        self,
        name: str,
        severity: Severity,
        evidence: str,
        thresholds: tuple[Threshold, ...],
        numbers: tuple[str, ...],
        do: str,
        disprove: str,
    ) -> None:
        self.name = name
        #: ``alarm`` if callers suffer, ``notice`` if it is unusual but does no harm yet.
        self.severity: Severity = severity
        #: The symptom, in one sentence.
        self.evidence = evidence
        self.thresholds = thresholds
        #: The names of a finding's numbers, in order; one that ends in ``_s`` is in seconds.
        self.numbers = numbers
        #: What to do about it.
        self.do = do
        #: Observations that would show another cause.
        self.disprove = disprove
        self._values = {threshold.name: threshold.value for threshold in thresholds}

    def __getitem__(self, threshold: str) -> float:
        """The value of one of its thresholds; `KeyError` if it has no such threshold."""
        return self._values[threshold]


#: When a verdict begins and ends, when a pool is saturated or calm, and when a line is named.
RULES = (
    Threshold(
        "window",
        6.0,
        "s",
        "",
        "three reports, one every 2 s: one may be late, and two alone may agree by chance",
    ),
    Threshold(
        "window reports",
        3,
        "reports",
        "",
        "if the interval is longer, the window is this many reports",
    ),
    Threshold(
        "stands",
        12.0,
        "s",
        "after its last evidence",
        "trouble that pauses for a moment and comes back is the same trouble",
    ),
    Threshold("saturated waiting", 0.5, "share", "of the samples find callers waiting", "a burst is shorter"),
    Threshold(
        "saturated use", 0.85, "share", "of the maximum is in use on average", "the rest is being handed over"
    ),
    Threshold("calm waiting", 0.2, "share", "of the samples, at most, find callers waiting", "so few are chance"),
    Threshold("line", 0.5, "share", "of the connection-seconds", "with less, no single line is to blame"),
    Threshold(
        "other line",
        0.15,
        "share",
        "of the connection-seconds, in long holds too",
        "if another line has as much, no single one is to blame",
    ),
    Threshold("line alone", 0.8, "share", "of the connection-seconds", "then the other lines do not matter"),
    Threshold(
        "other reason",
        2.0,
        "times",
        "as many processes have it",
        "with fewer, the pool's verdict keeps its reason",
    ),
)
_rules = {rule.name: rule.value for rule in RULES}
#: Seconds, and reports, over which differences are taken: at least both.
WINDOW_S, WINDOW_REPORTS = _rules["window"], int(_rules["window reports"])
#: Seconds for which a verdict stands after its last evidence.
STANDS_S = _rules["stands"]
SATURATED_WAITING, SATURATED_USE = _rules["saturated waiting"], _rules["saturated use"]
CALM_WAITING = _rules["calm waiting"]
#: Shares of the connection-seconds: to name a line; of another line, to prevent that; to name it in any case.
LINE, OTHER_LINE, LINE_ALONE = _rules["line"], _rules["other line"], _rules["line alone"]
#: How many times as many processes must have another reason before it replaces the standing one.
OTHER_REASON = _rules["other reason"]

DATABASE_DOWN = Cause(
    "database_down",
    "alarm",
    "Connects fail because nothing answers at the database's address; none succeeds.",
    (
        Threshold("failed", 3, "connects", "in the window", "one or two may be a network hiccup"),
        Threshold("succeeded", 0, "connects", "in the window", "a single success proves that the server is there"),
    ),
    ("failed", "refused", "timeout", "dns", "starting", "lost"),
    "Check that the database runs and that this host can reach it: its address, port, firewall and name. The "
    "pools reconnect by themselves when it is back.",
    "Another program on the same host connects to the same address.",
)
SERVER_FULL = Cause(
    "server_full",
    "alarm",
    "The database refuses connects because all the connections that it allows are open.",
    (
        Threshold(
            "refused", 2, "connects", "in the newest interval", "one may race with a connection that is closing"
        ),
    ),
    ("refused", "open", "may_open"),
    "Add up what every program may open (pool size and overflow, times processes) and keep the sum below the "
    "server's maximum: make the largest pools smaller, or put a proxy such as PgBouncer in between.",
    "The server's own list of connections (pg_stat_activity, SHOW PROCESSLIST) is far from its maximum: then the "
    "limit belongs to the user, to the database or to a proxy.",
)
SHARED_AFTER_FORK = Cause(
    "shared_after_fork",
    "alarm",
    "A forked process uses a connection of its parent: two processes talk over one socket.",
    (
        Threshold(
            "used", 1, "checkout", "of a connection of the parent", "even one may give a process the other's rows"
        ),
    ),
    ("used",),
    "Call engine.dispose(close=False) in the child right after the fork, or make the engine after it "
    "(gunicorn: post_fork; Celery: worker_process_init).",
    "The connection was made after the fork.",
)
NESTED_CHECKOUT = Cause(
    "nested_checkout",
    "alarm",
    "Callers that each hold a connection and wait for a second one use up the pool.",
    (
        Threshold(
            "asking",
            0.4,
            "share",
            "of the samples find the holder asking for another connection",
            "in a deadlock all holders ask, under load some",
        ),
        Threshold(
            "asking for",
            1.0,
            "s",
            "of connection time, by the samples, is spent asking",
            "a second checkout that is served takes less",
        ),
        Threshold(
            "looks",
            3,
            "samples",
            "in the window find callers waiting",
            "at a single moment all holders may happen to ask",
        ),
    ),
    ("asking", "used", "max", "waiting", "oldest_s"),
    "Pass the connection (or the session) to the function that takes a second one. A larger pool only moves the "
    "deadlock to a higher load.",
    "The second connection comes from another pool.",
)
NO_CPU = Cause(
    "no_cpu",
    "notice",
    "The process gets no CPU: even the thread that samples it runs late.",
    (
        Threshold(
            "late",
            0.5,
            "share",
            "of the samples in the window are late",
            "a blocked event loop delays none of them",
        ),
        Threshold("late for", 0.5, "s", "of the window belong to late samples", "less is chance"),
        Threshold(
            "looks", 3, "samples", "in the window are late", "one or two are chance, however rare samples are"
        ),
    ),
    ("late", "looks"),
    "Give the process more CPU, or run fewer workers on this host; in a container, raise the CPU limit.",
    "The host has idle CPU, and the container's throttling counter (cpu.stat) does not rise.",
)
EVENT_LOOP_BLOCKED = Cause(
    "event_loop_blocked",
    "alarm",
    "A call that does not await blocks the event loop: no task can take or return a connection.",
    (
        Threshold("stalled", 0.1, "share", "of the window", "it delays a tenth of all requests"),
        Threshold("longest", 0.3, "s", "at a time", "garbage collection and imports cause shorter ones"),
    ),
    ("stalled_s", "longest_s", "window_s"),
    "Await that call, or run it in a thread: await asyncio.to_thread(function, …).",
    "The line is in code that runs in a thread of its own.",
)
STALE_CONNECTIONS = Cause(
    "stale_connections",
    "alarm",
    "Connections from the pool turn out to be dead when they are used, while new ones succeed.",
    (Threshold("dead", 3, "connections", "in the window", "one may be a server process that crashed"),),
    ("dead", "connects"),
    "Set pool_pre_ping=True, or pool_recycle below the time after which the server, a proxy or a firewall ends "
    "idle connections.",
    "The connections die in the middle of long statements: then something ends those (a statement timeout, the "
    "server's memory).",
)
ENGINE_PER_REQUEST = Cause(
    "engine_per_request",
    "alarm",
    "One line of the program makes one pool after another for the same database.",
    (
        Threshold(
            "pools",
            5,
            "pools",
            "of one line and one database, open or just closed",
            "each shard has its own database",
        ),
        Threshold(
            "made",
            3,
            "pools",
            "within the time `made within`",
            "a program that makes its pools when it starts soon stops doing so",
        ),
        Threshold("made within", 20.0, "s", "", "a function called for each request runs at least this often"),
    ),
    ("pools", "made", "open"),
    "Make the engine once, when the module is imported or the application starts, and share it.",
    "Each pool has its own database or user.",
)
SLOW_HOST = Cause(
    "slow_host",
    "alarm",
    "One host of a program holds its connections for much longer than the others, line by line.",
    (
        Threshold("hosts", 3, "hosts", "of the program", "with two, nobody can say which one is odd"),
        Threshold("times", 3.0, "times", "the median of the others", "caches and old machines account for 2"),
        Threshold("spread", 2.0, "times", "the spread of the others, above their median", "the others must agree"),
        Threshold("hold", 0.02, "s", "", "shorter holds depend on the machine"),
        Threshold("returned", 3, "returns", "of the line on each host in the window", "fewer prove nothing"),
    ),
    ("hold_s", "others_s", "times", "hosts"),
    "Check that host: its network path to the database, its CPU, its disk, its version of the program.",
    "That host has different work from the rest, for example the large tenants.",
)
LEAK = Cause(
    "leak",
    "alarm",
    "Connections stay out although the call that took them has ended.",
    (
        Threshold(
            "open",
            3,
            "connections",
            "of one line at the same time, or the whole of a smaller pool; or as many returned by the garbage "
            "collector",
            "one or two may be kept on purpose",
        ),
        Threshold(
            "ended",
            0.8,
            "share",
            "of the samples of its holders find that the call has ended",
            "a sample may coincide with the return",
        ),
        Threshold("pool", 0.5, "share", "of a saturated pool", "a smaller part does not explain why callers wait"),
        Threshold("oldest if saturated", 3.0, "s", "", "callers already wait, or have already timed out"),
        Threshold(
            "times if saturated",
            3.0,
            "times",
            "the longest hold that ever came back",
            "slow requests also hold longer than usual",
        ),
        Threshold(
            "oldest if small", 10.0, "s", "where that is the whole pool", "one or two may be kept on purpose"
        ),
        Threshold(
            "times if small",
            5.0,
            "times",
            "the longest hold that ever came back",
            "one slow request holds the whole pool",
        ),
        Threshold("oldest if growing", 10.0, "s", "", "nobody waits yet: there is time to be sure"),
        Threshold(
            "times if growing",
            5.0,
            "times",
            "the longest hold of the line that ever came back",
            "nobody waits yet: there is time to be sure",
        ),
        Threshold(
            "oldest", 60.0, "s", "if the line has returned none so far", "a start-up may hold one for as long"
        ),
        Threshold(
            "times",
            20.0,
            "times",
            "the longest hold that ever came back to this pool",
            "nothing is known of the line itself",
        ),
        Threshold(
            "collected",
            0.1,
            "share",
            "of the line's returns were made by the garbage collector",
            "less is a rare path",
        ),
    ),
    ("kept", "max", "oldest_s", "waiting", "collected", "ended"),
    "Return the connection on every path, best with a block (with engine.connect(), with Session()). Look for "
    "a return, a raise or a generator that skips close().",
    "The line keeps connections on purpose, for the life of the program.",
)
DUPLICATE_ENGINES = Cause(
    "duplicate_engines",
    "notice",
    "One line of the program has made several pools for the same database.",
    (
        Threshold(
            "pools",
            2,
            "pools",
            "of one line, one database and one size, all alive and used",
            "one pool is normal",
        ),
        Threshold("pools at most", 4, "pools", "", "more are engine_per_request"),
    ),
    ("pools", "open", "may_open"),
    "Make the engine once and share it: each pool may open its own maximum of connections.",
    "Each pool has its own user or settings.",
)
ROW_LOCK = Cause(
    "row_lock",
    "alarm",
    "Nearly all holders wait inside the database: for one that keeps its transaction open and does something "
    "else, or for a lock whose holder does not report.",
    (
        Threshold(
            "busy",
            0.6,
            "share",
            "of the samples find the holder in the database",
            "the rest are the one that they wait for, and Python",
        ),
        Threshold("idle holders", 0.5, "holders", "at a time", "the one that the others wait for"),
        Threshold(
            "idle share", 0.35, "share", "of the samples, at most, find the holder elsewhere", "more is held_idle"
        ),
        Threshold("idle", 0.2, "s", "for each returned connection", "Python between statements is faster"),
        Threshold("queue", 3, "holders", "on average", "among fewer, one idle holder is a large part"),
        Threshold("stopped", 3.6, "s", "in which none was returned, unlike before", "then no line is named"),
    ),
    ("busy", "idle_holders", "idle_s", "used", "max", "waiting"),
    "Commit before the slow part, or do the slow part before the transaction's first write. Ask the server which "
    "session blocks which: pg_blocking_pids(pid), or sys.innodb_lock_waits.",
    "pg_blocking_pids() is empty for the waiting sessions: then the statements themselves are slow.",
)
SLOW_STATEMENT = Cause(
    "slow_statement",
    "alarm",
    "The pool is used up because statements take longer in the database than before.",
    (
        Threshold(
            "busy",
            0.6,
            "share",
            "of the samples find the holder in the database",
            "the rest is Python between statements",
        ),
        Threshold("habit", 2.0, "times", "the line's habit", "load alone lengthens holds by less"),
        Threshold("hold", 1.0, "s", "if there is no habit", "no statement of a busy service takes that long"),
    ),
    ("busy", "hold_s", "habit_s", "used", "max", "waiting"),
    "Check what that line executes: EXPLAIN (ANALYZE), a missing index, a lock that it waits for.",
    "The server sees the connection idle, or idle in transaction: then the time is spent in the program.",
)
HELD_IDLE = Cause(
    "held_idle",
    "alarm",
    "The pool is used up because the program holds connections while it does something other than SQL.",
    (
        Threshold(
            "idle",
            0.6,
            "share",
            "of the samples find the holder outside the database",
            "the rest are its statements",
        ),
        Threshold("habit", 2.0, "times", "the line's habit", "load alone lengthens holds by less"),
        Threshold("hold", 0.2, "s", "if there is no habit", "Python between statements is faster"),
        Threshold(
            "sites",
            0.15,
            "share",
            "of the connection-seconds",
            "a line with as much counts as one of several that hold at the same place",
        ),
        Threshold(
            "line",
            0.8,
            "share",
            "of the idle samples are of lines whose holders are mostly at that place",
            "then they have one reason",
        ),
    ),
    ("idle", "hold_s", "habit_s", "used", "max", "waiting"),
    "Return the connection before that call, or make the call before taking it; commit ends a Session's hold.",
    "The server sees the connection active: then a statement is slow.",
)
POOL_TOO_SMALL = Cause(
    "pool_too_small",
    "alarm",
    "Everything is in use and callers wait, although connections are held no longer than before.",
    (
        Threshold("saturated", 8.0, "s", "without a pause", "a burst or a start is over by then"),
        Threshold("habit", 2.0, "times", "the habit, at most", "longer holds have another cause"),
        Threshold(
            "queue", 0.75, "times", "as many wait as in the interval before", "a queue that drains ends by itself"
        ),
    ),
    ("size", "used", "max", "waiting", "hold_s", "habit_s"),
    "Make the pool as large as `size` if the database has room; otherwise serve fewer requests at a time.",
    "Callers still wait with the larger pool: then the database is the limit.",
)

#: All causes, in order of rank.
CAUSES: tuple[Cause, ...] = (
    DATABASE_DOWN,
    SERVER_FULL,
    SHARED_AFTER_FORK,
    NESTED_CHECKOUT,
    NO_CPU,
    EVENT_LOOP_BLOCKED,
    STALE_CONNECTIONS,
    ENGINE_PER_REQUEST,
    SLOW_HOST,
    LEAK,
    DUPLICATE_ENGINES,
    ROW_LOCK,
    SLOW_STATEMENT,
    HELD_IDLE,
    POOL_TOO_SMALL,
)
#: The rank of each cause by its name, 0 for the first.
RANK: dict[str, int] = {cause.name: rank for rank, cause in enumerate(CAUSES)}
#: The causes by name.
BY_NAME: dict[str, Cause] = {cause.name: cause for cause in CAUSES}


def rank_of(name: str) -> tuple[int, int]:
    """The sort key of a cause, the main one first: alarms before notices, then by rank; unknown ones last."""
    cause = BY_NAME.get(name)
    if cause is None:
        return 2, len(CAUSES)
    return int(cause.severity == "notice"), RANK[name]
