"""What the log says of TCP connections that are closed, and how often."""

import pytest

from poolhouse.daemon.tcp import EARLIER_PERIOD_S, MOST_EARLIER, SAID_PERIOD_S, TcpPort, Why
from poolhouse.testing.clock import VirtualClock
from poolhouse.wire.framing import EARLIER_CLIENT
from poolhouse.wire.session import Welcome


class Port(TcpPort):
    """One whose log is a list."""

    def __init__(self) -> None:
        self.said: list[str] = []
        self.time = VirtualClock()
        super().__init__(
            Welcome("connmond", "default", "node1"),
            None,
            self.time,
            lambda datagram, address: None,
            lambda level, text: self.said.append(text),
        )


@pytest.fixture
def port() -> Port:
    return Port()


def test_what_is_closed_for_one_reason_is_a_line_a_minute_with_the_number_of_the_others(port: Port) -> None:
    for address in ("10.0.0.1", "10.0.0.2", "10.0.0.3"):
        port.turn_away(address, "an HTTP client", Why.STRANGER)
    port.time.advance(SAID_PERIOD_S)
    port.turn_away("10.0.0.4", "an HTTP client", Why.STRANGER)
    first = "a connection from 10.0.0.1 is closed: an HTTP client"
    later = (
        "a connection from 10.0.0.4 is closed: an HTTP client (2 others since: they do not keep to the protocol)"
    )
    assert port.said == [first, later]
    assert port.refused == {Why.STRANGER: 4}


def test_each_machine_with_an_earlier_client_is_named_though_others_knock_all_the_time(port: Port) -> None:
    for _ in range(3):
        for address in ("10.0.0.1", "10.0.0.2"):
            port.turn_away("10.0.0.9", "an HTTP client", Why.STRANGER)
            port.turn_away(address, EARLIER_CLIENT, Why.EARLIER)
        port.time.advance(SAID_PERIOD_S)
    named = [line for line in port.said if "connmon 0.x" in line]
    assert named == [f"a connection from 10.0.0.{n} is closed: {EARLIER_CLIENT}" for n in (1, 2)]
    port.time.advance(EARLIER_PERIOD_S)
    port.turn_away("10.0.0.1", EARLIER_CLIENT, Why.EARLIER)
    assert port.said[-1].endswith("(2 others since: they are clients of connmon 0.x)")


def test_addresses_without_end_share_lines(port: Port) -> None:
    for number in range(MOST_EARLIER + 100):
        port.turn_away(f"10.0.{number // 256}.{number % 256}", EARLIER_CLIENT, Why.EARLIER)
    assert len(port.said) == MOST_EARLIER + 1
    assert port.refused[Why.EARLIER] == MOST_EARLIER + 100
