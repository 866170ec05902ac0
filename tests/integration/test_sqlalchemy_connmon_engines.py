"""An engine that reports to a service does all that the plain one does: migrations, inspection, XA, asyncio.

On real servers, by connmon's dialect names and by ``plugin=connmon``.
"""

import asyncio
import json
import re
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy
from sqlalchemy import Column, ForeignKey, Index, Integer, MetaData, String, Table, create_engine, inspect, text
from sqlalchemy.ext.asyncio import create_async_engine

from support import zygote
from support.mariadb import MariaDB
from support.postgres import Postgres
from support.service_node import Node, own_reporter
from support.waiting import wait_until

IS_NEW = not sqlalchemy.__version__.startswith("1.")
#: The drivers of PostgreSQL that this SQLAlchemy has, for threads and for asyncio.
SYNC_POSTGRES = ("psycopg2", "psycopg") if IS_NEW else ("psycopg2",)
ASYNC_POSTGRES = ("asyncpg", "psycopg", "psycopg_async") if IS_NEW else ("asyncpg",)
FORMS = ("dialect", "plugin")


@pytest.fixture(scope="module", autouse=True)
def _reporter_of_its_own() -> Iterator[None]:
    with own_reporter():
        yield


@pytest.fixture
def node() -> Iterator[Node]:
    one = Node()
    yield one
    one.close()


def measured(url: str, form: str, node: Node, program: str) -> str:
    """A URL with our settings: under connmon's dialect name, or with the plugin."""
    scheme, rest = url.split("://", 1)
    settings = f"connmon_addr={node.address}&connmon_program_name={program}&connmon_interval=0.2"
    if form == "dialect":
        scheme += "_connmon" if "+" in scheme else "+connmon"
    else:
        settings = f"plugin=connmon&{settings}"
    return f"{scheme}://{rest}{'&' if '?' in rest else '?'}{settings}"


def server_url(name: str, request: pytest.FixtureRequest, folder: Path) -> str:
    """The plain URL of a database that serves: of SQLite, PostgreSQL or MariaDB by the driver's name."""
    dialect, _, _ = name.partition("+")
    if dialect == "sqlite":
        return f"{name}:///{folder}/shop.db"
    if dialect == "postgresql":
        postgres: Postgres = request.getfixturevalue("postgres")
        return postgres.url.replace("postgresql", name)
    mariadb: MariaDB = request.getfixturevalue("mariadb")
    return f"{name}://{mariadb.user}@127.0.0.1:{mariadb.port}/{mariadb.database}"


#: A user of Alembic: begins a project from its template, has a migration written, and runs it to and fro.
MIGRATION = """
import json, logging, pathlib, sys
from alembic import command
from alembic.config import Config

folder, template, url, table = sys.argv[1:]
folder = pathlib.Path(folder)
folder.joinpath("tables.py").write_text(f'''
from sqlalchemy import Column, Integer, MetaData, String, Table
metadata = MetaData()
Table("{table}", metadata, Column("id", Integer, primary_key=True), Column("name", String(40), index=True))
''')
config = Config(str(folder / "alembic.ini"))
command.init(config, str(folder / "migrations"), template)
environment = folder / "migrations" / "env.py"
text = environment.read_text()
assert "target_metadata = None" in text
only_ours = f"include_object=lambda one, name, kind, *_: kind != 'table' or name == '{table}', "
text = text.replace("target_metadata = None", "import tables\\ntarget_metadata = tables.metadata")
text = text.replace("target_metadata=target_metadata", only_ours + "target_metadata=target_metadata")
environment.write_text(text)
sys.path.insert(0, str(folder))
config.set_main_option("sqlalchemy.url", url.replace("%", "%%"))
command.revision(config, "orders", autogenerate=True)
command.upgrade(config, "head")
command.check(config)
command.downgrade(config, "base")
command.upgrade(config, "head")
print("done")
"""


@pytest.mark.parametrize(
    ("name", "form"),
    [
        ("sqlite", "dialect"),
        ("sqlite+aiosqlite", "dialect"),
        *((f"postgresql+{driver}", "dialect") for driver in SYNC_POSTGRES),
        ("postgresql+psycopg2", "plugin"),
        ("postgresql+asyncpg", "dialect"),
        ("postgresql+asyncpg", "plugin"),
        ("mysql+pymysql", "dialect"),
    ],
)
def test_alembic_writes_a_migration_and_runs_it_to_and_fro(name, form, node, tmp_path, request):
    template = "async" if name in ("sqlite+aiosqlite", "postgresql+asyncpg") else "generic"
    plain = server_url(name, request, tmp_path)
    table = re.sub(r"\W", "_", f"orders_{name}_{form}")
    url = measured(plain, form, node, "migration")
    done = zygote.run(
        [sys.executable, "-c", MIGRATION, str(tmp_path), template, url, table],
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
    )
    assert (done.returncode, done.stdout.splitlines()[-1:]) == (0, ["done"]), done.stderr
    engine = create_engine(re.sub(r"\+(aiosqlite|asyncpg)", "", plain))
    columns = inspect(engine).get_columns(table)
    assert [column["name"] for column in columns] == ["id", "name"]
    with engine.begin() as connection:
        for one in (table, "alembic_version"):
            connection.execute(text(f"drop table {one}"))
    engine.dispose()
    # Each command has an engine of its own, with a pool that keeps nothing, and the process ends with a goodbye.
    wait_until(lambda: node.checkouts("migration") >= 1)


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("name", ["sqlite", *(f"postgresql+{one}" for one in SYNC_POSTGRES), "mysql+pymysql"])
def test_an_inspection_says_what_the_plain_engine_says(name, form, node, tmp_path, request):
    url = server_url(name, request, tmp_path)
    engine, plain = create_engine(measured(url, form, node, "inspect")), create_engine(url)
    metadata = MetaData()
    customers = Table("inspected_customers", metadata, Column("id", Integer, primary_key=True))
    orders = Table(
        "inspected_orders",
        metadata,
        Column("id", Integer, primary_key=True),
        Column("customer", ForeignKey(customers.c.id), nullable=False),
        Column("name", String(40), unique=True),
        Index("by_customer_and_name", "customer", "name"),
    )
    metadata.create_all(engine)

    def found(one: Any) -> str:
        looked_at = inspect(one)
        names = {name for name in looked_at.get_table_names() if name.startswith("inspected_")}
        methods = ("get_columns", "get_pk_constraint", "get_foreign_keys", "get_indexes", "get_unique_constraints")
        facts = {method: getattr(looked_at, method)(orders.name) for method in methods}
        return json.dumps([sorted(names), facts], default=str, sort_keys=True)

    assert found(engine) == found(plain)
    assert orders.name in found(engine)
    assert (engine.name, engine.driver, engine.url) == (plain.name, plain.driver, plain.url)
    assert (type(engine.dialect), type(engine.pool)) == (type(plain.dialect), type(plain.pool))
    metadata.drop_all(engine)
    engine.dispose()
    plain.dispose()
    wait_until(lambda: node.checkouts("inspect") >= 1)


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("name", [*(f"postgresql+{one}" for one in SYNC_POSTGRES), "mysql+pymysql"])
def test_a_transaction_in_two_phases_is_prepared_found_and_committed(name, form, node, tmp_path, request):
    url = server_url(name, request, tmp_path)
    engine, plain = create_engine(measured(url, form, node, "twophase")), create_engine(url)
    with engine.begin() as connection:
        connection.execute(text("create table two_phases (id integer primary key)"))
    with engine.connect() as connection:
        transaction = connection.begin_twophase()
        connection.execute(text("insert into two_phases values (1)"))
        transaction.prepare()
        with engine.connect() as other, plain.connect() as judge:
            # As text, or as bytes: SQLAlchemy's dialects differ.
            assert str(transaction.xid) in str(other.recover_twophase())
            assert other.recover_twophase() == judge.recover_twophase()
        transaction.commit()
    with engine.connect() as connection:
        transaction = connection.begin_twophase()
        connection.execute(text("insert into two_phases values (2)"))
        transaction.prepare()
        transaction.rollback()
    with engine.connect() as connection:
        assert connection.recover_twophase() == []
        assert connection.execute(text("select id from two_phases")).fetchall() == [(1,)]
    with engine.begin() as connection:
        connection.execute(text("drop table two_phases"))
    engine.dispose()
    plain.dispose()
    wait_until(lambda: node.checkouts("twophase") == 6)


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("name", ["sqlite+aiosqlite", *(f"postgresql+{one}" for one in ASYNC_POSTGRES)])
def test_an_asyncio_engine_is_the_plain_one_and_is_measured(name, form, node, tmp_path, request):
    url = server_url(name, request, tmp_path)

    async def main() -> None:
        engine, plain = create_async_engine(measured(url, form, node, "aio")), create_async_engine(url)
        assert (engine.url, engine.driver, engine.name) == (plain.url, plain.driver, plain.name)
        assert (type(engine.dialect), type(engine.pool)) == (type(plain.dialect), type(plain.pool))
        async with engine.begin() as connection:
            assert (await connection.execute(text("select 1"))).scalar_one() == 1
            names = await connection.run_sync(lambda one: inspect(one).get_table_names())
            assert isinstance(names, list)
        await engine.dispose()
        await plain.dispose()

    asyncio.run(main())
    wait_until(lambda: node.checkouts("aio") >= 1)
