"""From a stack and what its holder has to what each connection is doing."""

from collections.abc import Sequence
from types import CodeType
from typing import Any

import pytest

from poolhouse.meter.signs import Looks
from poolhouse.sites.frames import Place
from poolhouse.sites.look import Hold, judge
from poolhouse.sites.roles import Facts, Frames, Role
from poolhouse.sites.seen import Seen, State
from poolhouse.sites.tally import SiteLooks

APP, SQLALCHEMY, DRIVER, OURS = "shop.views", "sqlalchemy.engine.default", "psycopg.cursor", "poolhouse.pool.sync"


def code_of(name: str, kind: str = "def") -> CodeType:
    names: dict[str, Any] = {}
    body = "yield" if kind == "generator" else "pass"
    exec(f"def {name}(): {body}", names)
    code: CodeType = names[name].__code__
    return code


VIEW, HELPER, OTHER = code_of("view"), code_of("helper"), code_of("other")
EXECUTE, GETCONN, WAIT = code_of("do_execute"), code_of("getconn"), code_of("wait")


def place(code: CodeType, module: str = APP, instruction: int = 0) -> Place:
    return code, instruction, {"__name__": module}


def hold(code: CodeType | None = VIEW, instruction: int = 0, since: float = 1.0, **more: Any) -> Hold:
    return Hold(SiteLooks(), code, instruction, since, **more)


def facts_of(stack: Sequence[Place]) -> Facts:
    return Frames(lambda code, names: names["__name__"] == APP).of(stack)


def seen(stack: list[Place], *holds: Hold, is_whole: bool = True) -> list[tuple[State | None, str]]:
    found = judge(stack, holds, facts_of, is_whole=is_whole)
    return [(one.state, "" if one.line is None else one.line[0].co_name) for one in found]


def states(stack: list[Place], *holds: Hold, is_whole: bool = True) -> list[State | None]:
    return [state for state, _ in seen(stack, *holds, is_whole=is_whole)]


@pytest.mark.parametrize(
    ("inside", "expected"),
    [
        ([], (State.IDLE, "view")),
        ([place(HELPER)], (State.IDLE, "helper")),
        ([place(WAIT, "threading"), place(HELPER)], (State.IDLE, "helper")),
        ([place(WAIT, DRIVER), place(HELPER)], (State.BUSY, "helper")),
        ([place(EXECUTE, SQLALCHEMY)], (State.BUSY, "view")),
        ([place(WAIT, SQLALCHEMY)], (State.IDLE, "view")),
        ([place(WAIT, "threading"), place(GETCONN, OURS), place(HELPER)], (State.ASKS, "helper")),
        # A pool that connects for who asks works in a driver; the one that waits for it asks.
        ([place(WAIT, DRIVER), place(GETCONN, OURS), place(HELPER)], (State.ASKS, "helper")),
    ],
)
def test_what_lies_inside_of_the_sites_frame_tells_the_state(
    inside: list[Place], expected: tuple[State, str]
) -> None:
    assert seen([*inside, place(VIEW, instruction=40), place(OTHER)], hold()) == [expected]


def test_a_line_that_is_not_on_the_stack_has_ended() -> None:
    assert states([place(OTHER)], hold()) == [State.ENDED]
    assert states([], hold()) == [State.ENDED]


def test_of_a_stack_that_is_cut_nothing_is_said_to_have_ended() -> None:
    assert seen([place(WAIT, DRIVER), place(HELPER)], hold(), is_whole=False) == [(State.BUSY, "helper")]


def test_a_line_that_is_not_known_has_no_state() -> None:
    assert states([place(VIEW)], hold(None)) == [None]


def test_a_generator_that_waits_to_be_asked_is_on_no_stack_and_has_not_ended() -> None:
    assert states([place(OTHER)], hold(code_of("session", "generator"))) == [None]


def test_one_frame_stands_for_one_connection_the_youngest() -> None:
    """The older ones are its own, in a list, or have been forgotten by an earlier call."""
    assert states([place(VIEW, instruction=40)], hold(since=1.0), hold(since=3.0), hold(since=2.0)) == [
        None,
        State.IDLE,
        None,
    ]


def test_calls_of_itself_stand_for_one_connection_each() -> None:
    stack = [place(WAIT, DRIVER), place(VIEW, instruction=40), place(HELPER), place(VIEW, instruction=40)]
    assert states(stack, hold(since=1.0), hold(since=2.0)) == [State.BUSY, State.BUSY]


def test_a_frame_holds_what_it_took_at_two_lines() -> None:
    stack = [place(WAIT, DRIVER), place(VIEW, instruction=60)]
    assert states(stack, hold(instruction=10), hold(instruction=20, since=2.0)) == [State.BUSY, State.BUSY]


def test_a_frame_that_only_asks_stands_for_none() -> None:
    """A thread that has forgotten a connection, and queues like everybody, holds nothing and wants one."""
    asking = [place(WAIT, "threading"), place(GETCONN, OURS), place(VIEW, instruction=10)]
    assert states(asking, hold(instruction=10)) == [State.ENDED]
    assert states(asking, hold(instruction=4)) == [State.ASKS]


def test_what_has_ended_beside_a_frame_that_asks_at_the_same_line_may_go_on() -> None:
    """A loop that keeps what it takes, and asks for one more, has the same stack."""
    asking = [place(WAIT, "threading"), place(GETCONN, OURS), place(VIEW, instruction=10), place(OTHER)]
    ours, earlier = hold(instruction=10), hold(HELPER, instruction=10)
    found = judge(asking, [ours, earlier], facts_of)
    assert [one.asks_again for one in found] == [True, False]
    assert found[0].line is not None
    assert found[0].line[:2] == (VIEW, 10)


def test_a_driver_that_is_called_directly_is_neither_busy_nor_idle() -> None:
    opaque = hold(is_opaque=True)
    assert states([place(VIEW, instruction=40)], opaque) == [None]
    assert states([place(HELPER), place(VIEW, instruction=40)], opaque) == [None]
    assert states([place(WAIT, "threading"), place(VIEW, instruction=40)], opaque) == [State.IDLE]
    assert states([place(EXECUTE, SQLALCHEMY), place(VIEW, instruction=40)], opaque) == [State.BUSY]


def test_what_a_frame_does_is_remembered_by_its_code() -> None:
    frames = Frames(lambda code, names: True)
    assert [*frames.of([place(WAIT, DRIVER), place(WAIT, "threading")]).roles] == [Role.DRIVER, Role.DRIVER]
    assert [*facts_of([place(WAIT, "threading")]).roles] == [Role.NEITHER]


def test_looks_are_counted_with_the_line_at_which_most_of_the_idle_ones_were() -> None:
    looks = SiteLooks()
    for inside in ([place(HELPER)], [place(HELPER)], [place(OTHER)], [place(WAIT, DRIVER)]):
        (one,) = judge([*inside, place(VIEW, instruction=40)], [hold()], Frames(lambda code, names: True).of)
        looks.count(one)
    assert looks.looks == Looks(busy=1, idle=3)
    assert looks.idle_line == (HELPER, 0)


def test_where_nobody_follows_single_connections_an_earlier_end_tells_what_a_line_that_asks_again_is() -> None:
    looks = SiteLooks()
    again = Seen(State.ENDED, place(VIEW), asks_again=True)
    looks.count(again)
    assert looks.looks == Looks()
    looks.count(Seen(State.ENDED))
    looks.count(again)
    assert looks.looks == Looks(ended=2)


def test_of_many_lines_the_frequent_ones_are_kept() -> None:
    looks = SiteLooks()
    for number in range(200):
        for instruction in (number, 1_000):
            (one,) = judge(
                [place(HELPER, instruction=instruction), place(VIEW)],
                [hold()],
                Frames(lambda code, names: True).of,
            )
            looks.count(one)
    assert looks.idle_line == (HELPER, 1_000)
