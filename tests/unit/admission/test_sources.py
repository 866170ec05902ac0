"""Whose share of the fleet a report counts to."""

from ipaddress import ip_network

import pytest

from poolhouse.admission.sources import ELSEWHERE, THIS_MACHINE, Sources, source_of_user


@pytest.mark.parametrize(
    ("host", "source"),
    [
        ("127.0.0.2", THIS_MACHINE),
        ("127.0.0.66", "127.0.0.64/26"),
        ("::1", THIS_MACHINE),
        ("::ffff:127.0.0.1", THIS_MACHINE),
        ("10.1.2.3", "10.1.0.0/16"),
        ("10.2.2.3", "10.0.0.0/8"),
        ("fe80::1%eth0", "fe80::/10"),
        ("192.0.2.1", ELSEWHERE),
        ("an unknown address", ELSEWHERE),
    ],
)
def test_addresses_are_told_apart_as_far_as_the_operator_says(host, source):
    assert Sources(map(ip_network, ("10.0.0.0/8", "10.1.0.0/16", "fe80::/10", "127.0.0.64/26"))).of(host) == source


def test_users_are_told_apart_by_name_and_are_no_network():
    assert len({source_of_user(b"elsewhere"), source_of_user(b"\xff"), ELSEWHERE}) == 3
