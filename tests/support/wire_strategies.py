"""Hypothesis strategies for what travels in a report."""

from hypothesis import strategies as st

from poolhouse.meter.histogram import Histogram, bucket_count
from poolhouse.meter.reading import MARKS, Counters, Gauges, Limits, Mark, PoolReading
from poolhouse.meter.signs import (
    MOST_NUMBERS,
    ConnectErrors,
    Finding,
    Looks,
    PoolSigns,
    ProcessSigns,
    SiteReading,
)
from poolhouse.wire.report import Report, ReportSums

u32 = st.integers(0, 2**32 - 2)
u64 = st.integers(0, 2**64 - 2)
derive = st.integers(0, 2**63 - 1)
names = st.text(min_size=1, max_size=200)
#: Names that travel as they are.
plain_names = st.text(st.characters(codec="utf-8", exclude_categories=["C"]), min_size=1, max_size=16)
seconds = st.floats(min_value=0, max_value=1e11)


@st.composite
def histograms(draw: st.DrawFn) -> Histogram:
    histogram = Histogram(draw(st.integers(-1, 3)))
    buckets = bucket_count(histogram.scale)
    for _ in range(draw(st.integers(0, 3))):
        first = draw(st.integers(0, buckets - 1))
        length = draw(st.integers(1, buckets - first))
        count = draw(st.integers(0, 2 ** draw(st.sampled_from([8, 16, 32, 59])) - 1))
        histogram.counts[first : first + length] = [count] * length
    histogram.zero, histogram.sum_ns, histogram.max_ns = draw(u64), draw(u64), draw(u64)
    return histogram


optional = st.none() | u32
marks = st.builds(Mark, u32, u32, u32, u32)
gauges = st.builds(Gauges, u32, u32, u32, u32)
limits = st.builds(Limits, optional, optional, optional)
counters = st.tuples(*[st.none() | u64] * len(Counters._fields)).map(Counters._make)
derives = st.tuples(*[st.none() | derive] * len(Counters._fields)).map(Counters._make)


def pools(name: st.SearchStrategy[str]) -> st.SearchStrategy[PoolReading]:
    return st.builds(
        PoolReading,
        key=u32,
        name=name,
        kind=name,
        pools=u32,
        limits=limits,
        gauges=gauges,
        counters=counters,
        marks=st.lists(marks, max_size=MARKS).map(tuple),
        peak=marks,
        wait=st.none() | histograms(),
        use=st.none() | histograms(),
        create=st.none() | histograms(),
        is_bound=st.booleans(),
        signs=st.none(),
    )


def reports(name: st.SearchStrategy[str]) -> st.SearchStrategy[Report]:
    """Reports whose names come from `name`; every number is within what the wire tells without clamping."""
    return st.builds(
        Report,
        host=name,
        program=name,
        token=st.from_regex(r"[1-9][0-9]{0,9}:[0-9a-f]{6}", fullmatch=True),
        number=u32,
        sequence=st.integers(0, 2**32 - 8),
        uptime=seconds,
        wall_time=st.floats(min_value=1, max_value=1e11),
        interval=st.floats(min_value=0.001, max_value=1e6),
        goodbye=st.booleans(),
        sums=st.builds(ReportSums, pools=u32, gauges=gauges, limits=limits, counters=derives),
        pools=st.lists(pools(name), max_size=3).map(tuple),
        signs=st.none(),
        findings=st.just(()),
        past_signs=st.none(),
    )


milliseconds = st.integers(0, 2**32 - 1).map(lambda ms: ms / 1e3)
nanoseconds = st.integers(0, 2**53).map(lambda ns: ns / 1e9)
lines = st.just("") | plain_names
looks = st.builds(Looks, u32, u32, u32, u32)


@st.composite
def use_times(draw: st.DrawFn) -> Histogram:
    """As they come back: at a scale that is told, the sum that of the middles."""
    histogram = Histogram(draw(st.sampled_from((-1, 0))))
    buckets = bucket_count(histogram.scale)
    for place in draw(st.lists(st.integers(0, buckets - 1), max_size=4)):
        histogram.counts[place] = draw(st.integers(0, 2**49 - 1))
    histogram.zero, histogram.max_ns = draw(st.integers(0, 2**49 - 1)), draw(st.integers(0, 2**40)) * 1000
    histogram.estimate_sum()
    return histogram


sites = st.builds(
    SiteReading,
    site=plain_names,
    open=st.integers(0, 2**16 - 1),
    oldest_s=milliseconds,
    returned=u64,
    collected=u32,
    held_s=nanoseconds,
    waited_s=nanoseconds,
    looks=looks,
    idle_line=lines,
    use=st.none() | use_times(),
)
pool_signs = st.builds(
    PoolSigns,
    target=lines,
    made_at=lines,
    looks=u32,
    looks_waiting=u32,
    used_sum=u64,
    waiting_sum=u64,
    connect_errors=st.builds(ConnectErrors, *[u32] * len(ConnectErrors._fields)),
    inherited=u32,
    dead=u32,
    sites=st.lists(sites, max_size=3, unique_by=lambda site: site.site).map(
        lambda found: tuple(sorted(found, key=lambda site: -site.held_s))
    ),
)
process_signs = st.builds(ProcessSigns, u32, u32, milliseconds, milliseconds, lines, lines, u32)
findings = st.builds(
    Finding,
    cause=plain_names.filter(lambda name: len(name.encode()) <= 32),
    pool=u32,
    site=lines,
    line=lines,
    age_s=milliseconds,
    numbers=st.lists(st.floats(allow_nan=False, allow_infinity=False), max_size=MOST_NUMBERS).map(tuple),
)
