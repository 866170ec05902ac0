"""An aggregator that only listens: a UDP socket on this machine, and every datagram that reached it, decoded."""

import socket
from types import TracebackType
from typing import Self

from poolhouse.wire.message import LegacyDatagram, RawPool, ReportDatagram, decode_message


class Receiver:
    """Receives reports on a free port of a loopback address. A context manager.

    Attributes:
        reports: The datagrams of our own form so far, in order; look at `receive` for fresh ones.
        earlier: Those of the earlier client's form.
        sizes: The length of each datagram, in bytes.
    """

    def __init__(self, host: str = "127.0.0.1", port: int = 0) -> None:
        self.host = host
        self.reports: list[ReportDatagram] = []
        self.earlier: list[LegacyDatagram] = []
        self.sizes: list[int] = []
        self._socket = socket.socket(socket.AF_INET6 if ":" in host else socket.AF_INET, socket.SOCK_DGRAM)
        self._socket.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 1 << 20)
        self._socket.setblocking(False)
        self._socket.bind((host, port))
        self.port: int = self._socket.getsockname()[1]

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        """Listen no more."""
        self._socket.close()

    @property
    def address(self) -> str:
        """Host and port as they stand in a URL."""
        return f"[{self.host}]:{self.port}" if ":" in self.host else f"{self.host}:{self.port}"

    def url(self, **settings: object) -> str:
        """The URL that a program reports to; bare settings such as ``program_name`` go into its query."""
        return f"collectd://{self.address}/?" + "&".join(f"{name}={value}" for name, value in settings.items())

    def receive(self) -> list[ReportDatagram]:
        """Everything of our own form that has come until now."""
        while True:
            try:
                datagram = self._socket.recv(65536)
            except BlockingIOError:
                return self.reports
            self.sizes.append(len(datagram))
            match decode_message(datagram):
                case ReportDatagram() as report:
                    self.reports.append(report)
                case LegacyDatagram() as earlier:
                    self.earlier.append(earlier)
                case values:
                    raise AssertionError(f"not a report: {values}")

    def tokens(self) -> list[str]:
        """The processes that were heard of, in the order of their first datagrams."""
        return list(dict.fromkeys(report.token for report in self.receive()))

    def of(self, token: str) -> list[ReportDatagram]:
        """What a process sent."""
        return [report for report in self.receive() if report.token == token]

    def goodbyes(self) -> set[str]:
        """The processes that have said goodbye."""
        return {report.token for report in self.receive() if report.goodbye}

    def pools(self, token: str, program: str | None = None) -> dict[int, RawPool]:
        """What a process said last about each of its pools, by key; of one program if named."""
        return {
            report.pool.key: report.pool
            for report in self.of(token)
            if report.pool is not None and program in (None, report.program)
        }

    def checkouts(self, token: str) -> int:
        """The sum of the checkouts that a process told."""
        return sum(pool.counters.checkouts or 0 for pool in self.pools(token).values())
