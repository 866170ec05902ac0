"""The code of the pool's pages runs as it stands there."""

import io
import re
import socketserver
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import redirect_stdout
from pathlib import Path
from typing import Any

import pytest

from poolhouse.clock import SystemClock
from poolhouse.pool import ConnectionPool, NullConnectionPool
from poolhouse.pool.drivers.protocol import UNTOLD
from support.line_server import line_server
from support.pages import looks_like, under
from support.waiting import wait_until

HOWTO = Path(__file__).parents[2] / "docs" / "howto"
REFERENCE = HOWTO.parent / "reference"


def code(page: Path) -> list[str]:
    """The page's Python blocks."""
    return re.findall(r"^```python\n(.*?)^```$", page.read_text(), re.DOTALL | re.MULTILINE)


def printed(block: str, names: dict[str, Any]) -> str:
    """What a block prints; its names stay for the next."""
    output = io.StringIO()
    with redirect_stdout(output):
        exec(compile(block, "<page>", "exec"), names)
    return output.getvalue()


@pytest.fixture
def lines() -> Iterator[socketserver.ThreadingTCPServer]:
    with line_server() as server:
        yield server


def test_the_driver_of_the_page_works(lines: socketserver.ThreadingTCPServer) -> None:
    driver, use = code(HOWTO / "writing-a-driver.md")
    names: dict[str, Any] = {"__name__": "page"}
    printed(driver, names)
    assert printed(use.replace("4000", str(lines.server_address[1])), names) == "hello\n"
    # One that ends by an exception has not committed.
    with ConnectionPool(
        f"127.0.0.1:{lines.server_address[1]}", driver=names["LineDriver"](), min_size=1, open=True
    ) as pool:
        with pytest.raises(ValueError), pool.connection() as line:
            line.begin()
            line.ask("set greeting goodbye")
            raise ValueError
        with pool.connection() as again:
            assert again is line
            assert again.ask("get greeting") == "hello"
            # Aborted from outside while it waits for an answer that does not come.
            names["LineDriver"]().abort(again)
            with pytest.raises(ConnectionError):
                again.ask("ping")
        assert pool.get_stats()["returns_bad"] == 1


def test_the_methods_of_the_page_are_those_of_the_protocol() -> None:
    from poolhouse.pool.drivers.protocol import Driver

    rows = re.findall(r"^\| (`.*?`) \|", (HOWTO / "writing-a-driver.md").read_text(), re.MULTILINE)
    told = {name for row in rows for name in re.findall(r"`(\w+)`", row)}
    methods = {name for base in Driver.__mro__ for name in vars(base) if callable(getattr(base, name))}
    assert told == {name for name in methods if not name.startswith("_") and name != "register"}


class Witness:
    """A driver that is asked by others, and tells who called which of its methods."""

    def __init__(self, driver: Any) -> None:
        self._driver = driver
        self.calls: list[tuple[str, threading.Thread]] = []
        self.status: Callable[[Any], int] = driver.status

    def __getattr__(self, name: str) -> Any:
        attribute = getattr(self._driver, name)
        if not callable(attribute) or isinstance(attribute, type):
            return attribute

        def call(*arguments: Any) -> Any:
            self.calls.append((name, threading.current_thread()))
            return attribute(*arguments)

        return call

    def callers(self) -> dict[str, set[str]]:
        """Who called what since the last look: the test's own thread is the ``client``."""
        calls, self.calls = self.calls, []
        who: dict[str, set[str]] = {}
        for name, thread in calls:
            is_mine = thread is threading.current_thread()
            who.setdefault(name, set()).add("client" if is_mine else thread.name.rstrip("0123456789-"))
        return who


class Clock(SystemClock):
    """The system's clocks, some time ahead."""

    ahead = 0.0

    def monotonic(self) -> float:  # type: ignore[override]
        return time.monotonic() + self.ahead


def test_the_methods_of_a_driver_are_called_by_whom_the_page_says(lines: socketserver.ThreadingTCPServer) -> None:
    names: dict[str, Any] = {"__name__": "page"}
    printed(code(HOWTO / "writing-a-driver.md")[0], names)
    address = f"127.0.0.1:{lines.server_address[1]}"
    driver, clock = Witness(names["LineDriver"]()), Clock()
    with ConnectionPool(address, driver=driver, min_size=1, name="p", clock=clock, open=True) as pool:
        pool.wait()
        assert driver.callers() == {"connect": {"p-connect"}}
        with pool.connection() as line:
            line.begin()
        assert driver.callers() == {"commit": {"client"}}
        with pytest.raises(ValueError), pool.connection() as line:
            line.begin()
            raise ValueError
        assert driver.callers() == {"rollback": {"client"}}
        line = pool.getconn()
        line.begin()
        pool.putconn(line)
        pool.putconn(pool.getconn())
        assert driver.callers() == {"rollback": {"p-return"}}
        clock.ahead += 1.0
        pool.putconn(pool.getconn())
        assert driver.callers() == {"fileno": {"client"}}
        pool.check()
        assert driver.callers() == {"probe": {"client"}}
        line = pool.getconn()
        with pytest.raises(ConnectionError):
            driver._driver.abort(line)
            line.ask("ping")
        pool.putconn(line)
        pool.wait()
        pool.putconn(pool.getconn())
        assert driver.callers() == {"close": {"client"}, "connect": {"p-connect"}}


def test_a_driver_that_cannot_tell_the_state_has_each_return_rolled_back(
    lines: socketserver.ThreadingTCPServer,
) -> None:
    names: dict[str, Any] = {"__name__": "page"}
    printed(code(HOWTO / "writing-a-driver.md")[0], names)
    driver = Witness(names["LineDriver"]())
    driver.status = lambda conn: UNTOLD
    with ConnectionPool(f"127.0.0.1:{lines.server_address[1]}", driver=driver, min_size=1, open=True) as pool:
        for _ in range(3):
            pool.putconn(pool.getconn())
        line = pool.getconn()  # When it is there again, the last return is over.
        assert [name for name, _ in driver.calls].count("rollback") == 3
        pool.putconn(line)


def test_a_driver_is_asked_to_abort_while_another_thread_is_in_a_call(
    lines: socketserver.ThreadingTCPServer,
) -> None:
    names: dict[str, Any] = {"__name__": "page"}
    printed(code(HOWTO / "writing-a-driver.md")[0], names)
    driver = Witness(names["LineDriver"]())
    with ConnectionPool(
        f"127.0.0.1:{lines.server_address[1]}",
        driver=driver,
        check=lambda line: line.ask("hang"),
        min_size=1,
        name="p",
        open=True,
    ) as pool:
        pool.wait()
        with pytest.raises(ConnectionError, match="couldn't get a connection after"):
            pool.getconn(timeout=0.2)
        # The client is told in time; the check goes on behind it for `PROBE_LIMIT` at most.
        aborts = wait_until(lambda: [thread for name, thread in driver.calls if name == "abort"])
        assert threading.current_thread() not in aborts


def test_the_methods_of_a_driver_in_a_null_pool(lines: socketserver.ThreadingTCPServer) -> None:
    names: dict[str, Any] = {"__name__": "page"}
    printed(code(HOWTO / "writing-a-driver.md")[0], names)
    driver = Witness(names["LineDriver"]())
    with NullConnectionPool(f"127.0.0.1:{lines.server_address[1]}", driver=driver, name="p", open=True) as pool:
        with pool.connection() as line:
            assert line.ask("ping") == "ok"
        assert driver.callers() == {"connect": {"p-connect"}, "close": {"client"}}
        # Of a library whose connections only their own thread may use.
        driver.is_thread_bound = True
        with NullConnectionPool(f"127.0.0.1:{lines.server_address[1]}", driver=driver, open=True) as bound:
            with bound.connection() as line:
                assert line.ask("ping") == "ok"
            assert driver.callers() == {"connect": {"client"}, "close": {"client"}}


def test_the_examples_of_the_page_on_drivers_run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    (example,) = code(REFERENCE / "drivers.md")
    assert printed(example, {"__name__": "page"}) == "(1,)\n"


def test_the_examples_of_the_page_on_queuepool_run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    shown = ["1\n", "1\n", None, "[]\n"]
    for example, output in zip(code(HOWTO / "from-queuepool.md"), shown, strict=True):
        if output is not None:
            names: dict[str, Any] = {"__name__": "page"}
            assert printed(example, names) == output
            if "engine" in names:
                names["engine"].dispose()


def test_the_warning_of_the_page_on_queuepool_is_logged_as_it_is_shown(tmp_path: Path) -> None:
    page = HOWTO / "from-queuepool.md"
    heading = "A warning for connections that are held too long"
    example, shown = under(page, heading, "python", "")
    (tmp_path / "app").mkdir()
    program = tmp_path / "app" / "invoices.py"
    program.write_text(example)
    done = subprocess.run(
        [sys.executable, "-W", "error", program],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        timeout=60,
        check=True,
    )
    assert len(done.stderr.splitlines()) == 2
    for line, logged in zip(shown.splitlines(), done.stderr.splitlines(), strict=True):
        assert looks_like(line, logged)


def first_cells(page: Path, heading: str) -> list[str]:
    """The first column of the table below a heading."""
    table = page.read_text().partition(f"## {heading}\n")[2].partition("\n## ")[0]
    rows = [line for line in table.splitlines() if line.startswith("|")]
    return [row.split(" | ")[0].strip("| ") for row in rows[2:]]


def test_each_intended_difference_from_psycopg_pool_is_a_promise_with_its_test() -> None:
    """`tools/promises.py` sees to the tests."""
    differences = first_cells(HOWTO / "pool-from-psycopg-pool.md", "What differs on purpose")
    assert len(differences) > 20
    assert first_cells(REFERENCE / "promises-pool.md", "What differs on purpose") == differences
