"""A task in another process raises an error of ours; its parent gets it with its fields."""

import multiprocessing
import sqlite3
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor

import psycopg
import pytest

import poolhouse
from poolhouse.errors import SettingError
from support.failing_tasks import exhaust, find_nobody, set_wrongly, use_closed

#: Each task, and what its error is.
TASKS = {
    exhaust: (poolhouse.PoolTimeout, sqlite3.OperationalError),
    find_nobody: (poolhouse.PoolTimeout, psycopg.OperationalError),
    use_closed: (poolhouse.PoolClosed, sqlite3.OperationalError),
    set_wrongly: (SettingError, ValueError),
}


def check(task: Callable[[], None], error: BaseException) -> None:
    for kind in TASKS[task]:
        assert isinstance(error, kind), task
    if task is exhaust:
        assert isinstance(error, poolhouse.PoolTimeout)
        assert (error.in_use, error.size, error.max_size) == (1, 1, 1)
        assert [holder.site.rpartition(" ")[2] for holder in error.holders] == ["exhaust"]
    if task is find_nobody:
        assert isinstance(error, poolhouse.PoolTimeout)
        assert isinstance(error.connect_error, psycopg.OperationalError)
        assert "127.0.0.1" in str(error.connect_error)
    if task is set_wrongly:
        assert isinstance(error, SettingError)
        assert error.setting == "port"


def test_a_process_pool_executor_hands_over_the_error_with_its_fields() -> None:
    with ProcessPoolExecutor(1, mp_context=multiprocessing.get_context("spawn")) as executor:
        for task in TASKS:
            error = executor.submit(task).exception(timeout=60)
            assert error is not None
            check(task, error)


def test_a_multiprocessing_pool_hands_over_the_error_with_its_fields() -> None:
    with multiprocessing.get_context("spawn").Pool(1) as workers:
        for task in TASKS:
            with pytest.raises(TASKS[task]) as caught:
                workers.apply_async(task).get(timeout=60)
            check(task, caught.value)
        workers.close()
        workers.join()
