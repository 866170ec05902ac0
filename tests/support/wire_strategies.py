"""Hypothesis strategies for what travels in a report."""

from hypothesis import strategies as st

from poolhouse.meter.histogram import Histogram, bucket_count
from poolhouse.meter.reading import MARKS, Counters, Gauges, Limits, Mark, PoolReading
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
    )
