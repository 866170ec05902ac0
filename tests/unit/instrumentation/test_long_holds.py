import logging

import pytest

from poolhouse.errors import SettingError
from poolhouse.instrumentation.long_holds import LongHolds, hold_warning_of
from poolhouse.sites.site import Site

SITE = Site(None, words="app/export.py:88 in rows")


@pytest.fixture
def said(caplog):
    with caplog.at_level(logging.WARNING, "poolhouse.pool"):
        yield lambda: [record.getMessage() for record in caplog.records]


def test_a_connection_is_named_once_and_once_more_when_it_is_back(said):
    holds = LongHolds(5.0)
    holds.look("QueuePool 'shop'", [(1, 100.0, SITE)], 104.9)
    assert said() == []
    for now in (105.5, 107.5):
        holds.look("QueuePool 'shop'", [(1, 100.0, SITE)], now)
    assert said() == [
        "poolhouse sees a connection of QueuePool 'shop' that app/export.py:88 in rows has held for 5.5 s"
    ]
    holds.look("QueuePool 'shop'", [], 109.5)
    holds.look("QueuePool 'shop'", [], 111.5)
    assert said()[1:] == [
        "poolhouse sees that app/export.py:88 in rows has returned its connection of QueuePool 'shop' after all, "
        "after 9.5 s at most"
    ]


def test_the_same_record_taken_again_is_another_hold(said):
    holds = LongHolds(5.0)
    holds.look("p", [(1, 100.0, SITE)], 106.0)
    holds.look("p", [(1, 107.0, SITE)], 108.0)
    holds.look("p", [(1, 107.0, SITE)], 113.0)
    assert len(said()) == 3


def test_without_the_setting_and_in_a_child_nothing_is_said(said):
    LongHolds(None).look("p", [(1, 0.0, SITE)], 100.0)
    assert said() == []
    holds = LongHolds(5.0)
    holds.look("p", [(1, 0.0, SITE)], 100.0)
    holds.forget()
    holds.look("p", [], 101.0)
    assert len(said()) == 1


def test_a_pool_without_a_limit_costs_no_memory_without_one(said):
    holds = LongHolds(5.0)
    holds.look("p", [(number, 0.0, SITE) for number in range(2000)], 100.0)
    assert len(said()) == 1000


@pytest.mark.parametrize(("value", "seconds"), [(None, None), ("", None), ("5", 5.0), (2, 2.0), ("0.5", 0.5)])
def test_the_setting_is_seconds(value, seconds):
    assert hold_warning_of(value, "collectd_hold_warning") == seconds


@pytest.mark.parametrize("value", ["0", "-1", "soon", True, "inf", "nan", ("1", "2")])
def test_what_is_no_duration_is_refused_by_its_name(value):
    with pytest.raises(SettingError, match=r"^collectd_hold_warning: expected seconds"):
        hold_warning_of(value, "collectd_hold_warning")
