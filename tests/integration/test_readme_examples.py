"""Every example of the README does what the README says, word for word, on real servers."""

import os
import re
import shutil
import subprocess
import sys
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from poolhouse.fleet.snapshot import Snapshot
from support.collectd import SOURCES, Collectd
from support.connmond import Watcher, program
from support.installs import Environment, pack
from support.pages import ROOT, Reader, blocks, looks_like, session, under
from support.terminal import Terminal
from support.waiting import wait_until

README = ROOT / "README.md"
#: Seconds between two reports.
INTERVAL = 2.0
#: The pages to which the README leads for more, whose examples go on where its own end.
HOWTO = ROOT / "docs" / "howto"
#: Under which headings there are examples; each has its test below.
FLEET = "Five minutes to a fleet without collectd"
#: Tried in `test_prometheus`.
PROMETHEUS = "Prometheus"
UNCHANGED = "Without a line of code"
TRIED = ["See your pools", "Get the line of code in the error", "Install", "Try it", UNCHANGED]
TRIED += ["Who holds the connections, and why", PROMETHEUS, FLEET, "A pool"]


@pytest.fixture
def reader(tmp_path: Path) -> Iterator[Reader]:
    folder = tmp_path / "shop"  # It is part of the names of lines.
    folder.mkdir()
    with Reader(folder) as somebody:
        yield somebody


@pytest.fixture
def beside_connmond(reader: Reader) -> Reader:
    """A reader who has started the daemon as the README says."""
    connmond, *_ = under(README, "See your pools", "console", "python", "console")
    reader.start_as_shown(connmond)
    return reader


@contextmanager
def watching(reader: Reader) -> Iterator[Watcher]:
    with reader.network.entered(), Watcher(25828) as watcher:
        yield watcher


def assert_shop_is_counted(reader: Reader, example: str) -> None:
    """The program does one checkout, and the daemon shows it under its name."""
    assert reader.python(example) == "ordered\n"
    with watching(reader) as watcher:
        watcher.wait_for(lambda seen: (row := program(seen, "shop")) and row.totals.checkouts == 1)


def test_a_program_that_says_nothing_is_counted_under_poolhouse_run(beside_connmond: Reader) -> None:
    _, example, _ = under(README, "See your pools", "console", "python", "console")
    (run,) = under(README, UNCHANGED, "sh")
    bare = example.replace("?plugin=collectd&collectd_program_name=shop", "")
    assert "collectd" not in bare
    (beside_connmond.folder / "shop.py").write_text(bare)
    assert beside_connmond.read(run) == "ordered\n"
    with watching(beside_connmond) as watcher:
        watcher.wait_for(lambda seen: (row := program(seen, "shop")) and row.totals.checkouts == 1)


def test_every_example_has_its_test() -> None:
    assert list(dict.fromkeys(block.heading for block in blocks(README))) == TRIED


def test_the_two_commands_are_targets_and_the_demo_shows_its_programs() -> None:
    (text,) = under(README, "Try it", "sh")
    demo, test = (line.partition("#")[0].split() for line in text.splitlines())
    assert (demo, test) == (["make", "demo"], ["make", "test"])
    # `make` would first bring the environment up to date, which is the one that runs this test.
    # What an outer `make` (the one that runs this test) tells an inner one makes it say where it is, or test more.
    environment = {
        name: value for name, value in os.environ.items() if name != "ALL" and not name.startswith("MAKE")
    }
    recipes = {
        target: subprocess.run(
            ["make", "--dry-run", target, "SECONDS=6"],
            cwd=ROOT,
            env=environment,
            capture_output=True,
            text=True,
            check=True,
        ).stdout.splitlines()
        for target in ("demo", "test")
    }
    assert (ROOT / recipes["test"][-1].split()[-1]).exists()
    arguments = recipes["demo"][-1].split()[1:]
    shown = subprocess.run([sys.executable, *arguments], capture_output=True, text=True, timeout=400, check=True)
    assert " checkout " in shown.stdout


def test_each_form_of_installing_it_brings_what_it_says(tmp_path: Path) -> None:
    forms, wheel = under(README, "Install", "sh", "sh")
    brought = {
        "pip install .": ["poolhouse --version", "! python -c 'import click'"],
        "pip install '.[daemon]'": ["connmond --version", "connmon --help", "! python -c 'import textual'"],
        "pip install '.[console]'": ["python -c 'import textual'"],
        "pip install '.[all]'": ["poolhouse --version"],
    }
    assert [line.partition("#")[0].strip() for line in forms.splitlines()] == list(brought)
    checkout = tmp_path / "checkout"
    shutil.copytree(ROOT / "src", checkout / "src", ignore=shutil.ignore_patterns("__pycache__"))
    for name in ("pyproject.toml", "README.md", "LICENSE"):
        shutil.copy(ROOT / name, checkout)
    index = pack(tmp_path, "poolhouse[all]")
    install(Environment(tmp_path / "from-checkout", "hatchling"), checkout, brought, index)
    everything = ["poolhouse --version", "connmond --version", "connmon --help", "python -c 'import textual'"]
    install(Environment(tmp_path / "from-wheel", "hatchling"), checkout, {wheel: everything}, index)


def install(
    environment: Environment, checkout: Path, brought: dict[str, list[str]], settings: dict[str, str]
) -> None:
    """Run what installs poolhouse, one after the other in a new environment, and what each must have brought."""
    for command, checks in brought.items():
        for line in (command, *checks):
            environment.run(line, checkout, **settings)


def test_the_first_example_is_shown_by_the_daemon_and_in_the_window(beside_connmond: Reader) -> None:
    _, example, _ = under(README, "See your pools", "console", "python", "console")
    with Terminal(beside_connmond.window("connmon"), 100, 30) as window:
        window.wait_for("plugin=collectd")  # Nothing reports yet.
        assert_shop_is_counted(beside_connmond, example)
        window.wait_for("PROGRAM", "shop")
        window.type("q")
        assert window.end() == 0


def test_the_table_as_text_is_what_is_shown(beside_connmond: Reader) -> None:
    _, example, shown = under(README, "See your pools", "console", "python", "console")
    ((command, table),) = session(shown)
    (beside_connmond.folder / "app.py").write_text(f"{example}\nimport time\ntime.sleep(300)\n")
    beside_connmond.start("python app.py")
    with watching(beside_connmond) as watcher:
        watcher.wait_for(lambda seen: (row := program(seen, "shop")) and row.totals.checkouts == 1)

    def is_as_shown() -> bool:
        shown, printed = (
            text.partition("\n\n   PROGRAM  LINE") for text in (table, beside_connmond.read(command))
        )
        # Whether it is known how busy the line is depends on whether a look has met its connection.
        same_line = [text[2].splitlines()[-1].split()[:6] for text in (shown, printed) if text[2]]
        return looks_like(anywhen(shown[0]), anywhen(printed[0])) and same_line == same_line[:1] * 2

    wait_until(is_as_shown, what="the table")


def anywhen(text: str) -> str:
    """A table, whatever its durations are: they may be of another unit."""
    return re.sub(r"(\d)(?:ms|µs|s)\b", r"\1s", text)


def test_a_fleet_of_three_nodes_outlives_one_of_them(reader: Reader) -> None:
    nodes, example, look, kill, said, shown = under(README, FLEET, "sh", "python", "sh", "sh", "text", "console")
    (reader.folder / "shop.py").write_text(example)
    start, window = look.splitlines()
    ((ask, table),) = session(shown)

    def are_three(seen: Snapshot) -> bool:
        return bool((row := program(seen, "shop")) and (row.processes, row.used) == (3, 3))

    with reader.shell() as one, reader.shell() as other, reader.network.entered():
        one.type(nodes)
        # What programs did before the first node was up is not counted.
        wait_until(lambda: one.printed.count("Watch with") == 3, what="three nodes")
        other.type(start)
        for number in (1, 2, 3):
            with Watcher(25828, host=f"127.0.0.{number}") as watcher:
                watcher.wait_for(are_three)
        with Terminal(reader.window(window), 100, 30) as terminal:
            terminal.wait_for("default:node3", "shop")
            one.type(kill)
            terminal.wait_for("missing node1")
            terminal.type("q")
            assert terminal.end() == 0
        wait_until(lambda: one.printed.count(said) == 2, what="a line of each of the others")
        for number in (2, 3):
            with Watcher(25828, host=f"127.0.0.{number}") as watcher:
                watcher.wait_for(lambda seen: are_three(seen) and (seen.programs[0].age or 0.0) < 2 * INTERVAL)
                assert watcher.snapshots[-1].fleet.peaks.processes == 3
        wait_until(lambda: looks_like(anywhen(table), anywhen(reader.read(ask))), what="the table")


def test_a_report_may_go_to_several_daemons_over_udp(reader: Reader) -> None:
    (fan_out,) = re.findall(r"`(collectd_host)=a,b,c`", README.read_text())
    hosts = "127.0.0.1,127.0.0.2,127.0.0.3"
    url = f"sqlite:///shop.db?plugin=collectd&{fan_out}={hosts}&collectd_program_name=shop"
    with reader.network.entered():
        for host in hosts.split(","):
            process = reader.start(f"connmond --reports {host} --consoles {host} --bind {host}")
            assert process.stdout is not None
            process.stdout.readline()
        code = f"import sqlalchemy, time; c = sqlalchemy.create_engine({url!r}).connect(); time.sleep(300)"
        reader.start(f'python -c "{code}"')
        for host in hosts.split(","):
            with Watcher(25828, host=host) as watcher:
                watcher.wait_for(lambda seen: (row := program(seen, "shop")) and row.used == 1)


def test_sqlalchemy_s_own_error_says_who_holds_the_connections_and_why(beside_connmond: Reader) -> None:
    example, shown = under(README, "Who holds the connections, and why", "python", "text")
    (beside_connmond.folder / "example.py").write_text(example)
    done = beside_connmond.run("python -W error example.py")
    assert done.returncode == 1
    # How long the oldest was held when the verdict was last looked at depends on the moment.
    assert anywhen(re.sub(r"oldest \d+ s", "oldest 14 s", done.stderr.splitlines()[-1])) == anywhen(shown.strip())
    assert "finds trouble with QueuePool" in done.stderr


def test_the_error_names_the_line_that_has_the_connection(reader: Reader) -> None:
    example, shown = under(README, "Get the line of code in the error", "python", "text")
    (reader.folder / "example.py").write_text(example)
    done = reader.run("python -W error example.py")
    assert done.returncode == 1
    said = done.stderr.splitlines()[-1].removeprefix("poolhouse.pool.sqlalchemy.FairQueueTimeout: ")
    begin, _, _ = said.partition(" (Background on this error")
    assert re.sub(r"\S*/example\.py", "example.py", begin) == shown.strip()
    queue_pool = example.replace("poolclass=FairQueuePool, ", "")
    (reader.folder / "example.py").write_text(queue_pool)
    quoted = "QueuePool limit of size 1 overflow 0 reached, connection timed out, timeout 1.00"
    assert quoted in " ".join(README.read_text().split())
    assert quoted in reader.run("python example.py").stderr


def test_the_url_may_name_the_machine_that_receives(beside_connmond: Reader) -> None:
    _, example, _ = under(README, "See your pools", "console", "python", "console")
    (named,) = re.findall(r"`(&collectd_host=)monitor\.example`", README.read_text())
    assert_shop_is_counted(beside_connmond, example.replace("=shop", f"=shop{named}127.0.0.1"))


@pytest.mark.parametrize("number", [0, 1], ids=["instrument", "asyncio"])
def test_other_ways_to_say_it_are_counted_too(beside_connmond: Reader, number: int) -> None:
    page = HOWTO / "instrument-sqlalchemy.md"
    instrument, _ = under(page, "Without changing the URL", "python", "sh")
    aio = next(block.text for block in blocks(page) if "create_async_engine(" in block.text)
    assert_shop_is_counted(beside_connmond, (instrument, aio)[number])


def test_the_environment_names_program_and_destination(beside_connmond: Reader) -> None:
    _, example = under(HOWTO / "instrument-sqlalchemy.md", "Without changing the URL", "python", "sh")
    assert beside_connmond.read(example) == ""
    with watching(beside_connmond) as watcher:
        watcher.wait_for(lambda seen: (row := program(seen, "shop")) and row.totals.checkouts == 1)


def test_scripts_get_text_a_number_and_a_status(beside_connmond: Reader) -> None:
    (text,) = under(HOWTO / "console.md", "For scripts", "sh")
    table, number, _, _, probe, _ = (line.partition("#")[0].strip() for line in text.splitlines())
    number += ' | python3 -c \'import json, sys; print(json.load(sys.stdin)["fleet"]["used_connections"])\''
    probe += " 2> verdict.txt || echo something is wrong"
    engine = 'sqlalchemy.create_engine("sqlite:///shop.db?plugin=collectd", pool_size=2, max_overflow=0)'
    holder = f"import sqlalchemy, time; e = {engine}; held = [e.connect(), e.connect()]"
    beside_connmond.start(f"python -c '{holder}; time.sleep(300)'")
    with watching(beside_connmond) as watcher:
        watcher.wait_for(lambda seen: seen.fleet.used == 2)
        assert " used 2/2 █" in beside_connmond.read(table)
        assert beside_connmond.read(number) == "2\n"
        assert "something is wrong" not in beside_connmond.read(probe)
        beside_connmond.start(f"python -c '{holder}; e.connect()'")
        watcher.wait_for(lambda seen: seen.fleet.waiting)
        # A verdict needs some seconds of trouble.
        watcher.wait_for(lambda seen: seen.verdicts)
        assert beside_connmond.read(probe).endswith("something is wrong\n")
        assert (beside_connmond.folder / "verdict.txt").read_text() == "connmon: --fail-on: alarm\n"
        assert " used 4/4 ! █" in beside_connmond.read(table)


def test_the_configuration_of_collectd_writes_values_and_serves_the_console(reader: Reader) -> None:
    (shown,) = under(HOWTO / "collectd.md", "Configure", "apache")
    _, example, _ = under(README, "See your pools", "console", "python", "console")
    more = f'LoadPlugin python\n<Plugin python>\nModulePath "{SOURCES}"\n</Plugin>\n{shown}'
    with Collectd(reader.folder / "collectd", "", more=more, prefix=reader.network.prefix) as daemon:
        example = example.replace("=shop", "=shop&collectd_report_host=web1")
        assert reader.python(example) == "ordered\n"
        daemon.wait_for_values({"web1/sqlalchemy-shop/derive-checkouts": 1})
        named = re.findall(r"^\| `((?:count|derive)-\w+)` \|", (HOWTO / "collectd.md").read_text(), re.MULTILINE)
        assert named
        for place in ("web1/sqlalchemy-shop", "web1/sqlalchemy-host"):
            wait_until(
                lambda place=place: {f"{place}/{name}" for name in named} <= set(daemon.newest()), what=place
            )
        assert not re.search(r"\[(error|warning)\]", daemon.log()), daemon.log()
        assert " shop " in reader.read("connmon connect --once")


def test_every_worker_of_the_example_is_a_process(beside_connmond: Reader) -> None:
    app, command = under(HOWTO / "processes.md", "gunicorn", "python", "sh")
    (beside_connmond.folder / "app.py").write_text(app)
    beside_connmond.start(command.strip())

    def answered() -> bool:
        try:
            with urllib.request.urlopen("http://127.0.0.1:8000/", timeout=10) as answer:
                return answer.read() == b"ordered"
        except OSError:
            return False

    with watching(beside_connmond) as watcher:
        wait_until(lambda: answered() and watcher.snapshots)
        wait_until(
            lambda: answered() and (row := program(watcher.snapshots[-1], "shop")) and row.processes == 4,
            timeout=60,
            what="four processes of shop",
        )


def test_the_doctor_says_what_is_shown(beside_connmond: Reader) -> None:
    shown, *_ = under(HOWTO / "connmond.md", "Not seeing anything?", "console", "console", "console")
    ((command, output),) = session(shown)
    printed = beside_connmond.read(command)

    def anywhere(text: str) -> str:
        """The text as it is on every machine: their names, and the addresses of localhost, differ."""
        return re.sub(r"localhost is .*", "localhost is known", re.sub(r"as host \S+", "as host it", text))

    assert looks_like(anywhere(output), anywhere(printed))


def test_the_pool_serves_a_connection_and_is_counted(beside_connmond: Reader) -> None:
    (example,) = under(README, "A pool", "python")
    assert_shop_is_counted(beside_connmond, example)
