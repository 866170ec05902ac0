"""A snapshot through frames, chunks and datagrams, and what any other bytes do."""

import json
import random
import tracemalloc
import zlib
from contextlib import suppress
from types import NoneType
from typing import Any, get_args, get_origin

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from poolhouse.errors import PacketError
from poolhouse.feed.protocol.chunks import (
    MAX_BYTES,
    MAX_CHUNKS,
    Reassembly,
    chunks_of,
    compress,
    datagrams,
    unpack,
)
from poolhouse.feed.protocol.datagrams import DATAGRAM_BYTES, Chunk, decode_datagram
from poolhouse.feed.protocol.frame import Frame, Server, decode_frame, encode_frame
from poolhouse.feed.protocol.plain import field_types
from poolhouse.fleet.snapshot import Health, NodeState, PoolRow, ProcessRow, Rates, Row, Snapshot, Times
from poolhouse.meter.histogram import Histogram, bucket_count
from poolhouse.meter.reading import PoolReading

NONCE = b"console1"
SERVER = Server("connmond 0.1.0", 1.0, ("127.0.0.1:25827",))


@st.composite
def histograms(draw: st.DrawFn) -> Histogram:
    histogram = Histogram(draw(st.integers(-1, 3)))
    size = bucket_count(histogram.scale)
    for index, count in draw(
        st.dictionaries(st.integers(0, size - 1), st.integers(0, 10**12), max_size=5)
    ).items():
        histogram.counts[index] = count
    histogram.zero, histogram.sum_ns, histogram.max_ns = draw(st.tuples(*[st.integers(0, 1 << 70)] * 3))
    return histogram


SCALARS: dict[Any, st.SearchStrategy[Any]] = {
    int: st.integers(-(1 << 70), 1 << 70),
    float: st.floats(allow_nan=False, allow_infinity=False),
    str: st.text(max_size=20),
    bool: st.booleans(),
    NoneType: st.none(),
    Histogram: histograms(),
}


def values_of(kind: Any) -> st.SearchStrategy[Any]:
    """Every value that a type's annotations allow."""
    if kind in SCALARS:
        return SCALARS[kind]
    arguments = get_args(kind)
    if get_origin(kind) is not tuple and arguments:
        return st.one_of(*map(values_of, arguments))
    if arguments and arguments[-1] is Ellipsis:
        return st.lists(values_of(arguments[0]), max_size=2).map(tuple)
    if arguments:
        return st.tuples(*map(values_of, arguments))
    names = kind._fields
    hints = field_types(kind)
    return st.builds(kind, **{name: values_of(hints[name]) for name in names})


def through(chunks: list[bytes], reassembly: Reassembly, frame: int = 1) -> bytes | None:
    content = None
    for datagram in datagrams(chunks, NONCE, frame):
        assert len(datagram) <= DATAGRAM_BYTES
        message = decode_datagram(datagram)
        assert isinstance(message, Chunk)
        content = reassembly.add(message)
    return content


def a_snapshot(**changes: Any) -> Snapshot:
    return Snapshot(1.7e9, Row(""), (), (), Health())._replace(**changes)


@pytest.mark.long
@given(values_of(Snapshot), values_of(Server))
def test_every_snapshot_comes_out_as_it_went_in(snapshot: Snapshot, server: Server) -> None:
    content = through(encode_frame(Frame(server, snapshot)), Reassembly())
    assert content is not None
    # The lines of the program that was asked for come first.
    holders = tuple(sorted(snapshot.holders, key=lambda holder: holder.program != snapshot.program))
    assert decode_frame(content) == Frame(server, snapshot._replace(holders=holders))


def test_the_nodes_of_the_service_arrive() -> None:
    nodes = NodeState("node1", is_here=True, missing_for=None), NodeState("node2", is_here=False, missing_for=2.5)
    snapshot = a_snapshot(health=Health(received=7, nodes=nodes))
    frame = decode_frame(unpack(b"".join(encode_frame(Frame(SERVER, snapshot)))))
    assert frame.snapshot.health == snapshot.health


def test_a_server_that_knows_no_nodes_sends_a_frame_without_them() -> None:
    server, snapshot = json.loads(unpack(b"".join(encode_frame(Frame(SERVER, a_snapshot(health=Health(7)))))))
    health = Snapshot._fields.index("health")
    del snapshot[health][Health._fields.index("nodes") :]
    frame = decode_frame(json.dumps([server, snapshot]).encode())
    assert frame.snapshot.health == Health(7)


def test_a_number_that_is_not_finite_arrives_as_not_known() -> None:
    """Trap 44."""
    rates = Rates(checkouts=float("nan"), connects=float("inf"), commits=2.5)
    snapshot = a_snapshot(fleet=Row("", rates=rates))
    frame = decode_frame(unpack(b"".join(encode_frame(Frame(SERVER, snapshot)))))
    assert frame.snapshot.fleet.rates == Rates(commits=2.5)


@given(st.binary(max_size=300))
def test_any_bytes_raise_nothing_but_packet_error(content: bytes) -> None:
    for decode in (decode_frame, unpack, decode_datagram):
        with suppress(PacketError):
            decode(content)


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=4),
    lambda inner: st.lists(inner, max_size=6) | st.dictionaries(st.text(max_size=3), inner, max_size=2),
    max_leaves=20,
)


@given(JSON)
def test_any_json_raises_nothing_but_packet_error(value: Any) -> None:
    with pytest.raises(PacketError):
        decode_frame(json.dumps([["x", 1.0, []], value]).encode())


@pytest.mark.long
# To draw a snapshot costs far more than to damage it: each is damaged several times.
@settings(max_examples=25)
@given(values_of(Snapshot), st.data())
def test_a_damaged_snapshot_raises_nothing_but_packet_error(snapshot: Snapshot, data: st.DataObject) -> None:
    content = unpack(b"".join(encode_frame(Frame(SERVER, snapshot))))
    for _ in range(8):
        damaged = bytearray(content)
        for _ in range(data.draw(st.integers(1, 3))):
            damaged[data.draw(st.integers(0, len(content) - 1))] = data.draw(st.integers(0, 255))
        with suppress(PacketError):
            decode_frame(bytes(damaged))


@pytest.mark.parametrize(
    "content",
    [b"[" * 100_000, b"9" * 5000, b'[["x",1e999,[]],[]]', b'[["x",1' + b"0" * 400 + b",[]],[]]", b"\xff", b"NaN"],
)
def test_json_made_to_hurt_is_refused(content: bytes) -> None:
    with pytest.raises(PacketError):
        decode_frame(content)


def test_what_a_newer_server_appends_is_not_read() -> None:
    content = unpack(b"".join(encode_frame(Frame(SERVER, a_snapshot()))))
    values = json.loads(content)
    values[0].append("a field of tomorrow")
    values[1].append({"another": 1})
    assert decode_frame(json.dumps([*values, "a third thing"]).encode()) == Frame(SERVER, a_snapshot())


def test_what_an_older_server_does_not_know_keeps_its_default() -> None:
    values = json.loads(unpack(b"".join(encode_frame(Frame(SERVER, a_snapshot())))))
    frame = decode_frame(json.dumps([values[0][:1], values[1][:5]]).encode())
    assert frame == Frame(Server("connmond 0.1.0"), a_snapshot())


def test_a_frame_that_lost_a_chunk_is_dropped_and_the_next_one_arrives() -> None:
    reassembly = Reassembly()
    first, second = chunks_of([compress(random.Random(1).randbytes(5000))]), chunks_of([compress(b"second")])
    for datagram in list(datagrams(first, NONCE, 1))[:-1]:
        message = decode_datagram(datagram)
        assert isinstance(message, Chunk)
        assert reassembly.add(message) is None
    assert through(second, reassembly, frame=2) == b"second"
    assert len(reassembly) == 0


def test_chunks_may_come_in_any_order_and_twice() -> None:
    content = random.Random(2).randbytes(20_000)
    chunks = chunks_of([compress(content)])
    sent = list(datagrams(chunks, NONCE, 0xFFFFFFFF))
    random.Random(3).shuffle(sent)
    reassembly = Reassembly()
    results = []
    for datagram in [sent[0], *sent]:
        message = decode_datagram(datagram)
        assert isinstance(message, Chunk)
        results.append(reassembly.add(message))
    assert [one for one in results if one is not None] == [content]


@given(
    st.lists(
        st.builds(
            Chunk, st.just(NONCE), st.integers(0, 50), st.integers(0, 9), st.integers(1, 10), st.binary(max_size=9)
        ),
        max_size=60,
    )
)
def test_reassembly_stays_small_whatever_comes(chunks: list[Chunk]) -> None:
    reassembly = Reassembly()
    for chunk in chunks:
        with suppress(PacketError):
            reassembly.add(chunk)
        assert len(reassembly) <= 2


def test_a_frame_of_too_many_chunks_is_refused_at_its_first() -> None:
    with pytest.raises(PacketError, match="1025 chunks"):
        Reassembly().add(Chunk(NONCE, 1, 0, MAX_CHUNKS + 1, b""))


def test_a_small_datagram_cannot_unpack_to_more_than_the_bound() -> None:
    bomb = zlib.compress(bytes(MAX_BYTES + 1))
    with pytest.raises(PacketError, match="too large"):
        unpack(bomb)


def a_process(number: int) -> ProcessRow:
    luck = random.Random(number)
    wait, use, create = Histogram(), Histogram(), Histogram()
    for histogram in (wait, use, create):
        histogram.record_all(int(luck.lognormvariate(16, 2)) for _ in range(100))
    times = Times(wait, use, create)
    reading = PoolReading(1, "db1:5432/shop", "QueuePool", wait=wait, use=use, create=create)
    sums = Row(f"{number}:00c0de", processes=1, used=number % 10, recent=times, since_start=times)
    return ProcessRow("web1", "shop", sums.name, sums, 60.0, 0, (PoolRow(reading, Rates(), times),))


def test_what_is_too_much_for_a_frame_loses_the_processes_histograms_first(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("poolhouse.feed.protocol.chunks.MAX_CHUNKS", 40)
    processes = tuple(map(a_process, range(200)))
    program = processes[0].sums._replace(name="shop")
    snapshot = a_snapshot(programs=(program,), program="shop", processes=processes)
    chunks = encode_frame(Frame(SERVER, snapshot))
    assert len(chunks) <= 40
    arrived = decode_frame(unpack(b"".join(chunks))).snapshot
    assert arrived.programs == (program,)
    assert [row.sums.used for row in arrived.processes] == [row.sums.used for row in processes]
    assert all(row.sums.recent == Times() for row in arrived.processes)


@pytest.mark.parametrize("value", [b"[]", b"{}", b'"x"'])
def test_a_bomb_of_small_values_is_refused_before_it_is_unpacked_to_objects(value):
    """30 kB on the wire, 32 MB of JSON, and more than a gigabyte of empty lists."""
    bomb = b"[" + (value + b",") * (8 << 20) + b"1]"
    tracemalloc.start()
    try:
        with pytest.raises(PacketError, match="a frame of too many values"):
            decode_frame(bomb)
        assert tracemalloc.get_traced_memory()[1] < 1 << 20
    finally:
        tracemalloc.stop()
