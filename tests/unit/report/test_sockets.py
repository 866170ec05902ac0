"""The operating system's sockets, over the loopback interface."""

import os
import socket
from collections.abc import Callable

import pytest

from poolhouse.report.route import Address
from poolhouse.report.sockets import OwnSocket, SystemNetwork, SystemTcpSocket, UdpSocket


@pytest.mark.parametrize("made", [UdpSocket, SystemTcpSocket])
def test_a_descriptor_that_was_closed_and_opened_again_is_left_to_its_owner(
    made: Callable[[Address], OwnSocket],
) -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        ours = made(Address(socket.AF_INET, server.getsockname()))
        assert ours.is_ours()
        descriptor = ours._socket.fileno()
        os.close(descriptor)
        assert not ours.is_ours()
        reader, writer = os.pipe()
        try:
            os.dup2(reader, descriptor)
            assert not ours.is_ours()
            ours.close()
            os.fstat(descriptor)  # OSError if it had been closed.
        finally:
            for each in {reader, writer, descriptor}:
                os.close(each)


def test_a_connection_that_fails_at_once_raises() -> None:
    """Nobody accepts TCP at the address of everybody."""
    with pytest.raises(OSError):
        SystemTcpSocket(Address(socket.AF_INET, ("255.255.255.255", 9)))


def test_a_connection_that_is_refused_is_told_once_it_is_known() -> None:
    with socket.socket() as bound:
        bound.bind(("127.0.0.1", 0))  # And does not listen.
        ours = SystemTcpSocket(Address(socket.AF_INET, bound.getsockname()))
        with pytest.raises(ConnectionRefusedError):
            ours.is_connected()
        ours.close()


def test_names_are_looked_up_for_each_family() -> None:
    found = SystemNetwork.look_up("127.0.0.1", 25826)
    assert Address(socket.AF_INET, ("127.0.0.1", 25826)) in found
