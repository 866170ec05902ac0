"""Reports of processes that exist only as datagrams."""

import socket
import threading
import time
from contextlib import AbstractContextManager
from itertools import count
from typing import Any

from poolhouse.meter.reading import Counters, Gauges, Limits, PoolReading
from poolhouse.wire.report import Report, ReportSums, encode_report


def report(
    program: str, *, host: str = "web1", token: str = "1:abcdef", number: int = 1, **changes: Any
) -> list[bytes]:
    """A process with one pool: the fields of `Gauges` and `Counters` by their names, everything else 0.

    ``wait``, ``use`` and ``create`` are histograms, ``pool`` is the pool's name, ``pool_signs`` are its
    signs and ``limits`` its limits. Whatever else is named is a field of `Report`.

    It is younger than any aggregator, so that what it has counted counts in full.
    """
    gauges = Gauges(**{name: changes.pop(name) for name in Gauges._fields if name in changes})
    counters = Counters(**{name: changes.pop(name) for name in Counters._fields if name in changes})
    times = {name: changes.pop(name) for name in ("wait", "use", "create") if name in changes}
    name = changes.pop("pool", "db1:5432/shop")
    signs = changes.pop("pool_signs", None)
    limits = changes.pop("limits", Limits())
    pool = PoolReading(1, name, "QueuePool", 1, limits, gauges, counters, signs=signs, **times)
    fields: dict[str, Any] = {"uptime": 0.0, "wall_time": time.time(), "interval": 1.0, "goodbye": False} | changes
    sums = ReportSums(1, gauges, limits, counters)
    return encode_report(
        Report(host, program, token, number, sequence=1 + 2 * (number - 1), sums=sums, pools=(pool,), **fields)
    )


def send(datagrams: list[bytes], port: int, host: str = "127.0.0.1") -> None:
    """To an aggregator's port."""
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    with socket.socket(family, socket.SOCK_DGRAM) as sock:
        for datagram in datagrams:
            sock.sendto(datagram, (host, port))


class Reporting(AbstractContextManager["Reporting"]):
    """A process that reports every quarter of a second, until the context is left.

    What it tells is as for `report`; a function of the report's number may stand for a value.
    """

    def __init__(self, program: str, port: int, *, to: str = "127.0.0.1", **changes: Any) -> None:
        self._to = to
        self._end = threading.Event()
        self._thread = threading.Thread(target=self._run, args=(program, port, changes))
        self._thread.start()

    def _run(self, program: str, port: int, changes: dict[str, Any]) -> None:
        for number in count(1):
            values = {name: value(number) if callable(value) else value for name, value in changes.items()}
            send(report(program, number=number, **values), port, self._to)
            if self._end.wait(0.25):
                return

    def __exit__(self, *_: object) -> None:
        self._end.set()
        self._thread.join()
