"""Which kind of pool `poolhouse.watch` takes, and what it does with anything else."""

import subprocess
import sys
from typing import Any

import asyncpg.pool
import pytest

from poolhouse.instrumentation import watching


class Proxy:
    """As wrapt's: it passes everything on, and claims the class of its object."""

    def __init__(self, other: Any) -> None:
        self.other = other

    def __getattr__(self, name: str) -> Any:
        return getattr(self.other, name)


@pytest.mark.parametrize("thing", [None, 5, "pool", object(), Proxy(object())])
def test_what_is_no_pool_is_refused(thing: Any) -> None:
    with pytest.raises(TypeError, match="expected a pool with get_stats"):
        watching.watch(thing)
    assert watching.source_of(thing) is None


def test_no_driver_is_imported_to_find_out() -> None:
    program = """
import sys, poolhouse
try:
    poolhouse.watch(object())
except TypeError:
    pass
print([name for name in ("asyncpg", "aiomysql", "psycopg2", "psycopg_pool", "asyncio") if name in sys.modules])
"""
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert done.stdout.strip() in ("[]", "['asyncio']")


def test_what_few_processes_need_is_not_imported_for_an_engine() -> None:
    code = """
import sys
from sqlalchemy import create_engine
before = set(sys.modules)
import poolhouse
engine = create_engine("sqlite://")
poolhouse.report_to("collectd://127.0.0.1:9/")
poolhouse.instrument(engine)
engine.connect().close()
poolhouse.flush(timeout=10)
new = set(sys.modules) - before
assert "poolhouse.report.dispatcher" in new
print([name for name in sys.argv[1:] if any(f"{one}.".startswith(f"{name}.") for one in new)])
"""
    few = ["poolhouse.configuration", "poolhouse.report.tcp", "poolhouse.wire.seal", "poolhouse.wire.session"]
    library = ["configparser", "difflib", "hmac", "ssl", "encodings.idna", "email", "http"]
    done = subprocess.run([sys.executable, "-c", code, *few, *library], capture_output=True, text=True, check=True)
    assert done.stdout == "[]\n"


def test_a_driver_that_has_changed_is_refused_and_its_pool_is_as_it_was(monkeypatch: pytest.MonkeyPatch) -> None:
    pool = object.__new__(asyncpg.pool.Pool)  # Without what its constructor makes, which needs a loop.
    pool._connect = connect = object()
    monkeypatch.delattr(asyncpg.pool.Pool, "_acquire")
    with pytest.raises(TypeError, match="expected a pool of asyncpg in a version that we know"):
        watching.watch(pool)
    assert pool._connect is connect
    assert watching.source_of(pool) is None
