"""A fleet to look at, always the same: five programs on three hosts, one at its maximum, one late."""

from poolhouse.fleet.snapshot import (
    Event,
    Health,
    Holder,
    Peaks,
    PoolRow,
    ProcessRow,
    Rates,
    Row,
    Snapshot,
    Times,
    Totals,
)
from poolhouse.meter.histogram import Histogram
from poolhouse.meter.reading import Counters, Gauges, Limits, Mark, PoolReading
from poolhouse.meter.signs import Finding, Looks, PoolSigns, ProcessSigns, SiteReading
from poolhouse.verdicts.verdict import Culprit, Verdict

#: 12:04:31 UTC.
WALL_TIME = 1_700_049_871.0


def times(*weighted_ms: tuple[float, int]) -> Histogram:
    """A histogram of durations in milliseconds, each as often as its number says."""
    histogram = Histogram()
    histogram.record_all([int(ms * 1e6) for ms, number in weighted_ms for _ in range(number)])
    return histogram


def bell(middle_ms: float, number: int = 40, longest_ms: float | None = None) -> Histogram:
    """A distribution with one hump around its middle and a tail."""
    steps = range(-18, 19)
    histogram = times(*((middle_ms * 2 ** (step / 8), round(number / 2 ** (step * step / 60))) for step in steps))
    if longest_ms is not None:
        histogram.add(times((longest_ms, 1)))
    return histogram


CHECKOUT = Row(
    "checkout",
    processes=12,
    pools=12,
    idle=0,
    used=120,
    detached=0,
    waiting=12,
    max_open=120,
    max_idle=60,
    min_idle=0,
    full_pools=12,
    totals=Totals(184_330, 212, 92, 3, 170_112, 812, 184_330, 3, 0, 1),
    rates=Rates(410.2, 0.4, 0.1, 0.0, 398.0, 2.5, 410.0, 0.2, 0.0, 0.0),
    interval_peaks=Peaks(12, 120, 120, 14, 120, 2_051),
    peaks=Peaks(12, 120, 120, 17, 120, 2_460),
    interval_checkouts=2_051,
    recent=Times(bell(300, 300), bell(4, 900, 41_000), times((18, 24))),
    since_start=Times(bell(300, 300), bell(4, 900, 41_000), times((18, 212))),
    age=1.2,
    interval=2.0,
)
CATALOG = Row(
    "catalog",
    processes=24,
    pools=24,
    idle=41,
    used=61,
    detached=0,
    waiting=0,
    max_open=240,
    full_pools=0,
    totals=Totals(1_220_400, 102, 0, 0, 1_100_000, 100, 1_220_400, 0, 0, 0),
    rates=Rates(1220.0, 0.0, 0.0, 0.0, 1100.0, 0.1, 1220.0, 0.0, 0.0, 0.0),
    interval_peaks=Peaks(24, 102, 88, 2, 104, 6_100),
    peaks=Peaks(26, 110, 97, 9, 140, 7_002),
    interval_checkouts=2_440,
    recent=Times(bell(0.08), bell(4), None),
    age=0.4,
    interval=2.0,
)
BILLING = CATALOG._replace(
    name="billing",
    processes=8,
    pools=8,
    idle=34,
    used=30,
    max_open=80,
    rates=Rates(180.0, 0.0, 0.0, 0.0, 90.0, 0.0, 90.0, 0.0, 0.0, 0.0),
    interval_peaks=Peaks(8, 64, 77, 0, 78, 900),
    peaks=Peaks(8, 80, 80, 3, 80, 1_200),
    interval_checkouts=360,
    recent=Times(bell(0.4), bell(60), None),
    age=2.1,
)
NIGHTLY = CATALOG._replace(
    name="nightly",
    processes=4,
    pools=8,
    idle=11,
    used=3,
    max_open=20,
    rates=Rates(28.0, 0.1, 0.1, 0.0, 9.0, 0.0, 9.0, 0.0, 0.0, 0.0),
    interval_peaks=Peaks(4, 14, 4, 0, 5, 60),
    peaks=Peaks(4, 20, 9, 0, 11, 100),
    interval_checkouts=56,
    recent=Times(bell(0.05), bell(21_000), None),
    age=1.0,
)
MIGRATE = Row(
    "migrate",
    processes=1,
    pools=1,
    idle=10,
    used=0,
    detached=0,
    waiting=0,
    max_open=20,
    full_pools=0,
    totals=Totals(2_000, 10, 0, 0),
    rates=Rates(2.0),
    interval_peaks=Peaks(1, 10, 1),
    peaks=Peaks(1, 10, 4),
    recent=Times(),
    age=9.0,
    interval=2.0,
    is_stale=True,
)
PROGRAMS = (BILLING, CATALOG, CHECKOUT, MIGRATE, NIGHTLY)

FLEET = Row(
    "",
    processes=49,
    pools=53,
    idle=96,
    used=214,
    detached=0,
    waiting=12,
    max_open=480,
    full_pools=12,
    totals=Totals(1_500_000, 400, 100, 3, 1_300_000, 1_000, 1_400_000, 3, 0, 1),
    rates=Rates(1840.2, 0.5, 0.2, 0.0, 1597.0, 2.6, 1729.0, 0.2, 0.0, 0.0),
    interval_peaks=Peaks(49, 310, 301, 14, 327, 9_111),
    peaks=Peaks(52, 320, 310, 17, 371, 10_400),
    interval_checkouts=4_907,
    recent=Times(bell(60, 300), bell(470, 900, 41_000), times((18, 24))),
    age=0.4,
    interval=2.0,
)


def _host(name: str, processes: int, used: int, maximum: int, waiting: int, age: float) -> Row:
    return Row(
        name,
        processes=processes,
        pools=processes,
        idle=32,
        used=used,
        detached=0,
        waiting=waiting,
        max_open=maximum,
        full_pools=4 if waiting else 0,
        rates=Rates(613.4),
        interval_peaks=Peaks(processes, 100, used + 9, waiting),
        peaks=Peaks(processes + 1, 110, used + 12, waiting + 2),
        interval_checkouts=1_600,
        recent=Times(bell(60), bell(470), None),
        age=age,
        interval=2.0,
    )


HOSTS = (
    _host("web1", 17, 84, 160, 12, 0.4),
    _host("web2", 16, 70, 160, 0, 1.2),
    _host("web3", 16, 60, 160, 0, 2.1),
)


def pool(key: int, used: int, waiting: int, name: str = "db1:5432/shop", maximum: int = 10) -> PoolRow:
    """One pool of QueuePool's kind."""
    return PoolRow(
        PoolReading(
            key,
            name,
            "QueuePool",
            limits=Limits(maximum, 5, 0),
            gauges=Gauges(max(0, maximum - used - 4), used, 0, waiting),
            counters=Counters(12_330, 18, 8, 1, 11_800, 60, 12_330, 3, 0, 1),
            marks=(Mark(9, used, waiting + 1, maximum), Mark(8, used - 1, waiting, maximum)),
            peak=Mark(9, maximum, waiting + 4, maximum),
            wait=bell(300, 300),
            use=bell(4, 900, 41_000),
            create=times((18, 18)),
        ),
        Rates(31.0, 0.0, 0.0, 0.0, 30.0, 0.1, 31.0, 0.2, 0.0, 0.0),
        Times(bell(300, 120), bell(4, 400, 41_000), None),
        interval_mark=Mark(9, used, waiting + 1, maximum),
    )


def process(host: str, token: str, *pools: PoolRow, age: float = 1.2, uptime: float = 8_040.0) -> ProcessRow:
    """A process of checkout with its pools."""
    sums = Row(
        token,
        processes=1,
        pools=len(pools),
        used=sum(p.reading.gauges.used for p in pools),
        waiting=sum(p.reading.gauges.waiting for p in pools),
        rates=Rates(31.0),
        age=age,
        interval=2.0,
        is_stale=age > 4,
    )
    return ProcessRow(host, "checkout", token, sums, uptime, 0, pools)


PROCESSES = (
    process("web1", "4121:9f3a2c", pool(1, 10, 3)),
    process("web1", "4122:0b11fe", pool(1, 10, 1), pool(2, 1, 0, "db2:5432/audit", 5)),
    process("web2", "981:77ac01", pool(1, 10, 0), age=0.3),
    process("web3", "20733:c0ffee", pool(1, 4, 0), age=9.0),
)

EVENTS = (
    Event(WALL_TIME - 2, "waiting", "web1", "checkout", "4121:9f3a2c db1:5432/shop: 3 callers wait"),
    Event(WALL_TIME - 5, "full", "web1", "checkout", "4121:9f3a2c db1:5432/shop: 10 of 10 in use"),
    Event(WALL_TIME - 9, "silent", "web3", "migrate", "612:aa03d1 has not reported for 4 s"),
    Event(WALL_TIME - 61, "goodbye", "web2", "nightly", "77:12fe90"),
    Event(WALL_TIME - 70, "appeared", "web2", "nightly", "77:12fe90"),
)

SNAPSHOT = Snapshot(
    WALL_TIME,
    FLEET,
    PROGRAMS,
    HOSTS,
    Health(received=48_212, refused=0, lost=3, expected=48_215, uptime=8_100.0),
    EVENTS,
)


def with_processes(snapshot: Snapshot = SNAPSHOT) -> Snapshot:
    """The same snapshot for a console that asked for checkout."""
    return snapshot._replace(program="checkout", processes=PROCESSES)


_CART = SiteReading(
    "shop/views.py:88 in cart via shop/db.py:12 in session",
    open=23,
    oldest_s=9.4,
    returned=120_400,
    held_s=91_400.0,
    waited_s=840.0,
    looks=Looks(52_000, 38_000, 0, 100),
    idle_line="shop/mail.py:44 in send",
    use=bell(4, 900, 41_000),
)
_EXPORT = SiteReading(
    "shop/export.py:88 in rows",
    open=12,
    oldest_s=41.0,
    returned=840,
    collected=17,
    held_s=8_800.0,
    waited_s=12.5,
    looks=Looks(200, 100, 0, 9_100),
    use=bell(12, 200),
)
_HEALTH = SiteReading("shop/health.py:9 in check", returned=9_800, held_s=14.0, use=bell(0.6, 200))
_NIGHT = SiteReading("nightly/run.py:31 in main", 3, 310.0, 9, 0, 4_100.0, 0.0, Looks(2_800, 12, 0, 0))

LEAK = Verdict(
    "leak",
    WALL_TIME - 9,
    "checkout",
    ("web1",),
    (2, 12),
    "db1:5432/shop",
    "db1:5432/shop",
    Culprit("shop/export.py", 88, "rows"),
    (("kept", 8.0), ("max", 10.0), ("oldest_s", 41.0), ("waiting", 3.0), ("collected", 17.0), ("ended", 0.97)),
)


def with_holders(snapshot: Snapshot | None = None) -> Snapshot:
    """The sample for a console that asked for checkout, whose processes tell which lines hold connections."""
    snapshot = with_processes() if snapshot is None else snapshot
    own = tuple(Holder("checkout", number, site) for number, site in ((12, _CART), (2, _EXPORT), (12, _HEALTH)))
    first, *others = snapshot.processes
    finding = Finding("leak", 1, _EXPORT.site, "", 9.0, tuple(value for _, value in LEAK.evidence))
    kept = _CART._replace(open=2, returned=9_000), _EXPORT._replace(open=8)
    pools = tuple(
        one._replace(reading=one.reading._replace(signs=PoolSigns("db1:5432/shop", sites=kept)))
        for one in first.pools
    )
    sick = first._replace(pools=pools, signs=ProcessSigns(9_000), findings=(finding,))
    return snapshot._replace(
        processes=(sick, *others),
        holders=(*own, Holder("nightly", 4, _NIGHT)),
        verdicts=(LEAK,),
    )


def moment(seconds: float, used: int, waiting: int, checkouts: float) -> Snapshot:
    """The sample `seconds` later, with other totals of the fleet and of checkout."""

    def changed(row: Row) -> Row:
        return row._replace(used=used, waiting=waiting, rates=row.rates._replace(checkouts=checkouts))

    programs = tuple(changed(row) if row.name == "checkout" else row for row in PROGRAMS)
    return SNAPSHOT._replace(wall_time=WALL_TIME + seconds, fleet=changed(FLEET), programs=programs)
