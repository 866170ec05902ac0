"""Records that are no sequences, and what shows the variables of a program: no password of theirs."""

import copy
import pickle
from collections.abc import Iterable, Iterator, Mapping, Sequence
from operator import mod

import pytest

from poolhouse.configuration.ini import Line, Option
from poolhouse.configuration.otlp import OtlpTarget
from poolhouse.configuration.service import Configuration, LoggingSection, Login, Node, Service
from poolhouse.console.target import Options, Target
from poolhouse.record import Record
from poolhouse.report.destination import Destination
from poolhouse.report.protection import Protection
from poolhouse.verdicts.readiness import Readiness

PASSWORD = "hunter2"
LOGIN = Login("monitor", PASSWORD)
SERVICE = Service("shop", (Node("node1", "web1", 5800),), LOGIN)
SETTINGS = {"collectd_username": "alice", "collectd_password": PASSWORD, "collectd_security": "sign"}


def shown(value: object) -> Iterator[str]:
    """What Sentry shows of a variable: it goes through mappings and sequences, and takes the `repr` of others."""
    if isinstance(value, Mapping):
        for item in value.items():
            yield from shown(item)
    elif isinstance(value, Sequence) and not isinstance(value, str | bytes):
        for item in value:
            yield from shown(item)
    else:
        yield repr(value)


@pytest.mark.parametrize(
    "value",
    [
        LOGIN,
        SERVICE,
        Configuration("connmon.cfg", {"shop": SERVICE}, {"handler": LoggingSection(1, {"args": PASSWORD}, {})}),
        Option("auth_secret", [Line(1, PASSWORD)]),
        OtlpTarget("http://collector/v1/metrics", headers=(("api-key", PASSWORD),)),
        Protection("sign", "alice", PASSWORD),
        Destination.from_settings(SETTINGS),
        Destination.from_settings(SETTINGS).target,
        Destination(service=SERVICE),
        Options(user="alice", password=PASSWORD),
        Target(SERVICE),
        Target(protection=Protection("sign", "alice", PASSWORD)),
    ],
    ids=lambda value: type(value).__name__,
)
def test_what_shows_the_variables_of_a_program_shows_no_password(value):
    assert PASSWORD not in " ".join([repr(value), str(value), *shown(value)])


class Point(Record):
    x: int
    y: int = 0


def test_a_record_is_made_from_values_in_order_or_by_name():
    assert Point(1, 2) == Point(y=2, x=1) == Point(1).replace(y=2)
    assert repr(Point(1)) == "Point(x=1, y=0)"


@pytest.mark.parametrize(("values", "named"), [((), {}), ((1, 2, 3), {}), ((1,), {"z": 1})])
def test_a_field_that_is_missing_or_unknown_is_an_error(values: Iterable[int], named: dict[str, int]):
    with pytest.raises(TypeError, match=r"^Point needs x, y$"):
        Point(*values, **named)


def test_a_record_does_not_change():
    point = Point(1)
    with pytest.raises(AttributeError, match=r"^Point does not change: x$"):
        point.x = 2  # type: ignore[misc]
    assert point.x == 1


def test_records_are_equal_if_type_and_values_are():
    class Other(Record):
        x: int
        y: int = 0

    assert {Point(1), Point(1, 0)} == {Point(1)}
    assert Point(1) != Other(1)
    assert Point(1) != (1, 0)
    assert Point(1) != Point(2)


def test_a_record_is_copied_and_sent_to_other_processes():
    assert copy.copy(Point(1, 2)) == copy.deepcopy(Point(1, 2)) == pickle.loads(pickle.dumps(Point(1, 2)))


def test_an_answer_of_ready_is_one_value_for_a_format():
    assert mod("not ready: %s", Readiness(False, "the pool is closed")) == "not ready: the pool is closed"
