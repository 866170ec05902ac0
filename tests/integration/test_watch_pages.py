"""The pages about watching, sizing and moving pools: their code runs as it stands there."""

import io
import re
from contextlib import redirect_stdout
from pathlib import Path
from typing import Any

import pytest

from poolhouse.fleet.fleet import Fleet
from poolhouse.fleet.limits import FleetLimits
from poolhouse.views.as_json import as_json
from poolhouse.views.fleet_table import fleet_table
from poolhouse.views.pool_table import POOL_TABLE
from poolhouse.wire.message import ReportDatagram, decode_message
from support.collectd import udp_socket
from support.connmond import Connmond, Watcher, program
from support.pages import ROOT, under
from support.postgres import Postgres
from support.programs import run

HOWTO = ROOT / "docs" / "howto"
SIZE, MOVE, WATCH = (HOWTO / name for name in ("pool-size.md", "pool-from-psycopg-pool.md", "watch-your-pools.md"))
#: What the pages connect to.
SERVER = "host=db.example dbname=shop"


def test_a_larger_pool_helps_until_it_keeps_up(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (measure,), (example,) = (
        under(SIZE, "Three figures that decide", "python"),
        under(SIZE, "An example with numbers", "python"),
    )
    monkeypatch.chdir(tmp_path)
    output, names = io.StringIO(), dict[str, Any]()
    with redirect_stdout(output):
        exec(measure, names)
        exec(example, names)
    lines = [list(map(float, line.split())) for line in output.getvalue().splitlines()]
    assert [line[0] for line in lines] == [2, 4, 6, 16]
    two, *_, sixteen = lines
    for size, checkouts, in_use, _, most in lines:
        assert 0 < in_use <= size + 0.5
        assert 1 <= most <= size
        # Little's law: each was held for 5 ms, or longer on a busy machine.
        assert in_use >= checkouts * 0.005 - 0.5
    assert two[2] > 1.5
    assert two[3] > sixteen[3]
    assert two[1] < sixteen[1]


def test_the_pages_table_is_of_the_form_that_the_example_prints() -> None:
    (table,) = re.findall(r"\| size \|.*?\n\n", SIZE.read_text(), re.DOTALL)
    rows = [[float(cell) for cell in line.strip("|").split("|")] for line in table.splitlines()[2:] if line]
    assert [(len(row), row[0]) for row in rows] == [(5, 2), (5, 4), (5, 6), (5, 16)]


def test_what_the_page_says_of_the_console_is_called_so_there() -> None:
    section = SIZE.read_text().partition("## In the console")[2].partition("## ")[0]
    columns = {column.heading for table in (fleet_table("program"), POOL_TABLE) for column in table.columns}
    told = set(re.findall(r"`([A-Z][A-Z0-9/]+)`", section))
    assert told == {"OUT/S", "USED/MAX", "PEAK", "WAIT99", "HOLD99", "MAX"}
    assert told - columns == {"MAX"}, "a part of USED/MAX"
    snapshot = Fleet(FleetLimits(), 0.0).snapshot(1.0, 1.0)
    keys = set(re.findall(r"`([a-z]+_[a-z_0-9]+)`", section)) - {"hold_warning", "max_connections", "max_size"}
    assert len(keys) == 3
    assert keys <= as_json(snapshot)["fleet"].keys()


@pytest.mark.parametrize("package", ["poolhouse", "psycopg_pool"])
def test_one_program_runs_with_either_import(package: str, postgres: Postgres) -> None:
    program, *_ = under(MOVE, "From psycopg_pool", "text", "python", "python")[1:]
    program = program.replace(SERVER, postgres.conninfo).replace("from poolhouse import", f"from {package} import")
    assert run(program) == "(1,)\n2 2 4\n"


def test_errors_are_caught_as_before() -> None:
    *_, program = under(MOVE, "From psycopg_pool", "text", "python", "python")
    assert run(program) == "PoolClosed the pool 'pool-1' is not open yet\n"


def test_the_program_that_gives_up_is_a_program() -> None:
    (program,) = under(MOVE, "Ending the program when the database stays away", "python")
    assert run(program) == "<ConnectionPool 'pool-1' (not open): 0 used, 0 idle, 0 waiting, max 4>\n"


def test_a_program_that_says_where_to_report_is_seen_there(tmp_path: Path) -> None:
    _, report_to, meter = under(WATCH, "Pools of poolhouse", "", "python", "python")
    with Connmond() as daemon, Watcher(daemon.consoles) as watcher:
        report_to = report_to.replace(":25827", f":{daemon.reports}")
        code = f"import os; os.chdir({str(tmp_path)!r})\n{report_to}\n{meter}\npoolhouse.flush(5)"
        first, second, third = run(code).splitlines()
        assert first == "100 checkouts, 0 timeouts, 1 connect"
        assert re.fullmatch(r"held for 0\.\d{3} s, half of them for at most 0\.\d{6} s", second)
        assert third == "most in use at once: 1"

        def is_told(snapshot: Any) -> bool:
            row = program(snapshot, "shop")
            return row is not None and (row.totals.checkouts, row.totals.connects) == (100, 1)

        watcher.wait_for(is_told)


def test_the_environments_example_is_a_destination(monkeypatch: pytest.MonkeyPatch) -> None:
    from poolhouse.report.destination import Destination

    environment, *_ = under(WATCH, "Pools of poolhouse", "", "python", "python")
    name, value = environment.strip().split("=", 1)
    destination = Destination.from_environment({name: value.strip("'")})
    assert (destination.address, destination.program_name) == ("172.18.5.2:25827", "shop")


def test_a_pool_of_psycopg_pool_is_watched_as_the_page_says() -> None:
    (program,) = under(WATCH, "Pools of psycopg_pool", "python")
    with udp_socket() as listening:
        url = f"collectd://127.0.0.1:{listening.getsockname()[1]}/"
        assert run(program, env={"POOLHOUSE_REPORT": url}) == "4\n"
        message = decode_message(listening.recv(2048))
    assert isinstance(message, ReportDatagram)
    assert message.pool is not None
    assert message.pool.reading().name == "db.example/shop"
