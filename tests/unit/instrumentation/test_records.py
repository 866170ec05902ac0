"""Looking at records, with records that do as they are told."""

import gc
import weakref

from poolhouse.instrumentation.records import LiveSet, Look, Records


class Record:
    def __init__(self, dbapi_connection: object = None, in_use: bool = False) -> None:
        self.dbapi_connection = dbapi_connection
        self.in_use = in_use


class Fairy:
    def __init__(self, dbapi_connection: object) -> None:
        self.dbapi_connection: object | None = dbapi_connection


class Driver:
    """A driver's connection that can be referred to weakly."""


class Adapter:
    """An adapter that cannot be, of a connection that can."""

    __slots__ = ("driver_connection",)

    def __init__(self, driver_connection: object) -> None:
        self.driver_connection = driver_connection


def test_a_set_of_the_living_lets_go_of_the_dead():
    living, item = LiveSet(), Record()
    living.add(item)
    living.add(item)
    assert item in living
    assert list(living) == [item]
    del item
    gc.collect()
    assert not living
    assert list(living) == []


def test_a_set_of_the_living_may_change_while_it_is_iterated():
    living = LiveSet()
    items = [Record() for _ in range(5)]
    for item in items:
        living.add(item)
    for item in living:
        living.discard(item)
        items.append(Record())
        living.add(items[-1])
    assert len(list(living)) == 5


def test_records_are_idle_used_or_closed_as_they_are_now():
    records = Records()
    held = [Record("c"), Record("c", in_use=True), Record(None, in_use=True), Record()]
    for record in held:
        records.add(record)
    assert records.look() == Look(idle=1, used=1, detached=0)
    held[0].in_use = True
    held[1].dbapi_connection = None
    assert records.look() == Look(idle=0, used=1, detached=0)


def test_a_detached_connection_is_open_until_its_proxy_lets_go_of_it():
    records, fairy = Records(), Fairy("c")
    records.detach("c", weakref.ref(fairy))
    assert records.look().detached == 1
    fairy.dbapi_connection = None
    assert records.look().detached == 0


def test_a_detached_connection_that_is_closed_is_gone_though_somebody_keeps_it():
    records, connection = Records(), Driver()
    fairy = Fairy(connection)
    other = Fairy("other")
    records.detach(connection, weakref.ref(fairy))
    records.detach("other", weakref.ref(other))
    records.close_detached(connection)
    assert records.look().detached == 1


def test_a_detached_connection_outlives_its_proxy_where_the_driver_tells():
    for make in (lambda driver: driver, Adapter):
        records, driver = Records(), Driver()
        fairy = Fairy(driver)
        records.detach(make(driver), weakref.ref(fairy))
        del fairy
        assert records.look().detached == 1
        records.close_detached(make(driver))
        assert records.look().detached == 0
        records.detach(make(driver), None)
        assert records.look().detached == 1
        del driver
        assert records.look().detached == 0


def test_a_driver_that_compares_connections_in_its_own_way_confuses_nothing():
    class Alike(Driver):
        def __eq__(self, other: object) -> bool:
            return True

        __hash__ = None  # type: ignore[assignment]

    records, one, other = Records(), Alike(), Alike()
    for connection in (one, other):
        records.detach(connection, None)
    records.close_detached(one)
    assert records.look().detached == 1


def test_of_a_detached_connection_that_nothing_refers_to_nothing_is_told():
    records = Records()
    records.detach("c", None)
    assert records.look().detached == 0


def test_clear_forgets_both():
    records, record, fairy = Records(), Record("c"), Fairy("c")
    records.add(record)
    records.detach("c", weakref.ref(fairy))
    records.clear()
    assert records.look() == Look(0, 0, 0)
