"""A real connmond beside senders that mean harm: honest reports arrive, memory stays, the log stays short."""

import json
import re
import socket
import struct
import time
import urllib.request
from collections.abc import Iterator
from contextlib import ExitStack
from functools import partial
from pathlib import Path

import pytest

from poolhouse.feed.protocol.datagrams import Ask, encode_datagram
from poolhouse.fleet.snapshot import Snapshot
from poolhouse.wire.framing import MAGIC, Kind, frame
from poolhouse.wire.session import Hello, encode_hello
from support.connmond import Connmond, News, Watcher, program, sentences
from support.reporting import ModelProcess
from support.waiting import wait_until

#: Bytes of an empty connmond with everything that it imports, and then some.
EMPTY = 120 << 20
#: One address of the loopback network floods, another one is honest.
MALLORY, ALICE = "127.0.0.66", "127.0.0.1"


def resident(daemon: Connmond) -> int:
    return int(Path(f"/proc/{daemon.process.pid}/statm").read_text().split()[1]) * 4096


def udp(address: str, port: int) -> socket.socket:
    sock = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    sock.bind((address, 0))
    sock.connect(("127.0.0.1", port))
    return sock


def invented(count: int) -> Iterator[bytes]:
    """Datagrams of processes that nobody ever ran, each on its own host, with names that command a terminal."""
    for number in range(count):
        name = f"\x1b[2J\u202e{number}"
        yield from ModelProcess(f"{number}:{number:06x}", name, f"evil{number}").report(1.0)


BROKEN = [
    b"",
    b"\0",
    b"\x00\x06\x00\x00",
    b"\x00\x06\xff\xff",
    b"\xff" * 65_507,
    b"\x02\x00\x00\x04" * 300,
    b"\x02\x10\x00\x2a\xff\xff" + bytes(36),
    b"\x00\x00\x00\x09web1\0" * 140,
    b"\x00\x01\x00\x0c" + b"\xff" * 8,
    b"\x7a\x01\x00\x04" * 300,
    struct.pack("!HHH", 6, 6 + 9, 1) + b"\x01" + struct.pack("<d", float("nan")),
]


def test_a_flood_of_invented_and_broken_reports_costs_neither_memory_nor_honest_reports():
    with Connmond("--memory", "32M") as daemon, Watcher(daemon.consoles) as watcher, ExitStack() as stack:
        bad = stack.enter_context(udp(MALLORY, daemon.reports))
        good = stack.enter_context(udp(ALICE, daemon.reports))
        process, sent = ModelProcess(program="shop", born=0.0), 0
        began = time.monotonic()
        flood = [*invented(4_000), *(BROKEN * 400)]
        news = News()

        def report() -> None:
            # With its real age: a process older than connmond counts from its first report on only.
            for one in process.report(time.monotonic() - began):
                good.send(one)

        def told() -> Snapshot | None:
            """The snapshot with every checkout; until it comes, a report for each that does not have them."""
            if news.has_come(watcher):
                report()
            newest = watcher.snapshots[-1]
            row = program(newest, "shop")
            return newest if row is not None and row.totals.checkouts == sent else None

        for number, datagram in enumerate(flood):
            bad.send(datagram)
            if number % 1_000 == 0:
                process.pool.work(1)
                report()
                sent += 1
            # As fast as connmond reads, about: what the kernel drops is nobody's fault.
            time.sleep(max(0.0, began + number / 8_000 - time.monotonic()))
        wait_until(lambda: watcher.snapshots)
        # Reports are absolute: one that comes through makes up for those that the kernel dropped.
        snapshot = wait_until(told, timeout=60)
        assert snapshot is not None
        assert resident(daemon) < EMPTY + 2 * (32 << 20)
        assert snapshot.health.over_limit, "what is beyond the bounds is counted"
        assert dict(snapshot.health.refusals)["malformed"] > 0
        assert all(row.name.isprintable() for row in snapshot.programs)
        status, _, errors = daemon.end()
        assert status == 0
        assert len(errors.splitlines()) <= 3, errors


def test_a_flood_at_full_speed_is_counted_to_the_last_datagram_and_honest_reports_are_shown():
    """Nothing slows the sender down: where a core is free, it sends more than 50,000 datagrams a second."""
    zero = b"0000000"
    template = ModelProcess("0000000:000000", "p0000000", "h0000000").report(0.0)[0]
    with Connmond("--memory", "32M") as daemon, Watcher(daemon.consoles) as watcher, ExitStack() as stack:
        bad = stack.enter_context(udp(MALLORY, daemon.reports))
        good = stack.enter_context(udp(ALICE, daemon.reports))
        process, sent, began = ModelProcess(program="shop"), 0, time.monotonic()
        for number in range(50_000):
            bad.send(template.replace(zero, b"%07x" % number))
            sent += 1
            if number % 1_000 == 0:
                process.pool.work(1)
                sent += sum(good.send(one) > 0 for one in process.report(time.monotonic() - began))

        def is_shown() -> bool:
            """Whether the newest report is; the kernel may have dropped it, so it is sent again."""
            nonlocal sent
            sent += sum(good.send(one) > 0 for one in process.report(time.monotonic() - began))
            row = program(watcher.snapshots[-1], "shop") if watcher.snapshots else None
            return row is not None and row.totals.checkouts == 50

        wait_until(is_shown, timeout=90)
        watcher.wait_for(lambda seen: seen.health.received + seen.health.dropped == sent)
        assert watcher.snapshots[-1].health.over_limit
        assert resident(daemon) < EMPTY + 2 * (32 << 20)
        status, _, errors = daemon.end()
        assert status == 0
        assert len(errors.splitlines()) <= 3, errors


@pytest.fixture
def daemon() -> Iterator[Connmond]:
    with Connmond("--bind", "0.0.0.0:0", "--http", "127.0.0.1:0") as daemon:
        yield daemon


def connected(stack: ExitStack, address: str, port: int) -> socket.socket:
    return stack.enter_context(socket.create_connection(("127.0.0.1", port), 30, (address, 0)))


def is_counted(daemon: Connmond, name: str, reason: str) -> bool:
    with urllib.request.urlopen(f"http://127.0.0.1:{daemon.http}/metrics", timeout=60) as answer:
        return f'\npoolhouse_{name}_refused_total{{reason="{reason}"}}' in answer.read().decode()


def test_a_client_is_let_in_while_another_address_holds_hundreds_of_silent_connections(daemon):
    with ExitStack() as stack:
        for number in range(400):
            silent = connected(stack, MALLORY, daemon.service)
            if number % 2:
                silent.send(MAGIC[: number % 8])  # Byte by byte, if at all.
        client = connected(stack, ALICE, daemon.service)
        hello = Hello("report", "test", bytes(16), "default")
        client.sendall(MAGIC + frame(Kind.HELLO, encode_hello(hello)))
        answer = b""
        while b'"connmond' not in answer:
            answer += client.recv(4096)
        process = ModelProcess(program="shop")
        client.sendall(b"".join(frame(Kind.REPORT, one) for one in process.report(1.0)))
        with Watcher(daemon.consoles) as watcher:
            watcher.wait_for(lambda one: program(one, "shop"))
        with udp(MALLORY, daemon.consoles) as bad:
            bad.send(b"nothing that a console says")
        # What each listener has refused is counted by reason.
        for name, reason in (("clients", "crowded"), ("consoles", "malformed")):
            wait_until(partial(is_counted, daemon, name, reason), what=f"refused {name}")
    status, output, errors = daemon.end()
    assert status == 0
    said = [line for line in sentences(errors) if "a connection from" in line]
    assert 1 <= len(said) <= 3, errors  # A line for each reason.
    assert re.search(r"\d+ connections closed \(.*there are too many of their addresses", output), output


def test_a_stranger_cannot_have_megabytes_kept_before_it_is_let_in(daemon):
    before = resident(daemon)
    with ExitStack() as stack:
        for _ in range(60):
            guest = connected(stack, MALLORY, daemon.service)
            guest.sendall(MAGIC + (Kind.LEDGER << 24 | 8 << 20).to_bytes(4, "big"))
            try:
                for _ in range(16):
                    guest.sendall(bytes(1 << 16))
            except OSError:
                continue  # It is closed, as it should be.
        assert resident(daemon) < before + (40 << 20)
    assert daemon.end()[0] == 0


def test_http_answers_while_another_address_holds_half_requests(daemon):
    with ExitStack() as stack:
        for number in range(300):
            slow = connected(stack, MALLORY, daemon.http)
            slow.sendall(b"GET /metrics HTTP/1.1\r\nHost: localhost\r\nX: " + b"a" * number)
        with urllib.request.urlopen(f"http://127.0.0.1:{daemon.http}/api/snapshot", timeout=60) as answer:
            assert json.load(answer)["fleet"]
    assert daemon.end()[0] == 0


def test_a_forged_question_makes_no_amplifier(daemon):
    """Before an address is proved, a question of 31 bytes is answered with 30 bytes, and with nothing else."""
    word, count = encode_datagram(Ask(bytes(8))), 50
    with udp(ALICE, daemon.reports) as good, udp(MALLORY, daemon.consoles) as victim:
        for one in ModelProcess(program="shop").report(1.0):  # So that there is something to be sent.
            good.send(one)
        for _ in range(count):
            victim.send(word)
        victim.settimeout(30.0)
        answers = [victim.recv(65_535) for _ in range(count)]
        with Watcher(daemon.consoles) as watcher:  # An address that is proved is served meanwhile.
            watcher.wait_for(lambda snapshot: program(snapshot, "shop"))
        victim.setblocking(False)
        with pytest.raises(BlockingIOError):
            victim.recv(65_535)
    assert (len(word), {len(one) for one in answers}) == (31, {30})
    assert daemon.end()[0] == 0
