"""Beside PyPI's sqlalchemy-collectd 0.0.8, run as it is: our client with its server, its client with ours."""

import os
import socket
import sys
from pathlib import Path

import pytest

from interop.helo_peer import shown
from poolhouse.meter.reading import Gauges
from support.collectd import (
    SOURCES,
    Collectd,
    connmon_block,
    free_port,
    send,
    server_block,
    udp_socket,
)
from support.crafted import CraftedProcess
from support.feed_console import feed_console
from support.installs import pip_install
from support.waiting import wait_until
from support.workload import Workload, summed

HOST = socket.gethostname()
#: What the earlier client and server know.
LEGACY_COUNTS = {"checkedin", "checkedout", "connections", "detached", "numpools", "numprocs"}
LEGACY_DERIVES = {"checkouts", "connects", "disconnects", "invalidated"}
EARLIER = {f"count-{name}" for name in LEGACY_COUNTS} | {f"derive-{name}" for name in LEGACY_DERIVES}
#: An interpreter without our package: what lies beneath the virtual environment of the tests.
BARE_PYTHON = sys._base_executable


@pytest.fixture(scope="module")
def earlier(tmp_path_factory):
    """A folder with the earlier system and the SQLAlchemy it brings along."""
    target = tmp_path_factory.mktemp("earlier")
    pip_install(target, "sqlalchemy-collectd==0.0.8")
    return target


@pytest.fixture
def earlier_client(earlier):
    """Makes a `Workload` of processes that use the earlier client."""

    def workload(folder: Path, port: int, program: str) -> Workload:
        settings = f"collectd_host=127.0.0.1&collectd_port={port}&collectd_program_name={program}"
        return Workload(
            f"sqlite:///{folder}/shop.db?plugin=collectd&{settings}",
            python=BARE_PYTHON,
            path=os.pathsep.join([str(earlier), str(SOURCES.parent / "tests")]),
        )

    return workload


def our_client(folder: Path, port: int, program: str, **settings: str) -> Workload:
    told = {"host": "127.0.0.1", "port": str(port), "program_name": program, "interval": "1", **settings}
    query = "&".join(f"collectd_{name}={value}" for name, value in told.items())
    return Workload(f"sqlite:///{folder}/shop.db?plugin=collectd&{query}")


def of(instance: str, values: dict[str, int]) -> dict[str, float]:
    return {f"{HOST}/sqlalchemy-{instance}/{name}": values[name] for name in values if name in EARLIER}


@pytest.mark.parametrize("detail", ["full", "plain"])
def test_its_server_writes_what_our_client_reports(tmp_path, earlier, detail):
    port = free_port()
    daemon = Collectd(tmp_path, server_block(f'listen "127.0.0.1" {port}'), sources=earlier)
    with daemon, our_client(tmp_path, port, "nova", detail=detail) as nova:
        truths = [
            nova.work(nova.fork(), together=3, plain=7, commit=5, invalidate=2, detach=1, hold=1),
            nova.work(nova.fork(), rollback=4, hold=2, hold_detached=1),
        ]
        daemon.wait_for_values(of("nova", summed(truths)) | of("host", summed(truths)))


def test_our_server_writes_what_its_client_reports(tmp_path, earlier_client):
    port = free_port()
    with (
        Collectd(tmp_path, server_block(f'listen "127.0.0.1" {port}')) as daemon,
        earlier_client(tmp_path, port, "nova") as nova,
    ):
        workers = [nova.fork(), nova.fork()]
        before = [nova.work(worker, together=2, commit=5) for worker in workers]
        counts = {name: n for name, n in summed(before).items() if name.startswith("count-")}
        daemon.wait_for_values(of("nova", counts))
        baseline = daemon.newest()[f"{HOST}/sqlalchemy-nova/derive-checkouts"]
        after = [nova.work(worker, plain=3, hold=1) for worker in workers]
        counts = {name: n for name, n in summed(after).items() if name.startswith("count-")}
        checkouts = summed(after)["derive-checkouts"] - summed(before)["derive-checkouts"]
        daemon.wait_for_values(of("nova", counts | {"derive-checkouts": baseline + checkouts}))
        # In its gauges an invalidated connection stays for ever; it is counted right.
        for worker in workers:
            nova.work(worker, invalidate=1)
        newest = daemon.wait_for_values(of("nova", {"derive-invalidated": 2}))
        # It does not tell what it does not count.
        assert f"{HOST}/sqlalchemy-nova/derive-commits" not in newest


def test_its_client_and_ours_are_one_sum_on_our_server(tmp_path, earlier_client):
    port = free_port()
    with (
        Collectd(tmp_path, server_block(f'listen "127.0.0.1" {port}')) as daemon,
        earlier_client(tmp_path, port, "nova") as theirs,
        our_client(tmp_path, port, "nova") as ours,
        our_client(tmp_path, port, "nova", detail="plain") as plain,
    ):
        truths = [one.work(one.fork(), together=3, hold=2) for one in (theirs, ours, plain)]
        counts = {name: n for name, n in summed(truths).items() if name.startswith("count-")}
        daemon.wait_for_values(of("nova", counts) | of("host", counts))


def test_where_it_is_installed_beside_ours_one_line_says_what_to_do(tmp_path, earlier):
    port = free_port()
    beside = f'ModulePath "{earlier}"\nModulePath "{SOURCES}"\n'
    block = server_block(f'listen "127.0.0.1" {port}') + connmon_block(f'monitor "127.0.0.1" {port}')
    with Collectd(tmp_path, beside + block) as daemon:
        daemon.wait_for_log('run "pip uninstall sqlalchemy-collectd" and then "pip install --force-reinstall')
        assert daemon.log().count("is installed beside poolhouse") == 1


def test_its_connmon_plugin_shows_what_our_server_forwards_as_values_earlier(tmp_path, earlier):
    """It fails at types beyond ``count`` and ``derive``: the directive ``values "earlier"`` is for it."""
    reports, network = free_port(), free_port()
    with udp_socket() as monitor:
        ours = Collectd(
            tmp_path / "ours",
            server_block(f'listen "127.0.0.1" {reports}', 'values "earlier"'),
            more=f'LoadPlugin network\n<Plugin network>\nServer "127.0.0.1" "{network}"\n</Plugin>',
        )
        theirs = Collectd(
            tmp_path / "theirs",
            connmon_block(f'monitor "127.0.0.1" {monitor.getsockname()[1]}'),
            more=f'LoadPlugin network\n<Plugin network>\nListen "127.0.0.1" "{network}"\n</Plugin>',
            sources=earlier,
        )
        process = CraftedProcess("nova", gauges=Gauges(used=3))
        process.waits.record_all([5_000_000])
        with theirs, ours:
            send(process.report(checkouts=9), reports)
            wanted = {"web1/sqlalchemy-nova/count-checkedout": 3, "web1/sqlalchemy-nova/derive-checkouts": 9}
            seen: dict[str, float] = {}
            while not wanted.items() <= seen.items():
                one = shown(monitor.recv(2000))
                seen[one.name] = one.value


def test_what_its_monitor_pushes_fills_our_console(tmp_path, earlier, earlier_client):
    reports, consoles = free_port(), free_port()
    python = server_block(f'listen "127.0.0.1" {reports}') + connmon_block(f'monitor "127.0.0.1" {consoles}')
    with (
        feed_console(consoles, mode="listen") as (snapshots, _),
        Collectd(tmp_path, python, sources=earlier),
        earlier_client(tmp_path, reports, "nova") as nova,
    ):
        nova.work(nova.fork(), together=3, hold=2)

        def filled():
            rows = [row for one in snapshots for row in one.programs if (row.used, row.idle) == (2, 1)]
            return rows and rows[-1]

        row = wait_until(filled)
        assert (row.name, row.processes, row.pools, row.connections) == ("nova", 1, 1, 3)
        assert row.waiting is None  # What it does not send is not known, and not 0.
