"""``collectd_hold_warning``: the log names lines that hold connections of SQLAlchemy's own pools for long."""

import logging
from collections.abc import Callable
from typing import Any

import pytest
from sqlalchemy import create_engine
from sqlalchemy.engine import Engine
from sqlalchemy.exc import ArgumentError

import poolhouse
from poolhouse.errors import SettingError
from poolhouse.instrumentation import watch as watching


def by_url() -> Engine:
    return create_engine("sqlite://?plugin=collectd&collectd_hold_warning=0.000001")


def by_keyword() -> Engine:
    return create_engine("sqlite://?plugin=collectd", collectd_hold_warning=0.000001)


def by_function() -> Engine:
    engine = create_engine("sqlite://")
    poolhouse.instrument(engine, hold_warning=0.000001)
    return engine


@pytest.mark.parametrize("made", [by_url, by_keyword, by_function])
def test_the_line_that_took_the_connection_is_named_and_its_return(
    made: Callable[[], Engine], caplog: pytest.LogCaptureFixture
) -> None:
    engine = made()
    source = watching._watches[engine.pool]
    with caplog.at_level(logging.WARNING, "poolhouse.pool"):
        with engine.connect():
            source.read(1)
            source.read(2)
        source.read(3)
    held, returned = [record.getMessage() for record in caplog.records if record.name == "poolhouse.pool"]
    assert held.startswith(f"poolhouse sees a connection of {type(engine.pool).__name__} 'sqlite' that ")
    assert " in test_the_line_that_took_the_connection_is_named_and_its_return has held for 0." in held
    assert "after all" in returned


def test_without_it_nothing_is_logged(caplog: pytest.LogCaptureFixture) -> None:
    engine = create_engine("sqlite://?plugin=collectd")
    with engine.connect():
        watching._watches[engine.pool].read(1)
    assert [record for record in caplog.records if record.name == "poolhouse.pool"] == []


def test_a_wrong_value_is_refused_when_the_engine_is_made() -> None:
    with pytest.raises(ArgumentError, match="collectd_hold_warning: expected seconds, more than 0, not 'soon'"):
        create_engine("sqlite://?plugin=collectd&collectd_hold_warning=soon")
    wrong: Any = -1
    with pytest.raises(SettingError, match=r"^hold_warning: expected seconds"):
        poolhouse.instrument(create_engine("sqlite://"), hold_warning=wrong)
