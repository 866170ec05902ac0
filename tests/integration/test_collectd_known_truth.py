"""Real SQLAlchemy in forked processes, through UDP and collectd, to the numbers that collectd writes."""

import math
import re
import socket
from pathlib import Path

from support.collectd import Collectd, free_port, server_block
from support.waiting import wait_until
from support.workload import Workload, summed

HOST = socket.gethostname()


def url(folder: Path, port: int, program: str = "nova", host: str = "127.0.0.1") -> str:
    settings = f"collectd_host={host}&collectd_port={port}&collectd_program_name={program}&collectd_interval=0.5"
    return f"sqlite:///{folder}/shop.db?plugin=collectd&{settings}"


def of(instance: str, values: dict[str, int]) -> dict[str, float]:
    return {f"{HOST}/sqlalchemy-{instance}/{name}": value for name, value in values.items()}


def added(*truths: dict[str, int]) -> dict[str, int]:
    return {name: sum(truth[name] for truth in truths) for name in truths[0]}


def derives(values: dict[str, int]) -> dict[str, int]:
    return {name: value for name, value in values.items() if name.startswith("derive-")}


def assert_no_derive_ever_fell(daemon: Collectd) -> None:
    for name, values in daemon.written().items():
        if "/derive-" in name or "/total_time_in_ms-" in name:
            assert values == sorted(values), name


def test_every_value_equals_the_known_truth_for_programs_and_host(tmp_path):
    port = free_port()
    with (
        Collectd(tmp_path, server_block(f'listen "127.0.0.1" {port}'), interval=0.5) as daemon,
        Workload(url(tmp_path, port, "nova")) as nova,
        Workload(url(tmp_path, port, "glance")) as glance,
    ):
        nova_truths = [
            nova.work(nova.fork(), plain=7, commit=5, rollback=3, invalidate=2, detach=2, hold=1),
            nova.work(nova.fork(), together=3, plain=11, commit=2, invalidate=1, hold_detached=2),
            nova.work(nova.fork(), refused=2, together=6, rollback=4, detach=1, hold=10, timeout=3),
        ]
        # The truth is told by the workload: that it did what was asked is checked here.
        assert (nova_truths[2]["timeouts"], nova_truths[2]["connecterrors"]) == (3, 2)
        glance_truths = [
            glance.work(glance.fork(), together=2, commit=13),
            glance.work(glance.fork(), rollback=1, hold=2),
        ]
        daemon.wait_for_values(
            of("nova", summed(nova_truths))
            | of("glance", summed(glance_truths))
            | of("host", summed(nova_truths + glance_truths))
        )
        assert_no_derive_ever_fell(daemon)
        times = ("wait", "use", "create")
        written = {name.rpartition("/")[2] for name in daemon.newest()}
        # One line of the workload takes all connections, and holds some.
        line = next(name for name in written if name.startswith("count-open-")).removeprefix("count-open-")
        assert re.fullmatch(r"support_workload\.py:\d+ in Worker\.checkout", line)
        assert written == {
            f"count-open-{line}",
            f"duration-oldest-{line}",
            f"total_time_in_ms-held-{line}",
            *summed(nova_truths),
            *(f"duration-{name}-{quantile}" for name in times for quantile in ("p50", "p95", "p99")),
            *(f"total_time_in_ms-{name}" for name in times),
        }


def test_totals_neither_fall_nor_rise_when_processes_are_killed_exit_and_restart(tmp_path):
    """Trap 26."""
    port = free_port()
    with (
        Collectd(tmp_path, server_block(f'listen "127.0.0.1" {port}'), interval=0.5) as daemon,
        Workload(url(tmp_path, port)) as nova,
    ):
        staying, killed, exiting = (nova.fork() for _ in range(3))
        truths = [
            nova.work(staying, together=2, commit=5, hold=1),
            nova.work(killed, plain=20, rollback=3, hold=2),
            nova.work(exiting, commit=7, invalidate=1, together=3),
        ]
        total = summed(truths)
        daemon.wait_for_values(of("nova", total) | of("host", total))

        nova.kill(killed)
        nova.exit(exiting)
        living = summed(truths[:1])
        living = {name: value for name, value in living.items() if name.startswith("count-")}
        after = daemon.wait_for_values(of("nova", living) | of("host", living))
        for name in ("checkouts", "commits", "rollbacks", "transactions", "connects", "invalidated"):
            for instance in ("nova", "host"):
                assert after[f"{HOST}/sqlalchemy-{instance}/derive-{name}"] == total[f"derive-{name}"]

        restarted = nova.fork()
        truths.append(nova.work(restarted, commit=4, detach=1))
        truths[0] = nova.work(staying, plain=2)
        total = added(*(derives(summed([truth])) for truth in truths))
        total = {name: total[name] for name in total if name != "derive-disconnects"}
        daemon.wait_for_values(of("nova", total) | of("host", total))
        assert_no_derive_ever_fell(daemon)


def rates(daemon: Collectd, name: str, instance: str = "nova") -> list[float]:
    """The rates that collectd computed, those left out where it could not."""
    written = daemon.written().get(f"{HOST}/sqlalchemy-{instance}/{name}", [])
    return [rate for rate in written if not math.isnan(rate)]


def test_across_a_restart_of_the_server_no_rate_is_negative_or_without_work(tmp_path):
    """Trap 27."""
    port = free_port()
    block = server_block(f'listen "127.0.0.1" {port}')
    with Workload(url(tmp_path, port)) as nova:
        worker = nova.fork()
        with Collectd(tmp_path, block, interval=0.5, store_rates=True) as daemon:
            nova.work(worker, commit=50, together=3)
            wait_until(lambda: rates(daemon, "derive-checkouts"))
            nova.work(worker, commit=50, invalidate=2)
            wait_until(lambda: any(rates(daemon, "derive-commits")))
        before = {name: len(values) for name, values in daemon.written().items()}
        nova.work(worker, commit=500, invalidate=3)  # Nobody hears of these: they must be in no rate.

        with Collectd(tmp_path, block, interval=0.5, store_rates=True) as daemon:

            def since_restart(kind: str) -> dict[str, list[float]]:
                return {
                    name: [rate for rate in values[before.get(name, 0) :] if not math.isnan(rate)]
                    for name, values in daemon.written().items()
                    if f"/{kind}-" in name
                }

            wait_until(lambda: len(since_restart("derive").get(f"{HOST}/sqlalchemy-nova/derive-commits", ())) > 4)
            quiet = since_restart("derive") | since_restart("total_time_in_ms")
            assert all(rate == 0 for series in quiet.values() for rate in series), quiet

            nova.work(worker, commit=60)
            wait_until(lambda: any(since_restart("derive")[f"{HOST}/sqlalchemy-nova/derive-commits"]))
        for name, values in daemon.written().items():
            assert all(rate >= 0 for rate in values if not math.isnan(rate)), name


def test_an_application_reaches_a_server_on_ipv6(tmp_path):
    """Trap 38."""
    port = free_port("::1")
    with (
        Collectd(tmp_path, server_block(f'listen "::1" {port}'), interval=0.5) as daemon,
        Workload(url(tmp_path, port, host="%5B::1%5D")) as nova,
    ):
        truth = nova.work(nova.fork(), commit=3, hold=1)
        daemon.wait_for_values(of("nova", summed([truth])))
