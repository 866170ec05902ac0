"""connmon's dialect names and its plugin: the engine is the one of the plain URL, and its pool is measured."""

import asyncio
import importlib
import pkgutil
import re
import socket
import sqlite3
from collections.abc import Iterator
from importlib.metadata import entry_points
from pathlib import Path

import pytest
import sqlalchemy
from oslo_config import cfg
from sqlalchemy import create_engine, inspect, text
from sqlalchemy.engine import make_url
from sqlalchemy.exc import ArgumentError

from poolhouse.instrumentation.dialects import plain_url
from support.service_node import Node, own_reporter
from support.waiting import wait_until

#: The dialects that SQLAlchemy has by itself; what else it ships stands behind one of their names.
DIALECTS = ("mysql", "mariadb", "postgresql", "sqlite", "oracle", "mssql")


def shipped_names() -> list[str]:
    """``mysql+pymysql`` and so on: every driver's dialect that this SQLAlchemy brings along."""
    names = []
    for dialect in DIALECTS:
        package = importlib.import_module(f"sqlalchemy.dialects.{'mysql' if dialect == 'mariadb' else dialect}")
        for module in pkgutil.iter_modules(package.__path__):
            driver = getattr(importlib.import_module(f"{package.__name__}.{module.name}"), "dialect", None)
            if driver is not None and module.name not in ("base", "mariadb"):
                names.append(f"{dialect}+{driver.driver}")
    assert len(names) > 15
    return sorted({name for name in names if loads(name)})


def loads(name: str) -> bool:
    try:
        make_url(f"{name}://").get_dialect()
    except sqlalchemy.exc.NoSuchModuleError:
        return False
    return True


@pytest.fixture(scope="module", autouse=True)
def _reporter_of_its_own() -> Iterator[None]:
    with own_reporter():
        yield


@pytest.fixture
def node() -> Iterator[Node]:
    one = Node()
    yield one
    one.close()


@pytest.mark.parametrize("name", shipped_names())
def test_every_driver_that_sqlalchemy_ships_has_its_name(name):
    dialect, _, driver = name.partition("+")
    registered = {entry.name for entry in entry_points(group="sqlalchemy.dialects")}
    assert f"{dialect}.{driver}_connmon" in registered
    assert f"{dialect}.connmon" in registered
    plain = make_url(f"{name}://user:secret@db/shop?charset=utf8")
    ours = make_url(f"{name}_connmon://user:secret@db/shop?charset=utf8&connmon_service=default")
    assert plain_url(ours) == plain
    of_plain, of_ours = plain.get_dialect(), ours.get_dialect()
    assert issubclass(of_ours, of_plain)
    assert (of_ours.__name__, of_ours.__module__, of_ours.name, of_ours.driver) == (
        of_plain.__name__,
        of_plain.__module__,
        of_plain.name,
        of_plain.driver,
    )


@pytest.mark.parametrize("name", ["sqlite+connmon", "sqlite+pysqlite_connmon"])
def test_the_engine_is_the_one_of_the_plain_url_and_is_measured(name, node, tmp_path):
    program = name.replace("+", "-")
    url = f"{name}:///{tmp_path}/shop.db?timeout=7&connmon_addr={node.address}&connmon_program_name={program}"
    engine, plain = create_engine(url), create_engine(str(plain_url(make_url(url))))
    assert engine.url == plain.url
    assert type(engine.dialect) is type(plain.dialect)
    assert "connmon" not in repr(engine)
    with engine.begin() as connection:
        connection.execute(text("create table orders (id integer primary key)"))
    assert inspect(engine).get_table_names() == ["orders"]
    wait_until(lambda: node.checkouts(program) >= 2)
    engine.dispose()
    plain.dispose()


def test_statements_are_cached_as_with_the_plain_dialect(node):
    engine = create_engine(f"sqlite+connmon://?connmon_addr={node.address}")
    with engine.connect() as connection:
        for _ in range(2):
            connection.execute(sqlalchemy.select(sqlalchemy.literal(1)))
    assert len(engine._compiled_cache) == 1
    engine.dispose()


def test_it_works_for_asyncio(node, tmp_path):
    from sqlalchemy.ext.asyncio import create_async_engine

    async def main() -> None:
        url = f"sqlite+aiosqlite_connmon:///{tmp_path}/shop.db?connmon_addr={node.address}"
        engine = create_async_engine(f"{url}&connmon_program_name=aio")
        async with engine.connect() as connection:
            assert (await connection.execute(text("select 1"))).scalar_one() == 1
        assert str(engine.url) == f"sqlite+aiosqlite:///{tmp_path}/shop.db"
        await engine.dispose()

    asyncio.run(main())
    wait_until(lambda: node.checkouts("aio") == 1)


def test_as_a_plugin_settings_stand_in_the_url_or_among_the_keywords(node):
    of_url = create_engine(f"sqlite://?plugin=connmon&connmon_addr={node.address}&connmon_program_name=of-url")
    of_keyword = create_engine(
        "sqlite://", plugins=["connmon"], connmon_addr=node.address, connmon_program_name="of-keyword"
    )
    for engine in (of_url, of_keyword):
        assert not engine.url.query
        engine.connect().close()
    wait_until(lambda: node.checkouts("of-url") == 1 and node.checkouts("of-keyword") == 1)
    of_url.dispose()
    of_keyword.dispose()


def test_the_service_is_looked_up_in_the_configuration(node, tmp_path):
    (tmp_path / "connmon.cfg").write_text(
        f"[connmon_service_default]\nname: default\nnodes:\n    node1 hostname={node.address}\n"
    )
    query = f"connmon_service=default&connmon_config={tmp_path}/connmon.cfg&connmon_program_name=by-file"
    engine = create_engine(f"sqlite+connmon://?{query}")
    engine.connect().close()
    wait_until(lambda: node.checkouts("by-file") == 1)
    engine.dispose()


@pytest.mark.parametrize(
    ("query", "sentence"),
    [
        ("connmon_service=nothing&connmon_config={file}", "connmon_service: there is no service 'nothing' in "),
        ("connmon_config=/nowhere.cfg", r"connmon_config: there is no file '/nowhere\.cfg'"),
        ("connmon_addr=db:port", "connmon_addr: 'db:port': 'port' is not a port"),
        (
            "connmon_addr=db&connmon_colour=red",
            "connmon_colour: there is no such setting; there are connmon_service",
        ),
        (
            "connmon_addr=db&connmon_confg=x",
            r"connmon_confg: there is no such setting; did you mean connmon_config\?",
        ),
    ],
)
@pytest.mark.parametrize("form", ["sqlite+connmon://?{}", "sqlite://?plugin=connmon&{}"])
def test_a_mistake_is_an_error_of_create_engine_that_names_the_setting(form, query, sentence, tmp_path):
    file = tmp_path / "connmon.cfg"
    file.write_text("[connmon_service_default]\nname: default\nnodes: a hostname=localhost\n")
    with pytest.raises(ArgumentError, match=sentence):
        create_engine(form.format(query.format(file=file)))


def test_without_a_node_the_application_does_not_notice():
    with socket.create_server(("127.0.0.1", 0)) as free:
        address = f"127.0.0.1:{free.getsockname()[1]}"
    engine = create_engine(f"sqlite+connmon://?connmon_addr={address}")
    with engine.connect() as connection:
        assert connection.execute(text("select 1")).scalar_one() == 1
    engine.dispose()


#: The part of the seed's local.conf for devstack: a file of a service, then its lines.
LOCAL_CONF = r"""
[[post-config|$NOVA_CONF]]

[database]
connection = mysql+pymysql_connmon://root:sa@127.0.0.1/nova?charset=utf8\\&connmon_service=default

[api_database]
connection = mysql+pymysql_connmon://root:sa@127.0.0.1/nova_api?charset=utf8\\&connmon_service=default

[[post-config|$NEUTRON_CONF]]

[database]
connection = mysql+pymysql_connmon://root:sa@127.0.0.1/neutron?charset=utf8\\&connmon_service=default

[[post-config|$KEYSTONE_CONF]]

[database]
connection = mysql+pymysql_connmon://root:sa@127.0.0.1/keystone?charset=utf8\\&connmon_service=default


[[post-config|$CINDER_CONF]]

[database]
connection = mysql+pymysql_connmon://root:sa@127.0.0.1/cinder?charset=utf8\\&connmon_service=default

[[post-config|$GLANCE_API_CONF]]

[database]
connection = mysql+pymysql_connmon://root:sa@127.0.0.1/glance?charset=utf8\\&connmon_service=default
"""

#: What devstack makes of the escaped ampersand: its shell takes one backslash away, its sed the other. Whoever
#: copies the line into a service's file keeps both.
AMPERSANDS = ("&", r"\&", r"\\&")

#: By section of the seed's local.conf: a file, and the databases in it.
FILES = {
    "NOVA": {"database": "nova", "api_database": "nova_api"},
    "NEUTRON": {"database": "neutron"},
    "KEYSTONE": {"database": "keystone"},
    "CINDER": {"database": "cinder"},
    "GLANCE_API": {"database": "glance"},
}


def connection_of(file: Path, section: str = "database") -> str:
    """The URL in a service's file, as that service gets it."""
    options = cfg.ConfigOpts()
    options.register_opt(cfg.StrOpt("connection", secret=True), group=section)
    options([], project="nova", default_config_files=[str(file)])
    return options[section].connection


@pytest.mark.parametrize("ampersand", AMPERSANDS)
def test_each_line_of_the_seeds_devstack_is_an_engine_of_its_database(ampersand, tmp_path):
    _, *parts = re.split(r"\[\[post-config\|\$(\w+)_CONF\]\]", LOCAL_CONF.replace(r"\\&", ampersand))
    found = {}
    for name, lines in zip(parts[::2], parts[1::2], strict=True):
        file = tmp_path / f"{name}.conf"
        file.write_text(lines)
        for section, database in FILES[name].items():
            engine = create_engine(connection_of(file, section))
            assert engine.url == make_url(f"mysql+pymysql://root:sa@127.0.0.1/{database}?charset=utf8")
            arguments, settings = engine.dialect.create_connect_args(engine.url)
            assert not arguments
            assert settings["charset"] == "utf8"
            found.setdefault(name, {})[section] = settings["database"]
            engine.dispose()
    assert found == FILES


@pytest.mark.parametrize("dollar", ["$$", r"\$"])
@pytest.mark.parametrize("ampersand", AMPERSANDS)
def test_a_password_with_an_escaped_dollar_sign_reaches_the_driver(dollar, ampersand, tmp_path):
    file = tmp_path / "nova.conf"
    url = f"mysql+pymysql_connmon://root:s{dollar}a@127.0.0.1/nova?charset=utf8{ampersand}connmon_service=default"
    file.write_text(f"[database]\nconnection = {url}\n")
    engine = create_engine(connection_of(file))
    assert engine.url == make_url("mysql+pymysql://root:s$a@127.0.0.1/nova?charset=utf8")
    engine.dispose()


#: A line as the seed's, of a database that needs no server.
LINE = "connection = sqlite+connmon:///{folder}/nova.db?timeout=5{ampersand}connmon_addr={address}"


@pytest.mark.parametrize(("ampersand", "quote"), [*((one, "") for one in AMPERSANDS), ("&", '"'), ("&", "'")])
def test_the_lines_of_the_seeds_devstack_work_as_printed(ampersand, quote, node, tmp_path):
    line = LINE.format(folder=tmp_path, address=node.address, ampersand=ampersand)
    name, value = line.split(" = ")
    file = tmp_path / "nova.conf"
    file.write_text(f"[database]\n{name} = {quote}{value}{quote}\n")
    engine = create_engine(connection_of(file))
    assert engine.url.query == {"timeout": "5"}
    connection = engine.raw_connection()
    assert isinstance(connection.driver_connection, sqlite3.Connection)
    wait_until(lambda: node.reports, 20)
    connection.close()
    engine.dispose()
