import pytest

from poolhouse.report.route import Route, State
from poolhouse.report.sender import Sender
from poolhouse.testing.clock import VirtualClock
from support.fake_network import FakeNetwork

REPORT = [b"first", b"second"]


@pytest.fixture
def network() -> FakeNetwork:
    return FakeNetwork(VirtualClock())


def sender(network: FakeNetwork, *addresses: str) -> Sender:
    network.names["web1"] = list(addresses)
    route = Route("web1", 25827)
    route.begin_lookup(0.0)
    route.found(network.look_up("web1", 25827), 0.0)
    return Sender(route, network)


def arrived(network: FakeNetwork) -> list[tuple[str, bytes]]:
    return [(host, datagram) for _, host, datagram in network.arrived]


def test_one_socket_serves_all_reports(network: FakeNetwork) -> None:
    web1 = sender(network, "192.0.2.1")
    assert all(web1.send(REPORT) for _ in range(3))
    assert len(network.sockets) == 1
    assert arrived(network) == [("192.0.2.1", b"first"), ("192.0.2.1", b"second")] * 3


def test_a_destination_counts_as_reached_when_the_next_report_finds_no_objection(network: FakeNetwork) -> None:
    web1 = sender(network, "192.0.2.1")
    web1.send(REPORT)
    assert web1.route.state is State.UNTRIED
    web1.send(REPORT)
    assert web1.route.state is State.REACHED


def test_without_an_address_nothing_leaves(network: FakeNetwork) -> None:
    assert not Sender(Route("web1", 25827), network).send(REPORT)
    assert network.sockets == []


def test_a_refusal_on_this_machine_moves_the_same_report_to_the_next_address(network: FakeNetwork) -> None:
    network.refusing = {"127.0.0.1"}
    local = sender(network, "127.0.0.1", "::1")
    assert local.send(REPORT)
    assert local.route.state is State.UNTRIED
    assert arrived(network) == [("::1", b"first"), ("::1", b"second")]
    assert [socket.is_closed for socket in network.sockets] == [True, False]


def test_a_refusal_from_afar_moves_the_next_report_to_the_next_address(network: FakeNetwork) -> None:
    network.is_far = True
    network.refusing = {"192.0.2.1"}
    web1 = sender(network, "192.0.2.1", "2001:db8::1")
    assert web1.send(REPORT)  # Nothing is known to speak against it yet.
    assert web1.route.state is State.UNTRIED
    network.clock.advance(2)
    assert web1.send(REPORT)
    assert arrived(network) == [("2001:db8::1", b"first"), ("2001:db8::1", b"second")]
    network.clock.advance(2)
    assert web1.send(REPORT)
    assert web1.route.state is State.REACHED


def test_a_destination_that_refuses_from_afar_stays_in_trouble_between_the_refusals(network: FakeNetwork) -> None:
    network.is_far = True
    network.refusing = {"192.0.2.1"}
    web1 = sender(network, "192.0.2.1")
    states = []
    for _ in range(5):
        web1.send(REPORT)
        states.append(web1.route.state)
        network.clock.advance(2)
    assert states == [State.UNTRIED, *[State.UNREACHED] * 4]


def test_an_address_without_a_route_is_an_error_like_any_other(network: FakeNetwork) -> None:
    network.unreachable = {"192.0.2.1"}
    web1 = sender(network, "192.0.2.1")
    assert not web1.send(REPORT)
    assert (web1.route.state, str(web1.route.error)) == (State.UNREACHED, "[Errno 101] Network is unreachable")
    network.unreachable = set()
    assert web1.send(REPORT)


def test_a_full_buffer_loses_a_report_and_says_nothing_about_the_address(network: FakeNetwork) -> None:
    web1 = sender(network, "192.0.2.1", "192.0.2.2")
    network.is_full = True
    assert not web1.send(REPORT)
    assert web1.route.state is State.UNTRIED
    network.is_full = False
    assert web1.send(REPORT)
    assert {host for host, _ in arrived(network)} == {"192.0.2.1"}


def test_after_a_fresh_lookup_the_next_report_goes_to_the_new_address(network: FakeNetwork) -> None:
    web1 = sender(network, "192.0.2.1")
    web1.send(REPORT)
    network.names["web1"] = ["192.0.2.9"]
    web1.route.begin_lookup(300.0)
    web1.route.found(network.look_up("web1", 25827), 300.0)
    web1.send(REPORT)
    assert {host for host, _ in arrived(network)} == {"192.0.2.1", "192.0.2.9"}
    assert network.sockets[0].is_closed


def test_a_socket_whose_descriptor_somebody_else_has_is_left_alone_and_the_report_leaves_by_another(
    network: FakeNetwork,
) -> None:
    web1 = sender(network, "192.0.2.1")
    web1.send(REPORT)
    network.sockets[0].is_stolen = True
    assert web1.send(REPORT)
    assert arrived(network) == [("192.0.2.1", b"first"), ("192.0.2.1", b"second")] * 2
    assert web1.route.state is State.UNTRIED  # Nothing was heard of the first report, good or bad.
    web1.send(REPORT)
    assert web1.route.state is State.REACHED


def test_a_socket_that_is_lost_in_the_middle_of_a_report_costs_none_of_its_datagrams(network: FakeNetwork) -> None:
    web1 = sender(network, "192.0.2.1")
    network.steals_after = 2
    assert web1.send([b"1", b"2", b"3", b"4", b"5"])
    assert [datagram for _, datagram in arrived(network)] == [b"1", b"2", b"3", b"4", b"5"]
    assert len(network.sockets) == 3


def test_after_a_renewal_the_next_report_has_a_new_socket_and_the_last_one_is_judged(network: FakeNetwork) -> None:
    web1 = sender(network, "192.0.2.1")
    web1.send(REPORT)
    web1.renew()
    assert web1.send(REPORT)
    assert web1.route.state is State.REACHED
    assert [socket.is_closed for socket in network.sockets] == [True, False]
    web1.send(REPORT)
    assert len(network.sockets) == 2


def test_renewals_after_each_report_do_not_hide_that_the_server_refuses(network: FakeNetwork) -> None:
    network.is_far = True
    network.refusing = {"192.0.2.1"}
    web1 = sender(network, "192.0.2.1")
    for _ in range(3):
        web1.send(REPORT)
        web1.renew()
        network.clock.advance(2)
    assert web1.route.state is State.UNREACHED
    network.refusing = set()
    for _ in range(2):
        web1.send(REPORT)
        web1.renew()
        network.clock.advance(2)
    assert web1.route.state is State.REACHED
