"""A node's side of a TCP connection, against the client that exists and against strangers."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from poolhouse.configuration.service import Login
from poolhouse.daemon.reception import (
    FAILURES_PERIOD_S,
    MOST_ADDRESSES,
    MOST_FAILURES,
    Failures,
    Reception,
    Refused,
)
from poolhouse.errors import PacketError
from poolhouse.report.conversation import Conversation
from poolhouse.wire.framing import MAGIC, Frame, Kind, frame
from poolhouse.wire.introduction import Phase
from poolhouse.wire.session import Hello, Welcome, encode_hello

ME = Welcome("connmond 0.1.0", "default", "node1")
LOGIN = Login("monitor", "s3cret")


def reception(login: Login | None = None, failures: Failures | None = None, now: float = 0.0) -> Reception:
    return Reception(ME, bytes(range(16)), login, failures or Failures(), "10.0.0.7", now)


def conversation(login: Login | None = None, service: str = "default") -> Conversation:
    return Conversation(Hello("report", "poolhouse 0.1.0", bytes(16), service), login, 2.0, 0.0)


def talk(client: Conversation, node: Reception, now: float = 0.0) -> list[Frame]:
    """Carry what both say to the other until nobody has more to say."""
    frames: list[Frame] = []
    while client.outgoing or node.outgoing:
        said, client.outgoing[:] = bytes(client.outgoing), b""
        try:
            frames += node.receive(said, now)
        finally:
            answer, node.outgoing[:] = bytes(node.outgoing), b""
            client.receive(answer, now)
    return frames


def test_client_and_node_understand_each_other():
    client, node = conversation(), reception()
    talk(client, node)
    assert client.phase is Phase.READY
    assert client.welcome == ME
    assert node.guest is not None
    assert node.guest.product == "poolhouse 0.1.0"
    client.report([b"one", b"two"], 0.0)
    assert talk(client, node) == [Frame(Kind.REPORT, b"one"), Frame(Kind.REPORT, b"two")]


def test_with_the_right_password_they_do_too():
    client, node = conversation(LOGIN), reception(LOGIN)
    talk(client, node)
    assert client.phase is Phase.READY


@pytest.mark.parametrize(
    "wrong", [Login("monitor", "guess"), Login("root", "s3cret"), Login("", ""), Login("\ud800", "\ud800")]
)
def test_with_a_wrong_login_the_client_learns_that_and_no_more(wrong):
    client, node = conversation(wrong), reception(LOGIN)
    with pytest.raises(PacketError, match=r"refuses us: (wrong user or password|this service demands a login)"):
        talk(client, node)
    assert node.guest is None


def test_a_client_of_another_service_is_told():
    with pytest.raises(PacketError, match="refuses us: this node serves 'default', not 'other'"):
        talk(conversation(service="other"), reception())


def test_after_a_few_wrong_logins_an_address_waits_even_with_the_right_one():
    failures = Failures()
    for _ in range(MOST_FAILURES):
        with pytest.raises(PacketError, match="wrong user or password"):
            talk(conversation(Login("monitor", "guess")), reception(LOGIN, failures))
    with pytest.raises(PacketError, match="too many wrong logins"):
        talk(conversation(LOGIN), reception(LOGIN, failures, 1.0), 1.0)
    client = conversation(LOGIN)
    talk(client, reception(LOGIN, failures), FAILURES_PERIOD_S)
    assert client.phase is Phase.READY


def test_addresses_without_end_do_not_make_the_table_grow_without_end():
    failures = Failures()
    for number in range(MOST_ADDRESSES + 10):
        failures.note(f"10.{number}", 0.0)
    assert len(failures._failures) == MOST_ADDRESSES


@pytest.mark.parametrize("kind", [kind for kind in Kind if kind is not Kind.HELLO])
def test_nothing_is_taken_before_the_hello(kind):
    with pytest.raises(PacketError, match=f"{kind.name} before HELLO"):
        list(reception().receive(MAGIC + frame(kind), 0.0))


def test_a_client_of_the_old_release_is_named():
    with pytest.raises(PacketError, match=r"a client of connmon 0\.x, which needs Python 2"):
        list(reception().receive(b'Q0 login ["", ""]\0', 0.0))


@given(st.binary(max_size=200), st.booleans())
def test_whatever_a_guest_says_it_is_let_in_or_sent_away(data, is_greeted):
    node = reception(LOGIN)
    try:
        assert list(node.receive(MAGIC * is_greeted + data, 0.0)) == []
    except (PacketError, Refused):
        return
    assert node.guest is None


def test_a_guest_whose_login_is_right_may_still_be_refused():
    asked: list[Hello] = []

    def admission(hello: Hello) -> str | None:
        asked.append(hello)
        return "64 consoles are connected already"

    node = Reception(ME, bytes(range(16)), LOGIN, Failures(), "10.0.0.7", 0.0, admission)
    with pytest.raises(PacketError, match="64 consoles are connected already"):
        talk(conversation(LOGIN), node)
    assert node.guest is None
    assert [hello.user for hello in asked] == ["monitor"]
    with pytest.raises(PacketError, match="wrong user or password"):
        talk(
            conversation(Login("monitor", "guess")),
            Reception(ME, bytes(16), LOGIN, Failures(), "10.0.0.7", 0.0, admission),
        )
    assert len(asked) == 1  # A stranger learns nothing of how many there are.


@pytest.mark.parametrize(
    ("role", "kind"), [("report", Kind.REPORT), ("console", Kind.FEED), ("node", Kind.LEDGER)]
)
def test_only_who_is_let_in_sends_large_frames_and_only_of_its_role(role, kind):
    """256 strangers with 8 MiB each would take two gigabytes."""
    for other in (Kind.REPORT, Kind.FEED, Kind.LEDGER):
        large = (other << 24 | 8000).to_bytes(4, "big")
        stranger = Reception(ME, bytes(16), None, Failures(), "10.0.0.7", 0.0)
        with pytest.raises(PacketError, match=f"a {other.name} frame of 8,000 bytes"):
            list(stranger.receive(MAGIC + large, 0.0))
        guest = Reception(ME, bytes(16), None, Failures(), "10.0.0.7", 0.0)
        hello = Hello(role, "x", bytes(16), "", "node2")
        assert list(guest.receive(MAGIC + frame(Kind.HELLO, encode_hello(hello)), 0.0)) == []
        if other is kind or (other, role) == (Kind.REPORT, "node"):
            assert list(guest.receive(large, 0.0)) == []
        else:
            with pytest.raises(PacketError, match=f"a {other.name} frame"):
                list(guest.receive(large, 0.0))
