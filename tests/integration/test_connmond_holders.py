"""Who holds the connections of a real program: from its engine to the JSON and the window of connmon."""

import json
from pathlib import Path
from textwrap import dedent

import pytest

from support.connmon import connmon
from support.connmond import Connmond, Watcher
from support.programs import finish, start
from support.reports import Reporting

#: A program whose function takes three connections and forgets them, while another line uses its own well and a
#: third caller waits.
LEAKY = """
    import logging, sys, threading
    from sqlalchemy import create_engine, pool, text

    logging.getLogger("poolhouse").setLevel("CRITICAL")  # It says there what is tested here.
    engine = create_engine(
        "sqlite:///file:kept?mode=memory&uri=true&plugin=collectd&collectd_program_name=shop"
        f"&collectd_interval=0.5&collectd_port={sys.argv[1]}",
        pool_size=4,
        max_overflow=0,
        pool_timeout=120,
        poolclass=pool.QueuePool,
        connect_args={"check_same_thread": False},
    )

    def take(kept):
        kept.append(engine.connect())

    def well():
        with engine.connect() as connection:
            connection.execute(text("select 1"))

    kept = []
    for _ in range(20):
        well()
    for _ in range(4):
        take(kept)
    waiter = threading.Thread(target=well)
    waiter.start()
    sys.stdin.read()
    for connection in kept:
        connection.close()
    waiter.join()
    engine.dispose()
"""

RUN = "import runpy, sys; runpy.run_path(sys.argv.pop(1), run_name='__main__')"


@pytest.fixture
def program(tmp_path: Path) -> Path:
    path = tmp_path / "shop.py"
    path.write_text(dedent(LEAKY))
    return path


def seen(*arguments: str) -> dict:
    result = connmon(*arguments, "--json", "--timeout", "60")
    assert result.returncode == 0, result.stderr
    return json.loads(result.stdout)


def test_a_real_program_is_told_line_by_line_and_its_leak_is_the_verdict(program: Path) -> None:
    # The other program stays, so that the fleet is not empty afterwards.
    with Connmond() as daemon, Reporting("other", daemon.reports), Watcher(daemon.consoles) as watcher:
        address = ("connect", "--port", str(daemon.consoles))
        application = start(RUN, str(program), str(daemon.reports), has_libraries=True)
        watcher.wait_for(lambda snapshot: snapshot.verdicts)
        told = seen(*address, "--program", "shop")
        lines = {line["site"].rpartition(" in ")[2]: line for line in told["holders"]}
        assert {line["program"] for line in told["holders"]} == {"shop"}
        assert (lines["take"]["open_connections"], lines["take"]["returned_total"]) == (4, 0)
        assert lines["take"]["oldest_seconds"] > 2
        assert (lines["well"]["open_connections"], lines["well"]["returned_total"]) == (0, 20)
        (pool,) = told["processes"][0]["pools"]
        assert {line["site"] for line in pool["holders"]} == {line["site"] for line in told["holders"]}
        verdict = told["verdicts"][0]
        assert (verdict["cause"], verdict["program"], verdict["processes"]) == ("leak", "shop", [1, 1])
        assert (verdict["culprit"]["function"], verdict["evidence"]["kept"]) == ("take", 4)
        assert verdict["culprit"]["file"].endswith("shop.py")

        result = connmon(*address, "--once", "--fail-on", "oldest>10h, timeouts>0, leak, used>90%:60s")
        assert (result.returncode, result.stderr) == (3, "connmon: --fail-on: leak\n")
        text = result.stdout
        assert text.startswith("✗ leak  shop on ")
        assert "in take" in text
        finish(application)
        watcher.wait_for(lambda snapshot: not snapshot.verdicts)
        told = seen(*address)
        (begun, ended) = [event["kind"] for event in told["events"] if event["kind"] in ("verdict", "ended")]
        assert (begun, ended) == ("verdict", "ended")
