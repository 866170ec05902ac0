from math import inf

import pytest

from poolhouse.report.route import FIRST_RETRY_S, LAST_RETRY_S, PATIENCE, REFRESH_S, Address, Route, State

IPV4 = Address(2, ("192.0.2.1", 25827))
IPV4_TOO = Address(2, ("192.0.2.2", 25827))
IPV6 = Address(10, ("2001:db8::1", 25827, 0, 0))
NO_NAME = OSError(-2, "Name or service not known")
REFUSED = OSError(111, "Connection refused")


def look_up(route: Route, now: float, *addresses: Address, duration: float = 0.0) -> float:
    """A lookup; the time at which it ended."""
    route.begin_lookup(now)
    if addresses:
        route.found(list(addresses), now + duration)
    else:
        route.not_found(NO_NAME, now + duration)
    return now + duration


def resolved(*addresses: Address) -> Route:
    route = Route("web1", 25827)
    look_up(route, 0.0, *addresses)
    return route


def test_a_name_is_looked_up_at_first_use_and_once_at_a_time() -> None:
    route = Route("web1", 25827)
    assert (route.lookup_due, route.address, route.state) == (-inf, None, State.UNTRIED)
    route.begin_lookup(0.0)
    assert route.lookup_due == inf
    assert not route.was_looked_up


def test_without_trouble_a_name_is_looked_up_now_and_then() -> None:
    """Trap 19."""
    route = resolved(IPV4)
    route.reached()
    assert route.lookup_due == REFRESH_S


def test_ipv4_comes_first_because_earlier_servers_listen_there_only() -> None:
    assert resolved(IPV6, IPV4).address == IPV4
    assert resolved(IPV6).address == IPV6


def test_what_refuses_gives_way_to_the_next_address_and_in_the_end_to_the_first() -> None:
    route = resolved(IPV4, IPV6)
    route.refused(REFUSED)
    assert (route.address, route.error) == (IPV6, REFUSED)
    route.refused(REFUSED)
    assert route.address == IPV4
    route.reached()
    assert (route.state, route.error) == (State.REACHED, None)


def test_only_a_destination_of_which_every_address_refuses_is_out_of_reach() -> None:
    route, states = resolved(IPV4, IPV6), []
    for happens in (route.refused, route.refused, None, route.refused, route.refused):
        if happens:
            happens(REFUSED)
        else:
            route.reached()
        states.append(route.state)
    assert states == [State.UNTRIED, State.UNREACHED, State.REACHED, State.REACHED, State.UNREACHED]


def test_an_address_that_has_refused_and_is_no_longer_the_hosts_says_nothing_about_the_others() -> None:
    route = resolved(IPV4, IPV6)
    route.refused(REFUSED)
    look_up(route, 10.0, IPV4_TOO, IPV6)
    route.refused(REFUSED)
    assert route.state is State.UNTRIED
    route.refused(REFUSED)
    assert route.state is State.UNREACHED


def test_an_error_brings_the_next_lookup_forward() -> None:
    route = resolved(IPV4)
    route.refused(REFUSED)
    assert route.lookup_due == FIRST_RETRY_S


def test_the_address_in_use_stays_in_use_if_a_fresh_lookup_still_has_it() -> None:
    route = resolved(IPV4, IPV4_TOO)
    route.refused(REFUSED)
    look_up(route, 10.0, IPV4, IPV4_TOO, IPV6)
    assert route.address == IPV4_TOO
    look_up(route, 20.0, IPV6, IPV4)
    assert route.address == IPV4


def test_a_failed_lookup_leaves_the_known_addresses_in_use() -> None:
    route = resolved(IPV4)
    route.reached()
    look_up(route, 400.0)
    assert (route.address, route.state) == (IPV4, State.REACHED)


def test_a_name_that_becomes_known_is_no_longer_in_trouble() -> None:
    route = Route("web1", 25827)
    look_up(route, 0.0)
    assert (route.state, route.error, route.was_looked_up) == (State.UNRESOLVED, NO_NAME, True)
    look_up(route, 2.0, IPV4)
    assert (route.state, route.error, route.address) == (State.UNTRIED, None, IPV4)


def test_in_trouble_lookups_become_rarer_and_start_over_when_it_is_over() -> None:
    route, now, pauses = Route("web1", 25827), 0.0, []
    for _ in range(5):
        look_up(route, now)
        pauses.append(route.lookup_due - now)
        now = route.lookup_due
    assert pauses == [2.0, 4.0, 8.0, LAST_RETRY_S, LAST_RETRY_S]
    look_up(route, now, IPV4)
    route.reached()
    look_up(route, now, IPV4)
    route.refused(REFUSED)
    assert route.lookup_due - now == FIRST_RETRY_S


@pytest.mark.parametrize("duration", [5.0, 30.0, 100.0])
def test_a_slow_resolver_is_asked_so_rarely_that_it_takes_a_tenth_of_the_time_at_most(duration: float) -> None:
    route, now, spent = Route("web1", 25827), 0.0, 0.0
    for _ in range(20):
        now = look_up(route, now, duration=duration)
        spent += duration
        now = route.lookup_due
    assert spent / now == pytest.approx(min(1 / (1 + PATIENCE), duration / (duration + LAST_RETRY_S)))


def test_the_same_address_found_twice_is_one() -> None:
    assert resolved(IPV4, IPV4, IPV6).alternatives == 2
