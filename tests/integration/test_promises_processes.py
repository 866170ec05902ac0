"""What one reads off the numbers of pools, processes and hosts: known programs, seen by a real connmond."""

from pathlib import Path

from support import programs
from support.connmond import Connmond, Watcher, program

#: A program with two engines that forks ten children, each of which uses both; told to, the parent does so too.
TWO_ENGINES = """
import os, sys
from sqlalchemy import create_engine

url = "sqlite:///{}/{}.db?plugin=collectd&collectd_host=127.0.0.1&collectd_port={}&collectd_program_name=shop"
def engine(name):
    return create_engine(url.format(sys.argv[1], name, sys.argv[2]), max_overflow=15)

engines = [engine("orders"), engine("stock")]

def use():
    for engine in engines:
        engine.connect().close()

children = []
for _ in range(10):
    end, go_on = os.pipe()
    if os.fork() == 0:
        os.close(go_on)
        use()
        os.read(end, 1)
        os._exit(0)
    os.close(end)
    children.append(go_on)
print("forked", flush=True)
sys.stdin.readline()
use()
print("used", flush=True)
sys.stdin.readline()
"""

ONE_ENGINE = """
import sys
from sqlalchemy import create_engine

engine = create_engine("sqlite://?plugin=collectd&collectd_host=127.0.0.1&" + sys.argv[1])
connection = engine.connect()
print("used", flush=True)
sys.stdin.readline()
"""


def test_two_engines_in_ten_children_are_twenty_pools_and_two_more_with_the_parent(tmp_path: Path) -> None:
    with Connmond() as daemon, Watcher(daemon.consoles) as watcher:
        parent = programs.start(TWO_ENGINES, str(tmp_path), str(daemon.reports), options=())
        assert parent.stdin is not None
        assert parent.stdout is not None
        assert parent.stdout.readline() == "forked\n"
        seen = watcher.wait_for(lambda seen: (row := program(seen, "shop")) and row.pools == 20)
        row = program(seen, "shop")
        assert row is not None
        assert (row.processes, row.max_open) == (10, 20 * 20)
        parent.stdin.write("go on\n")
        parent.stdin.flush()
        assert parent.stdout.readline() == "used\n"
        seen = watcher.wait_for(lambda seen: (row := program(seen, "shop")) and row.pools == 22)
        row = program(seen, "shop")
        assert row is not None
        assert row.processes == 11
        programs.finish(parent)


def test_processes_of_one_name_are_summed_whoever_started_them_and_each_host_apart() -> None:
    with Connmond() as daemon, Watcher(daemon.consoles) as watcher:
        settings = f"collectd_port={daemon.reports}&collectd_program_name="
        shown = [
            "shop&collectd_report_host=web1",
            "shop&collectd_report_host=web1",
            "shop&collectd_report_host=web2",
        ]
        shown += ["mailer&collectd_report_host=web2"]
        started = [programs.start(ONE_ENGINE, settings + one) for one in shown]
        for one in started:
            assert one.stdout is not None
            assert one.stdout.readline() == "used\n"
        seen = watcher.wait_for(lambda seen: seen.fleet.processes == 4)
        told = {row.name: (row.processes, row.pools, row.used) for row in (*seen.programs, *seen.hosts)}
        assert told == {"shop": (3, 3, 3), "mailer": (1, 1, 1), "web1": (2, 2, 2), "web2": (2, 2, 2)}
        for one in started:
            programs.finish(one)
