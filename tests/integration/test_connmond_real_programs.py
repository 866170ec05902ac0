"""Real programs with real engines, connmond and a console: whoever is killed and started again is back."""

import signal
from pathlib import Path

from poolhouse.fleet.snapshot import Row, Snapshot
from support.connmond import Connmond, Watcher, program
from support.programs import finish, start

#: Checks out and in as often as each line of its input says, and answers when it is done.
PROGRAM = """
    import sys
    from sqlalchemy import create_engine, text

    engine = create_engine(sys.argv[1])
    for line in sys.stdin:
        for _ in range(int(line)):
            with engine.begin() as connection:
                connection.execute(text("SELECT 1"))
        print("done", flush=True)
"""


def url(folder: Path, port: int, interval: float = 0.2) -> str:
    where = f"collectd_host=127.0.0.1&collectd_port={port}&collectd_interval={interval}"
    return f"sqlite:///{folder}/shop.db?plugin=collectd&collectd_program_name=shop&{where}"


def shop(snapshot: Snapshot) -> Row:
    row = program(snapshot, "shop")
    assert row is not None
    return row


def has_checked_out(times: int):
    return lambda snapshot: (row := program(snapshot, "shop")) is not None and row.totals.checkouts == times


def test_what_a_program_does_is_counted_exactly_and_its_goodbye_is_heard(tmp_path: Path) -> None:
    with Connmond() as daemon, Watcher(daemon.consoles, program="shop") as watcher:
        # A row that nobody is left of is shown for five intervals: long enough to be seen by a busy machine.
        running = start(PROGRAM, url(tmp_path, daemon.reports, interval=2), has_libraries=True)
        assert running.stdin is not None
        assert running.stdout is not None
        running.stdin.write("7\n")
        running.stdin.flush()
        assert running.stdout.readline() == "done\n"
        row = shop(watcher.wait_for(has_checked_out(7)))
        assert (row.processes, row.totals.commits, row.totals.transactions, row.connections) == (1, 7, 7, 1)
        finish(running)
        row = shop(watcher.wait_for(lambda snapshot: shop(snapshot).processes == 0))
        assert (row.totals.checkouts, row.connections) == (7, 0)
        assert "goodbye" in {event.kind for event in watcher.snapshots[-1].events}


def test_a_program_that_is_killed_goes_away_and_its_counts_stay(tmp_path: Path) -> None:
    with Connmond() as daemon, Watcher(daemon.consoles) as watcher:
        running = start(PROGRAM, url(tmp_path, daemon.reports), has_libraries=True)
        assert running.stdin is not None
        running.stdin.write("7\n")
        running.stdin.flush()
        watcher.wait_for(has_checked_out(7))
        running.kill()
        running.communicate()
        row = shop(watcher.wait_for(lambda snapshot: shop(snapshot).processes == 0))
        assert row.totals.checkouts == 7
        again = start(PROGRAM, url(tmp_path, daemon.reports), has_libraries=True)
        assert again.stdin is not None
        again.stdin.write("5\n")
        again.stdin.flush()
        watcher.wait_for(has_checked_out(12))
        finish(again)


def test_programs_and_consoles_come_back_when_the_daemon_was_killed_and_started_again(tmp_path: Path) -> None:
    with Connmond() as first, Watcher(first.consoles) as watcher:
        running = start(PROGRAM, url(tmp_path, first.reports), has_libraries=True)
        assert running.stdin is not None
        running.stdin.write("7\n")
        running.stdin.flush()
        watcher.wait_for(has_checked_out(7))
        first.end(signal.SIGKILL)
        with Connmond(reports=first.reports, consoles=first.consoles):
            # What the program did before is not this daemon's to count: it was not there to see when.
            row = shop(watcher.wait_for(has_checked_out(0)))
            assert row.processes == 1
            running.stdin.write("4\n")
            running.stdin.flush()
            watcher.wait_for(has_checked_out(4))
            rates = [row.rates.checkouts for one in watcher.snapshots if (row := program(one, "shop"))]
            assert min(rate for rate in rates if rate is not None) >= 0.0
            _, errors = running.communicate(timeout=60)
    assert running.returncode == 0
    assert errors.count("\n") <= 2, errors  # One line when the reports were refused, one when not any more.


def test_the_ports_are_free_again_when_it_has_ended() -> None:
    with Connmond() as first:
        first.end()
    with Connmond(reports=first.reports, consoles=first.consoles) as second:
        assert second.announcement == first.announcement
