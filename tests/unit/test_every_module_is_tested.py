"""Which test works with which module: every module has one.

Most modules are imported by a test. Others are parts of a package whose tests in ``tests/unit`` work with them
through another module of the package. The rest run as a program, or inside of one: `RUN_BY` names their tests.
"""

import ast
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from functools import cache
from pathlib import Path

TESTS = Path(__file__).parents[1]
SOURCE = TESTS.parent / "src"

ATTACHED = "integration/test_sqlalchemy_attached.py"
CONNMOND = "integration/test_connmond_process.py"
DJANGO = "integration/test_django_app.py"
DOCTOR = "integration/test_doctor_examines.py"
HTTP = "integration/test_connmond_http.py"
OTLP = "integration/test_otlp_push.py"
PAGE = "integration/test_page_http.py"
TCP_CONSOLE = "integration/test_connmon_tcp.py"
WINDOW = "console/test_console_screens.py"

#: Modules that are neither imported by a test nor reached through their package, and the test that runs each.
RUN_BY = {
    "poolhouse.attach.bootstrap.sitecustomize": ATTACHED,
    "poolhouse.core_dumps": "integration/test_connmond_privileges.py",
    "poolhouse.attach.command": "integration/test_attach_install.py",
    "poolhouse.auto": ATTACHED,
    "poolhouse.instrumentation.automatic": ATTACHED,
    "poolhouse.cli": "integration/test_commands_start.py",
    "poolhouse.collectd_plugin.consoles": "integration/test_collectd_connmon_in_process.py",
    "poolhouse.collectd_plugin.fair_lock": "integration/test_collectd_plugins_in_process.py",
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
    "poolhouse.daemon.http.answers": HTTP,
    "poolhouse.daemon.http.assets": PAGE,
    "poolhouse.daemon.http.face": HTTP,
    "poolhouse.daemon.http.figures": HTTP,
    "poolhouse.daemon.http.history": PAGE,
    "poolhouse.daemon.http.landing": HTTP,
    "poolhouse.daemon.http.moments": PAGE,
    "poolhouse.daemon.http.pages": PAGE,
    "poolhouse.daemon.http.part": HTTP,
    "poolhouse.daemon.http.server": HTTP,
    "poolhouse.daemon.slices": HTTP,
    "poolhouse.daemon.otlp_part": OTLP,
    "poolhouse.daemon.otlp_sender": OTLP,
    "poolhouse.daemon.log": "integration/test_connmond_log.py",
    "poolhouse.daemon.notify": "integration/test_connmond_examples.py",
    "poolhouse.daemon.part": CONNMOND,
    "poolhouse.daemon.ports": CONNMOND,
    "poolhouse.daemon.privileges": "integration/test_connmond_privileges.py",
    "poolhouse.daemon.reports": CONNMOND,
    "poolhouse.daemon.serve": CONNMOND,
    "poolhouse.daemon.server": CONNMOND,
    "poolhouse.defaults": "unit/collectd_plugin/test_plugin_config.py",
    "poolhouse.demo.__main__": "integration/test_demo_ends.py",
    "poolhouse.demo.command": "integration/test_demo_ends.py",
    "poolhouse.demo.family": "integration/test_demo_worker.py",
    "poolhouse.django.apps": DJANGO,
    "poolhouse.django.pools": DJANGO,
    "poolhouse.django.postgresql.base": DJANGO,
    "poolhouse.django.urls": DJANGO,
    "poolhouse.django.views": DJANGO,
    "poolhouse.doctor.command": DOCTOR,
    "poolhouse.doctor.environment": DOCTOR,
    "poolhouse.doctor.nodes": DOCTOR,
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
    "poolhouse.subcommands": "integration/test_commands_start.py",
    "poolhouse.rq": "integration/test_rq_workers.py",
    "sqlalchemy_collectd.connmon.plugin": "integration/test_collectd_real_daemon.py",
    "sqlalchemy_collectd.server.plugin": "integration/test_collectd_real_daemon.py",
}


@dataclass(frozen=True)
class Source:
    """What the rule needs to know of a file."""

    has_code: bool
    imports: frozenset[str]


def statements(body: Iterable[ast.AST]) -> Iterator[ast.AST]:
    """All statements, those inside of others too. Expressions, most of a tree, hold no import."""
    for one in body:
        yield one
        for name in ("body", "orelse", "finalbody", "handlers", "cases"):
            yield from statements(getattr(one, name, ()))


@cache
def read(path: Path) -> Source:
    """Whether a file has more than a docstring, and what it imports, at its top or in a function."""
    body = ast.parse(path.read_text()).body
    names: set[str] = set()
    for node in statements(body):
        if isinstance(node, ast.Import):
            names.update(alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.module and not node.level:
            names.update((node.module, *(f"{node.module}.{alias.name}" for alias in node.names)))
    return Source(not all(isinstance(node, ast.Expr) for node in body), frozenset(names))


@cache
def modules() -> dict[str, Path]:
    """All modules with code in them, by name."""
    found = {}
    for path in sorted(SOURCE.rglob("*.py")):
        if read(path).has_code:
            parts = path.relative_to(SOURCE).with_suffix("").parts
            found[".".join(parts[:-1] if parts[-1] == "__init__" else parts)] = path
    return found


@cache
def imported_by_tests() -> set[str]:
    return set().union(*(read(path).imports for path in TESTS.rglob("test_*.py")))


@cache
def reached_by_unit_tests(package: tuple[str, ...]) -> set[str]:
    """The package's modules that its folder in tests/unit reaches, without leaving the package."""
    tests = (TESTS / "unit").joinpath(*package).rglob("test_*.py")
    inside = {name for name in modules() if f"{name}.".startswith(f"poolhouse.{'.'.join(package)}.")}
    new = {name for test in tests for name in read(test).imports} & inside
    reached: set[str] = set()
    while new:
        reached |= new
        new = {name for one in new for name in read(modules()[one]).imports} & inside - reached
    return reached


def has_a_test(module: str) -> bool:
    package = tuple(module.split(".")[1:-1])
    return module in imported_by_tests() or (bool(package) and module in reached_by_unit_tests(package))


def test_a_test_works_with_each_module() -> None:
    without = [
        f"no test works with {module}: write one in {'/'.join(['tests/unit', *module.split('.')[1:-1]])} that "
        "imports it, or a module of its package that does; if it only runs inside of a program, name the test of "
        "that in RUN_BY"
        for module in modules()
        if not has_a_test(module) and module not in RUN_BY
    ]
    assert not without, "\n".join(without)


def test_the_table_leads_from_a_module_that_is_there_to_a_test_that_is_there() -> None:
    wrong = [
        f"there is no module {module} any more: take it out of RUN_BY"
        for module in RUN_BY
        if module not in modules()
    ] + [
        f"tests/{test}, the test of {module}, does not exist"
        for module, test in RUN_BY.items()
        if not (TESTS / test).is_file()
    ]
    assert not wrong, "\n".join(wrong)
