"""Which test works with which module: every module has one.

Most modules are imported by a test. Others are parts of a package whose tests in ``tests/unit`` work with them
through another module of the package. The rest run as a program, or inside of one: `RUN_BY` names their tests.
"""

import ast
from functools import cache
from pathlib import Path

import pytest

TESTS = Path(__file__).parents[1]
SOURCE = TESTS.parent / "src"

CONNMOND = "integration/test_connmond_process.py"
DOCTOR = "integration/test_doctor_examines.py"
TCP_CONSOLE = "integration/test_connmon_tcp.py"
WINDOW = "console/test_console_screens.py"

#: Modules that are neither imported by a test nor reached through their package, and the test that runs each.
RUN_BY = {
    "poolhouse.cli": "integration/test_commands_start.py",
    "poolhouse.collectd_plugin.consoles": "integration/test_collectd_connmon_in_process.py",
    "poolhouse.collectd_plugin.legacy": "integration/test_collectd_plugins_in_process.py",
    "poolhouse.collectd_plugin.messages": "integration/test_collectd_plugins_in_process.py",
    "poolhouse.console.__main__": "integration/test_connmon_window.py",
    "poolhouse.console.dump": TCP_CONSOLE,
    "poolhouse.console.login": TCP_CONSOLE,
    "poolhouse.console.feed": "console/test_console_command.py",
    "poolhouse.console.messages": WINDOW,
    "poolhouse.console.notices": WINDOW,
    "poolhouse.console.picture": "console/test_console_picture.py",
    "poolhouse.console.session": WINDOW,
    "poolhouse.console.terminal": "console/test_console_command.py",
    "poolhouse.console.widgets.bar": WINDOW,
    "poolhouse.console.widgets.filter_line": WINDOW,
    "poolhouse.console.widgets.lines_view": WINDOW,
    "poolhouse.daemon.__main__": CONNMOND,
    "poolhouse.daemon.command": CONNMOND,
    "poolhouse.daemon.console_desk": TCP_CONSOLE,
    "poolhouse.daemon.consoles": CONNMOND,
    "poolhouse.daemon.csv_part": "integration/test_connmond_service.py",
    "poolhouse.daemon.log": "integration/test_connmond_log.py",
    "poolhouse.daemon.notify": "integration/test_connmond_examples.py",
    "poolhouse.daemon.part": CONNMOND,
    "poolhouse.daemon.ports": CONNMOND,
    "poolhouse.daemon.reports": CONNMOND,
    "poolhouse.daemon.serve": CONNMOND,
    "poolhouse.daemon.server": CONNMOND,
    "poolhouse.defaults": "unit/collectd_plugin/test_plugin_config.py",
    "poolhouse.demo.__main__": "integration/test_demo_ends.py",
    "poolhouse.demo.command": "integration/test_demo_ends.py",
    "poolhouse.demo.family": "integration/test_demo_worker.py",
    "poolhouse.doctor.command": DOCTOR,
    "poolhouse.doctor.environment": DOCTOR,
    "poolhouse.doctor.probe": DOCTOR,
    "poolhouse.doctor.signals": DOCTOR,
    "poolhouse.feed.caller": "integration/test_connmond_feed_client.py",
    "poolhouse.feed.fleet_source": CONNMOND,
    "poolhouse.feed.listener": "integration/test_connmond_feed_client.py",
    "poolhouse.feed.product": "unit/daemon/test_connmond_words.py",
    "poolhouse.feed.protocol.plain": "unit/feed/test_feed_frame.py",
    "poolhouse.feed.return_path": CONNMOND,
    "poolhouse.feed.source": "unit/feed/test_feed_service_caller.py",
    "poolhouse.instrumentation.plugin": "integration/test_sqlalchemy_plugin.py",
    "poolhouse.pool.drivers.aiosqlite": "integration/test_pool_clean.py",
    "poolhouse.pool.drivers.postgres": "integration/test_pool_clean.py",
    "poolhouse.pool.drivers.sockets": "integration/test_pool_drivers_abort.py",
    "poolhouse.pool.drivers.sqlite3": "integration/test_pool_clean.py",
    "poolhouse.stdio": "console/test_console_command.py",
    "sqlalchemy_collectd.connmon.plugin": "integration/test_collectd_real_daemon.py",
    "sqlalchemy_collectd.server.plugin": "integration/test_collectd_real_daemon.py",
}


def modules() -> dict[str, Path]:
    """All modules with code in them, by name."""
    found = {}
    for path in sorted(SOURCE.rglob("*.py")):
        if not all(isinstance(node, ast.Expr) for node in ast.parse(path.read_text()).body):
            parts = path.relative_to(SOURCE).with_suffix("").parts
            found[".".join(parts[:-1] if parts[-1] == "__init__" else parts)] = path
    return found


@cache
def imported_by(path: Path) -> set[str]:
    """The modules of ours that a file imports, at its top or in a function."""
    names: set[str] = set()
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            names.update(alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.module and not node.level:
            names.update((node.module, *(f"{node.module}.{alias.name}" for alias in node.names)))
    return names & MODULES.keys()


@cache
def reached_by_unit_tests(package: tuple[str, ...]) -> set[str]:
    """The package's modules that its folder in tests/unit reaches, without leaving the package."""
    tests = (TESTS / "unit").joinpath(*package).rglob("test_*.py")
    inside = {name for name in MODULES if f"{name}.".startswith(f"poolhouse.{'.'.join(package)}.")}
    new = {name for test in tests for name in imported_by(test)} & inside
    reached: set[str] = set()
    while new:
        reached |= new
        new = {name for one in new for name in imported_by(MODULES[one])} & inside - reached
    return reached


MODULES = modules()
IMPORTED: set[str] = set().union(*(imported_by(path) for path in TESTS.rglob("test_*.py")))


def has_a_test(module: str) -> bool:
    package = tuple(module.split(".")[1:-1])
    return module in IMPORTED or (bool(package) and module in reached_by_unit_tests(package))


@pytest.mark.parametrize("module", MODULES)
def test_a_test_works_with_the_module(module: str) -> None:
    folder = "/".join(["tests/unit", *module.split(".")[1:-1]])
    assert has_a_test(module) or module in RUN_BY, (
        f"no test works with {module}: write one in {folder} that imports it, or a module of its package that "
        "does; if it only runs inside of a program, name the test of that in RUN_BY"
    )


@pytest.mark.parametrize("module", RUN_BY)
def test_the_table_leads_from_a_module_that_is_there_to_a_test_that_is_there(module: str) -> None:
    assert module in MODULES, f"there is no module {module} any more: take it out of RUN_BY"
    assert (TESTS / RUN_BY[module]).is_file(), f"tests/{RUN_BY[module]}, the test of {module}, does not exist"
