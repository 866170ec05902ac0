"""Reports to begin with: everything that a process can tell, in datagrams of our encoder."""

from poolhouse.meter.histogram import Histogram
from poolhouse.meter.reading import Counters, Gauges, Limits, Mark, PoolReading
from poolhouse.meter.signs import ConnectErrors, Finding, Looks, PoolSigns, ProcessSigns, SiteReading
from poolhouse.wire.report import Report, ReportSums, encode_report

_TIMES = Histogram()
_TIMES.record_all(range(1000, 10**9, 37_654_321))
_SITE = SiteReading("app/a.py:1 in f", 1, 2.0, 3, 4, 5.0, 6.0, Looks(1, 2, 3, 4), "app/b.py:2 in g", _TIMES)
_SIGNS = PoolSigns("db:5432/nova", "app/db.py:3 in h", 1, 2, 3, 4, ConnectErrors(5), 6, 7, (_SITE,))
_FINDING = Finding("leak", 1, _SITE.site, "", 2.0, (1.0, 2.0))
POOL = PoolReading(
    1,
    "db:5432/nova",
    "QueuePool",
    limits=Limits(15, 5, 0),
    gauges=Gauges(3, 4, 1, 2),
    counters=Counters(*range(100, 100 + len(Counters._fields))),
    marks=(Mark(1, 2, 3, 4),),
    peak=Mark(1, 2, 3, 4),
    wait=_TIMES,
    use=_TIMES,
    create=_TIMES,
)


def report(number: int = 1, pools: int = 1, *, goodbye: bool = False, told: bool = False) -> Report:
    """One report of a process; with signs of its lines if `told`."""
    readings = tuple(POOL._replace(key=key + 1, signs=_SIGNS if told else None) for key in range(pools))
    plain = Report(
        "wäb", "nova", "1:abcdef", number, 3 * number, 1.0, 1.7e9, 2.0, goodbye, ReportSums(1), readings
    )
    return (
        plain._replace(signs=ProcessSigns(1, fork_line="app/c.py:4 in i"), findings=(_FINDING,)) if told else plain
    )


def datagrams() -> dict[str, bytes]:
    """Datagrams of all kinds, by name."""
    kinds = {
        "one pool": encode_report(report()),
        "no pool": encode_report(report(pools=0)),
        "goodbye": encode_report(report(2, goodbye=True)),
        "lines": encode_report(report(3, told=True)),
        "earlier": encode_report(report(), "plain"),
    }
    return {f"{name} {place}": one for name, found in kinds.items() for place, one in enumerate(found)}
