"""The code of the pool's pages runs as it stands there."""

import io
import re
import socketserver
import threading
from collections.abc import Iterator
from contextlib import redirect_stdout
from pathlib import Path
from typing import Any

import pytest

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


class Lines(socketserver.StreamRequestHandler):
    """The server of lines: a table that its connections share once they have committed."""

    def handle(self) -> None:
        committed: dict[str, str] = self.server.table  # type: ignore[attr-defined]
        pending = dict(committed)
        for line in self.rfile:
            word, *rest = line.decode().split()
            answer = "ok"
            if word == "begin":
                pending = dict(committed)
            elif word == "set":
                pending[rest[0]] = rest[1]
            elif word == "commit":
                committed |= pending
            elif word == "get":
                answer = committed.get(rest[0], "nothing")
            self.wfile.write(f"{answer}\n".encode())


@pytest.fixture
def lines() -> Iterator[socketserver.ThreadingTCPServer]:
    with socketserver.ThreadingTCPServer(("127.0.0.1", 0), Lines) as server:
        server.daemon_threads = True
        server.table = {}  # type: ignore[attr-defined]
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        yield server
        server.shutdown()
        thread.join()


def test_the_driver_of_the_page_works(lines: socketserver.ThreadingTCPServer) -> None:
    driver, use = code(HOWTO / "writing-a-driver.md")
    names: dict[str, Any] = {"__name__": "page"}
    printed(driver, names)
    assert printed(use.replace("4000", str(lines.server_address[1])), names) == "hello\n"
    # One that ends by an exception has not committed.
    from poolhouse.pool import ConnectionPool

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


def test_the_examples_of_the_page_on_drivers_run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    (example,) = code(REFERENCE / "drivers.md")
    assert printed(example, {"__name__": "page"}) == "(1,)\n"


def test_the_examples_of_the_page_on_queuepool_run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    examples = code(HOWTO / "from-queuepool.md")
    assert len(examples) == 2
    for example in examples:
        names: dict[str, Any] = {"__name__": "page"}
        assert printed(example, names) == "1\n"
        if "engine" in names:
            names["engine"].dispose()


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
