"""connmon for scripts, against a real connmond and a real application."""

import json
import re
import socket
import time
from contextlib import closing

import pytest

from poolhouse.wire.encode import encode_alone
from poolhouse.wire.values import DERIVE, GAUGE, Identifier, ValueList
from support.connmon import connmon
from support.connmond import Connmond
from support.programs import finish, start
from support.reports import Reporting, send

#: An application whose only connection is out, while another thread waits for it, until its input ends.
SATURATED = """
    import sys, threading
    from sqlalchemy import create_engine, text

    engine = create_engine(
        "sqlite:///file:held?mode=memory&uri=true&plugin=collectd&collectd_program_name=shop"
        f"&collectd_interval=0.5&collectd_port={sys.argv[1]}",
        pool_size=1,
        max_overflow=0,
        pool_timeout=120,
        poolclass=__import__("sqlalchemy").pool.QueuePool,
        connect_args={"check_same_thread": False},
    )
    held = engine.connect()
    held.execute(text("select 1"))
    waiter = threading.Thread(target=lambda: engine.connect().close())
    waiter.start()
    sys.stdin.read()
    held.close()
    waiter.join()
    engine.dispose()
"""


def saturated(*arguments: str) -> tuple[int, dict]:
    result = connmon(*arguments, "--json", "--timeout", "60", "--fail-on", "saturated")
    return result.returncode, json.loads(result.stdout)


def test_a_saturated_pool_of_a_real_application_is_status_3_and_0_after_it() -> None:
    # The other program stays, so that the fleet is not empty when connmon has started and the row has gone.
    with Connmond() as daemon, Reporting("other", daemon.reports, used=1):
        address = ("connect", "--port", str(daemon.consoles))
        assert saturated(*address)[0] == 0
        application = start(SATURATED, str(daemon.reports), has_libraries=True)
        deadline = time.monotonic() + 60
        status, seen = saturated(*address)
        while status != 3:
            assert time.monotonic() < deadline, seen
            status, seen = saturated(*address)
        (shop,) = (row for row in seen["programs"] if row["name"] != "other")
        assert (shop["name"], shop["used_connections"], shop["max_open_connections"]) == ("shop", 1, 1)
        assert (shop["waiting_callers"], shop["full_pools"]) == (1, 1)

        text = connmon(*address, "--once").stdout
        assert " ! shop" in text
        assert "1/1 !" in text

        finish(application)
        while status == 3:
            assert time.monotonic() < deadline, seen
            status, seen = saturated(*address)
        assert status == 0


def test_json_tells_what_was_reported() -> None:
    with Connmond() as daemon, Reporting("shop", daemon.reports, used=3, idle=2, checkouts=40):
        result = connmon("connect", "--port", str(daemon.consoles), "--json")
    assert (result.returncode, result.stderr) == (0, "")
    (shop,) = json.loads(result.stdout)["programs"]
    assert (shop["used_connections"], shop["idle_connections"], shop["checkouts_total"]) == (3, 2, 40)


def test_a_daemon_without_a_program_is_status_1_with_the_reason() -> None:
    with Connmond() as daemon:
        result = connmon("connect", "--port", str(daemon.consoles), "--once", "--timeout", "2")
    assert (result.returncode, result.stdout) == (1, "")
    assert "it answers, but no program has reported to it" in result.stderr


def test_where_nobody_is_it_is_status_1_with_the_reason() -> None:
    with closing(socket.socket(socket.AF_INET, socket.SOCK_DGRAM)) as taken:
        taken.bind(("127.0.0.1", 0))
        port = taken.getsockname()[1]
    result = connmon("connect", "--host", "127.0.0.1", "--port", str(port), "--once", "--timeout", "2")
    assert (result.returncode, result.stdout) == (1, "")
    assert f"nothing came from 127.0.0.1:{port} within 2 s: " in result.stderr


def test_a_port_that_is_taken_cannot_be_listened_on() -> None:
    with closing(socket.socket(socket.AF_INET, socket.SOCK_DGRAM)) as taken:
        taken.bind(("127.0.0.1", 0))
        result = connmon("listen", "--port", str(taken.getsockname()[1]), "--once", "--timeout", "2")
    assert (result.returncode, result.stdout) == (1, "")
    assert "cannot listen" in result.stderr


@pytest.mark.parametrize("way", [("listen",), ()], ids=["listen", "auto"])
def test_what_collectd_pushes_is_shown_with_dashes_for_what_it_does_not_send(way, monkeypatch) -> None:
    monkeypatch.setenv("COLUMNS", "300")  # Columns in which nothing is known stand at the right end.
    with closing(socket.socket(socket.AF_INET, socket.SOCK_DGRAM)) as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    with Pushing(port):
        result = connmon(*way, "--host", "127.0.0.1", "--port", str(port), "--once")
    assert result.returncode == 0, result.stderr
    nova = next(line for line in result.stdout.splitlines() if " nova " in line).split()
    assert nova[:4] == ["●", "nova", "2", "5/–"]
    assert "–" in nova[4:]
    shown = re.sub(" +", " ", result.stdout)
    assert "idle 3 waiting – timeouts –" in shown
    assert "wait p99 – hold p99 – peak used –" in shown


class Pushing(Reporting):
    """What an earlier collectd plugin pushes to its monitor, every quarter of a second."""

    def __init__(self, port: int) -> None:
        super().__init__("nova", port)

    def _run(self, program: str, port: int, changes: dict) -> None:
        told = {"numprocs": 2, "numpools": 2, "checkedout": 5, "checkedin": 3, "detached": 0, "connections": 8}
        while True:
            now = time.time()
            for plugin_instance in (program, "host"):
                identifier = Identifier("web1", "sqlalchemy", plugin_instance, "", "")
                gauges = [(identifier._replace(type="count", type_instance=name), told[name]) for name in told]
                lists = [ValueList(gauge, now, 1.0, bytes((GAUGE,)), (value,)) for gauge, value in gauges]
                derive = identifier._replace(type="derive", type_instance="checkouts")
                lists.append(ValueList(derive, now, 1.0, bytes((DERIVE,)), (40,)))
                send([encode_alone(value_list) for value_list in lists], port)
            if self._end.wait(0.25):
                return
