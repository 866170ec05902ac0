"""Why our report datagrams are as they are: PyPI's sqlalchemy-collectd 0.0.8 in a real collectd reads them."""

import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from poolhouse.meter.signs import ProcessSigns
from poolhouse.wire.names import ascii_name
from poolhouse.wire.parts import HEADER, PRIVATE, TYPE
from poolhouse.wire.report import Report, encode_report
from support.collectd import Collectd, free_port, send, server_block
from support.installs import pip_install
from support.waiting import wait_until
from support.wire_parts import parts_of
from support.wire_samples import WORST, WORST_SIGNS, many_sites, pool, report

#: How much of a datagram the earlier server reads.
READ_BYTES = 1024

SUMS = {
    "count-numpools": 1,
    "count-checkedin": 3,
    "count-checkedout": 4,
    "count-detached": 1,
    "count-connections": 8,
    "count-numprocs": 1,
    "derive-checkouts": 100,
    "derive-connects": 101,
    "derive-disconnects": 102,
    "derive-invalidated": 103,
}


@pytest.fixture(scope="session")
def earlier_system(tmp_path_factory: pytest.TempPathFactory) -> Path:
    target = tmp_path_factory.mktemp("sqlalchemy-collectd-0.0.8")
    pip_install(target, "--no-deps", "sqlalchemy-collectd==0.0.8")
    return target


@pytest.fixture
def server(earlier_system: Path, tmp_path: Path) -> Iterator[tuple[Collectd, int]]:
    port = free_port()
    block = server_block(f'listen "127.0.0.1" {port}', 'loglevel "info"')
    with Collectd(tmp_path, block, sources=earlier_system, expected=("Traceback",)) as collectd:
        yield collectd, port


def now(told: Report) -> Report:
    """The same, said now: the earlier server forgets what is old."""
    return told._replace(wall_time=time.time(), interval=60.0)


def sums_of(told: Report) -> dict[str, float]:
    """What collectd's csv files are to say of a report."""
    host, program = ascii_name(told.host).decode(), ascii_name(told.program).decode()
    return {f"{host}/sqlalchemy-{program}/{name}": value for name, value in SUMS.items()}


SIGNED = report(pool(signs=many_sites(4)), signs=ProcessSigns(7))


@pytest.mark.parametrize(
    "told",
    [report(), report(pool()), WORST, SIGNED, WORST_SIGNS],
    ids=["no pool", "one pool", "the longest", "with signs", "the longest with signs"],
)
@pytest.mark.parametrize("detail", ["full", "plain"])
def test_each_report_is_understood(server: tuple[Collectd, int], told: Report, detail: str):
    collectd, port = server
    told = now(told)
    send(encode_report(told, detail), port)
    collectd.wait_for_values(sums_of(told))
    assert "Traceback" not in collectd.log()


def assert_only_totals_came(collectd: Collectd, told: Report) -> None:
    """The server has written totals in two intervals and so would have written gauges, had it understood them."""
    derives = {name: value for name, value in sums_of(told).items() if "/derive-" in name}
    collectd.wait_for_values(derives)
    wait_until(lambda: all(len(collectd.written()[name]) > 1 for name in derives))
    assert not [name for name in collectd.written() if name.endswith("count-connections")]


def test_only_the_last_of_several_lists_in_a_datagram_counts(server: tuple[Collectd, int]):
    """Why each of our datagrams holds one earlier list."""
    collectd, port = server
    told = now(report())
    pool_list, totals_list = encode_report(told, "plain")
    type_at = dict(parts_of(totals_list))[TYPE]
    send([pool_list + totals_list[type_at:]], port)
    assert_only_totals_came(collectd, told)


def test_a_header_cut_at_byte_1024_loses_the_datagram(server: tuple[Collectd, int]):
    """Why nothing follows our private part, whose own header stands in the first 500 bytes."""
    collectd, port = server
    told = now(report())
    pool_list, totals_list = encode_report(told, "plain")
    filler = READ_BYTES - 2 - len(pool_list)
    straddling = pool_list + HEADER.pack(PRIVATE, filler) + bytes(filler - 4) + HEADER.pack(PRIVATE, 4)
    send([straddling], port)
    collectd.wait_for_log("Traceback")
    send([totals_list], port)
    assert_only_totals_came(collectd, told)
