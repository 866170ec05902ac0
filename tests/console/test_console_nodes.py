"""What the window says of services, their nodes and logins."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from poolhouse.console.notices import status
from poolhouse.feed.link import Link
from poolhouse.fleet.snapshot import Health, NodeState, Row, Snapshot
from poolhouse.views.line import cells, text_of
from support.console import shown
from support.sample_fleet import SNAPSHOT

EMPTY = Snapshot(SNAPSHOT.wall_time, Row(""), (), (), Health())
CONNECTED = Link(
    "connected",
    "10.0.0.5:5800",
    server="connmond 0.1.0",
    reports="127.0.0.1:25827",
    heard_at=1000.0,
    patience=3.5,
    service="default",
    node="node1",
)
HERE, LINKED, GONE = (
    NodeState("node1", True, None),
    NodeState("node2", False, None),
    NodeState("node3", False, 41.0),
)


def with_nodes(*nodes: NodeState) -> Snapshot:
    return SNAPSHOT._replace(health=SNAPSHOT.health._replace(nodes=nodes))


@pytest.mark.parametrize("keys", [(), ("h",), ("enter",), ("h", "enter"), ("e",)], ids=" ".join)
@pytest.mark.parametrize("width", [60, 80, 200])
def test_the_first_line_of_every_page_says_which_service_and_node_is_shown(keys, width):
    first, *_ = shown(CONNECTED, SNAPSHOT, *keys, size=(width, 24)).splitlines()
    assert "default:node1  ● live" in first


def test_it_does_so_while_there_is_nothing_to_show():
    first, *_ = shown(CONNECTED._replace(phase="connecting", heard_at=None)).splitlines()
    assert "default:node1  … connecting" in first


def test_over_udp_there_is_no_node():
    assert text_of(line(CONNECTED._replace(service=None, node=None), SNAPSHOT, 200)).startswith("● live")


def test_a_node_of_an_unnamed_service_is_called_by_its_name_alone():
    assert text_of(line(CONNECTED._replace(service=""), SNAPSHOT, 200)).startswith("node1  ● live")


def line(link: Link, snapshot: Snapshot, width: int):
    return status(link, snapshot, 1000.0, width, is_paused=False, zone=None)


def test_missing_nodes_are_named_with_the_time_since_when():
    (said,) = [text_of(line(CONNECTED, with_nodes(HERE, LINKED, GONE), 120))]
    assert said.startswith("default:node1 ! missing node3 41s  ● live")
    two = with_nodes(HERE, NodeState("node2", False, 130.0), GONE)
    assert text_of(line(CONNECTED, two, 160)).startswith("default:node1 ! missing node2 2m10s, node3 41s  ● live")


def test_where_there_is_little_room_missing_nodes_are_counted():
    two = with_nodes(HERE, NodeState("node2", False, 130.0), GONE)
    assert text_of(line(CONNECTED, two, 100)).startswith("default ! missing node2 2m10s, node3 41s  ● live")
    assert text_of(line(CONNECTED, two, 90)).startswith("default:node1 ! 2 nodes missing 2m10s  ● live")
    assert text_of(line(CONNECTED, two, 80)).startswith("default ! 2 nodes missing 2m10s  ● live")
    assert text_of(line(CONNECTED, two, 66)).startswith("default ! 2 missing 2m10s  ● live")
    assert text_of(line(CONNECTED, two, 60)).startswith("! 2 missing 2m10s  ● live")


def test_of_a_service_with_a_long_name_the_beginning_stays():
    link = CONNECTED._replace(service="openstack-in-production")
    assert text_of(line(link, with_nodes(HERE, LINKED), 100)).startswith("openstack-in-production:node1  ● live")
    assert text_of(line(link, with_nodes(HERE, LINKED), 66)).startswith("openstack-in-production  ● live")
    assert text_of(line(link, with_nodes(HERE, LINKED, GONE), 80)).startswith(
        "openstack-i… ! missing node3 41s  ● live"
    )


def test_no_node_is_missing_where_all_are_linked():
    assert "missing" not in text_of(line(CONNECTED, with_nodes(HERE, LINKED), 200))


def test_at_80_columns_a_missing_node_is_in_sight_beside_what_the_page_is_about():
    first, *_ = shown(CONNECTED, with_nodes(HERE, LINKED, GONE)).splitlines()
    assert first.startswith(" poolhouse ")
    assert "default ! missing node3 41s  ● live" in first


NAMES = st.text(max_size=60)


@given(
    st.none() | NAMES,
    NAMES,
    st.lists(st.builds(NodeState, NAMES, st.booleans(), st.none() | st.floats(0, 1e9)), max_size=9),
    st.integers(60, 300),
)
def test_whatever_the_names_service_and_nodes_take_at_most_half_of_what_is_left(service, node, nodes, width):
    whole = line(CONNECTED._replace(service=service, node=node), with_nodes(*nodes), width)
    freshness = line(CONNECTED._replace(service=None), SNAPSHOT, width)
    taken, least = (sum(cells(span.text) for span in one) for one in (whole, freshness))
    assert taken - least <= (width - least) // 2 + 2
    assert text_of(whole).isprintable()


def test_a_program_is_pointed_at_the_node_that_is_asked_over_tcp():
    text = shown(CONNECTED, EMPTY)
    assert "connected to 10.0.0.5:5800 (connmond 0.1.0)." in text
    assert "?plugin=connmon&connmon_addr=10.0.0.5:5800" in text
    here = shown(CONNECTED._replace(address="localhost:5800"), EMPTY)
    assert "?plugin=collectd&collectd_host=localhost" in here


REFUSED = Link("refused", "10.0.0.5:5800", next_try=1004.0, error="wrong user or password", service="default")


@pytest.mark.parametrize(
    ("changes", "sentence", "advice"),
    [
        ({"login": "wrong"}, "10.0.0.5:5800: wrong user or password.", "a --user and a --password-file."),
        ({"error": "Connection refused"}, "10.0.0.5:5800 refuses the connection.", "Is connmond running there?"),
        (
            {"phase": "unresolved", "error": "Name or service not known"},
            "Name or service not known",
            "name right?",
        ),
    ],
)
def test_why_no_node_answers_is_said_with_what_to_do(changes, sentence, advice):
    text = shown(REFUSED._replace(**changes))
    assert sentence in text
    assert advice in text
    assert "next try in 4 s, r now" in text


def test_why_it_is_udp_is_said_in_one_line():
    note = "nothing answers on TCP localhost:5800, so this is UDP localhost:25828"
    for link in (Link("listening", "localhost:25828"), Link("connecting", "localhost:25828")):
        assert f"{note[0].upper()}{note[1:]}." in shown(link._replace(note=note))
