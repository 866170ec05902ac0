"""Which line of the application a call is: found by walking once, and by its address from then on."""

import sys
from collections.abc import Callable
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

import pytest

from poolhouse.sites.modules import Kind, Modules
from poolhouse.sites.site import Site
from poolhouse.sites.table import MOST_SITES_KNOWN, SiteTable

LIBRARY = "/venv/lib/python3.11/site-packages/{}.py"


def module(name: str, source: str, file: str, **names: Any) -> Callable[..., Any]:
    """The function ``run`` of a module with this source, as if it were installed in `file`."""
    namespace: dict[str, Any] = {"__name__": name, **names}
    exec(compile(source, file, "exec"), namespace)  # the sources stand below
    return namespace["run"]  # type: ignore[no-any-return]


class Pool:
    """Takes connections through two functions of a package that is passed over, as SQLAlchemy's engine does."""

    def __init__(self, table: SiteTable | None = None) -> None:
        self.table = table or SiteTable(Modules())
        self.searches = 0
        search = self.table._search

        def counted(*arguments: Any) -> Site:
            self.searches += 1
            return search(*arguments)

        self.table._search = counted  # type: ignore[method-assign]
        #: What the application calls. Three frames further in, its site is looked for.
        self.connect = module(
            "sqlalchemy.engine.base",
            SOURCE,
            LIBRARY.format("sqlalchemy/base"),
            table=self.table,
            getframe=sys._getframe,
        )


SOURCE = """
def look(start):
    frame = getframe(start)
    return (table.get(id(frame.f_code) + frame.f_lasti) or table.find(start)).words
def take():
    return look(3)
def run():
    return take()
"""


HERE = "sites/test_site_table.py"


def line_of(function: Callable[..., Any], offset: int) -> str:
    return f"{HERE}:{function.__code__.co_firstlineno + offset} in {function.__qualname__}"


@pytest.fixture
def pool() -> Pool:
    return Pool()


def core(pool: Pool) -> str:
    return str(pool.connect())


def other(pool: Pool) -> str:
    return str(pool.connect())


@contextmanager
def helper(pool: Pool) -> Any:
    yield pool.connect()


class Unit:
    def __init__(self, pool: Pool) -> None:
        self.pool = pool

    def __enter__(self) -> str:
        return str(self.pool.connect())

    def __exit__(self, *exc_info: object) -> None: ...


def helped(pool: Pool) -> str:
    with helper(pool) as found:
        return str(found)


def united(pool: Pool) -> str:
    with Unit(pool) as found:
        return found


def stacked(pool: Pool) -> str:
    with ExitStack() as stack:
        return str(stack.enter_context(helper(pool)))


GENERATOR = f"{HERE}:{helper.__wrapped__.__code__.co_firstlineno + 2} in helper"  # type: ignore[attr-defined]
ENTER = f"{HERE}:{Unit.__enter__.__code__.co_firstlineno + 1} in Unit.__enter__"


@pytest.mark.parametrize(
    ("way", "words"),
    [
        (core, line_of(core, 1)),
        (helped, f"{line_of(helped, 1)} via {GENERATOR}"),
        (united, f"{line_of(united, 1)} via {ENTER}"),
        (stacked, f"{line_of(stacked, 2)} via {GENERATOR}"),
    ],
)
def test_each_way_is_told_by_the_applications_line_and_walked_once(
    pool: Pool, way: Callable[[Pool], str], words: str
) -> None:
    assert [way(pool) for _ in range(5)] == [words] * 5
    assert pool.searches == 1


def test_lines_that_take_turns_are_walked_once_each(pool: Pool) -> None:
    found = [(core(pool), other(pool)) for _ in range(5)]
    assert found == [(line_of(core, 1), line_of(other, 1))] * 5
    assert pool.searches == 2


def test_a_library_is_passed_over_where_the_application_stands_further_out(pool: Pool) -> None:
    library = module("orm", "def run(connect):\n    return connect()", LIBRARY.format("orm"))

    def application() -> str:
        return str(library(pool.connect))

    assert [application() for _ in range(3)] == [line_of(application, 1)] * 3
    assert pool.searches == 1


def threaded(function: Callable[[], str]) -> list[str]:
    """What a function returns, called three times with nothing of the application on the stack."""
    from concurrent.futures import ThreadPoolExecutor

    with ThreadPoolExecutor(1) as executor:
        return [executor.submit(function).result() for _ in range(3)]


def test_an_application_that_is_installed_as_libraries_are_is_told_by_its_own_line(pool: Pool) -> None:
    installed = module("shop.web", "def run(connect):\n    return connect()", LIBRARY.format("shop/web"))
    assert threaded(lambda: installed(pool.connect))[0] == line_of_lambda()
    run = module("shop.web", RUN, LIBRARY.format("shop/web"), connect=pool.connect)
    searches = pool.searches
    assert threaded(run) == ["shop/web.py:2 in run"] * 3
    assert pool.searches == searches + 1, "the whole stack is known by its length and its outermost frame"
    assert run().startswith(HERE), "as soon as the application stands further out, it counts"


RUN = "def run():\n    return connect()"


def line_of_lambda() -> str:
    function = test_an_application_that_is_installed_as_libraries_are_is_told_by_its_own_line
    return f"{line_of(function, 2)}.<locals>.<lambda>"


def test_a_helper_behind_which_a_library_stands_is_the_best_line_there_is(pool: Pool) -> None:
    framework = module(
        "web", "def run(manager):\n    with manager as found:\n        return found", LIBRARY.format("web")
    )
    assert [framework(helper(pool)) for _ in range(3)] == [GENERATOR] * 3
    assert helped(pool) == f"{line_of(helped, 1)} via {GENERATOR}"
    assert framework(helper(pool)) == GENERATOR


def taker(pool: Pool) -> str:
    return str(pool.connect())


def test_a_line_that_turns_out_to_be_a_helpers_gives_way_to_its_caller(pool: Pool) -> None:
    def caller() -> str:
        return taker(pool)

    assert caller() == line_of(taker, 1)
    (site,) = [site for site in pool.table.sites() if site.place]
    site.ended(0.5)
    pool.table.pass_over(site)
    assert [caller() for _ in range(3)] == [f"{line_of(caller, 1)} via {line_of(taker, 1)}"] * 3
    assert pool.searches <= 3
    pool.table.fold()
    assert pool.table.use().count == 1, "what the line did before goes on being told"


def test_further_packages_are_passed_over_by_name() -> None:
    pool = Pool(SiteTable(Modules(("acme.db",))))
    inner = module("acme.db.pools", RUN, "/srv/acme/db/pools.py", connect=pool.connect)

    def application() -> str:
        return str(inner())

    assert application() == line_of(application, 1)
    assert Modules().kind_of(sys._getframe()) is Kind.APPLICATION


def test_no_more_lines_are_known_than_there_is_room_for(pool: Pool) -> None:
    for number in range(MOST_SITES_KNOWN + 20):
        found = module("shop", RUN, f"/srv/shop/page{number}.py", connect=pool.connect)()
        assert found == (f"shop/page{number}.py:2 in run" if number < MOST_SITES_KNOWN else "other")
    assert len(pool.table.sites()) == MOST_SITES_KNOWN + 2


def test_a_call_right_from_a_module_is_found(tmp_path: Path) -> None:
    """There is no frame as far out as paths are known from."""
    import subprocess

    program = tmp_path / "program.py"
    program.write_text(
        "from poolhouse.sites.table import SiteTable\ntable = SiteTable()\nprint(table.find(7).words)\n"
    )
    found = subprocess.run([sys.executable, str(program)], capture_output=True, text=True, check=True)
    assert found.stdout == f"{tmp_path.name}/program.py:3 in <module>\n"
