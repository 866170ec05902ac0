"""The plugin ``collectd``: whose settings are whose, and what a wrong one says."""

import logging
import socket
import subprocess
import sys
import types
import warnings
from typing import Any

import pytest
import sqlalchemy
from sqlalchemy import create_engine, text
from sqlalchemy.exc import ArgumentError
from sqlalchemy.pool import QueuePool

import poolhouse
from poolhouse.errors import SettingError
from poolhouse.instrumentation.engines import require_version
from poolhouse.report import reporter
from poolhouse.report.destination import Destination
from poolhouse.wire.message import ReportDatagram, decode_message
from support.sqlalchemy_truth import FakeStream, Truth

SEED = "mysql+pymysql://user:password@databasehost/dbname?charset=utf8&plugin=collectd"


class Refused(Exception):
    """What the recording driver answers to every attempt."""


class Driver(types.SimpleNamespace):
    """A driver that writes down what it is given, and connects to nothing."""

    paramstyle = "format"
    Error = OperationalError = ProgrammingError = InterfaceError = Refused
    version_info = (2, 0, 12)
    __version__ = "2.0.12"

    def __init__(self) -> None:
        super().__init__()
        self.given: list[tuple[tuple[Any, ...], dict[str, Any]]] = []

    def connect(self, *args: Any, **kwargs: Any) -> None:
        self.given.append((args, kwargs))
        raise Refused


@pytest.fixture
def streams(monkeypatch: pytest.MonkeyPatch) -> dict[Destination, FakeStream]:
    """The streams that were asked for; nothing is sent."""
    made: dict[Destination, FakeStream] = {}
    monkeypatch.setattr(reporter, "stream", lambda destination: made.setdefault(destination, FakeStream()))
    monkeypatch.delenv("POOLHOUSE_REPORT", raising=False)
    return made


@pytest.mark.parametrize(
    ("url", "expected"),
    [
        (SEED, Destination()),
        (
            SEED + "&collectd_host=172.18.5.2&collectd_port=25827",
            Destination(host="172.18.5.2", port=25827),
        ),
        (
            SEED + "&collectd_program_name=nova_api&collectd_host=172.18.5.2",
            Destination(host="172.18.5.2", program_name="nova_api"),
        ),
    ],
)
def test_the_driver_gets_its_own_arguments_only(
    streams: dict[Destination, FakeStream], url: str, expected: Destination
):
    driver = Driver()
    engine = create_engine(url, module=driver)
    with pytest.raises(Refused):
        engine.pool.connect()
    ((args, kwargs),) = driver.given
    plain = Driver()
    with pytest.raises(Refused):
        create_engine(
            "mysql+pymysql://user:password@databasehost/dbname?charset=utf8", module=plain
        ).pool.connect()
    assert (args, kwargs) == plain.given[0]
    assert kwargs["charset"] == "utf8"
    assert list(streams) == [expected]
    (reading,) = [source.read(1) for source in streams[expected].sources]
    assert reading.name == "mysql"  # Nothing has connected yet, so the URL may be a wrong one.
    assert "collectd" not in str(engine.url)


def test_keywords_of_create_engine_are_settings_too(streams: dict[Destination, FakeStream]):
    create_engine(
        "sqlite://",
        plugins=["collectd"],
        collectd_host="collectd.example",
        collectd_port=2,
        collectd_program_name="näme",
        collectd_report_host="web1",
        collectd_interval=1,
        collectd_detail="plain",
    )
    assert list(streams) == [Destination("collectd.example", 2, "näme", "web1", 1.0, "plain")]


def test_every_setting_may_stand_in_the_url(streams: dict[Destination, FakeStream]):
    create_engine(
        "sqlite://?plugin=collectd&collectd_host=h&collectd_port=2&collectd_program_name=p&collectd_report_host=r"
        "&collectd_interval=0.5&collectd_detail=full"
    )
    assert list(streams) == [Destination("h", 2, "p", "r", 0.5, "full")]


@pytest.mark.parametrize("plugin", ["collectd", "poolhouse"])
@pytest.mark.parametrize("prefix", ["collectd_", "poolhouse_"])
def test_both_names_of_the_plugin_know_both_spellings(
    streams: dict[Destination, FakeStream], plugin: str, prefix: str
):
    url = f"mysql+pymysql://u:p@db/shop?plugin={plugin}&{prefix}host=web1&{prefix}skip=acme&{prefix}hold_warning=5"
    driver = Driver()
    engine = create_engine(url, module=driver, **{f"{prefix}port": 7})
    assert [*streams] == [Destination(host="web1", port=7)]
    assert not [name for name in engine.url.query if name.startswith(prefix)]
    with pytest.raises(Refused):
        engine.pool.connect()
    ((_, kwargs),) = driver.given
    assert not [name for name in kwargs if name.startswith(("collectd", "poolhouse"))]


def test_the_two_spellings_may_be_mixed_but_not_for_one_setting(streams: dict[Destination, FakeStream]):
    create_engine(f"{SEED}&collectd_host=web1&poolhouse_port=7", module=Driver())
    assert [*streams] == [Destination(host="web1", port=7)]
    sentence = "poolhouse_host is given too, and counts; remove collectd_host"
    for url, keywords in (
        (f"{SEED}&collectd_host=web1&poolhouse_host=web2", {}),
        (f"{SEED}&poolhouse_host=web1", {"collectd_host": "web2"}),
    ):
        with pytest.raises(ArgumentError, match=sentence):
            create_engine(url, module=Driver(), **keywords)
    with pytest.raises(ArgumentError, match="poolhouse_skip is given too, and counts; remove collectd_skip"):
        create_engine(f"{SEED}&collectd_skip=acme&poolhouse_skip=acme", module=Driver())


def test_both_plugins_on_one_engine_are_one(streams: dict[Destination, FakeStream]):
    engine = create_engine(f"{SEED}&plugin=poolhouse&collectd_host=web1", module=Driver())
    assert [*streams] == [Destination(host="web1")]
    assert "collectd_host" not in engine.url.query


def test_a_wrong_setting_is_named_as_it_was_spelled(streams: dict[Destination, FakeStream]):
    for query, named in (
        ("poolhouse_port=0", "poolhouse_port"),
        ("poolhouse_prot=1", "did you mean poolhouse_port"),
        ("poolhouse_security=sign", "sign needs poolhouse_username too"),
    ):
        with pytest.raises(ArgumentError, match=named):
            create_engine(f"{SEED}&{query}", module=Driver())


def test_a_keyword_counts_more_than_the_url(streams: dict[Destination, FakeStream]):
    create_engine("sqlite://?plugin=collectd&collectd_host=one&collectd_port=1", collectd_host="two")
    assert list(streams) == [Destination("two", 1)]


@pytest.mark.parametrize(
    ("query", "named"),
    [
        ("collectd_port=abc", "collectd_port"),
        ("collectd_port=0", "collectd_port"),
        ("collectd_hots=localhost", "collectd_hots"),
        ("collectd_interval=-1", "collectd_interval"),
        ("collectd_detail=most", "collectd_detail"),
        ("collectd_host=a&collectd_host=b", "collectd_host"),
    ],
)
def test_a_wrong_setting_is_an_argument_error_that_names_it(query: str, named: str):
    with pytest.raises(ArgumentError, match=named):
        create_engine(f"sqlite://?plugin=collectd&{query}")
    if query.count("=") == 1:
        name, value = query.split("=")
        with pytest.raises(ArgumentError, match=named):
            create_engine("sqlite://", plugins=["collectd"], **{name: value})


def test_a_wrong_environment_is_an_argument_error_that_names_it(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("POOLHOUSE_REPORT", "collectd://localhost:abc")
    with pytest.raises(ArgumentError, match="POOLHOUSE_REPORT"):
        create_engine("sqlite://?plugin=collectd")


def test_the_environment_holds_where_no_setting_is(
    streams: dict[Destination, FakeStream], monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setenv("POOLHOUSE_REPORT", "collectd://collectd.example:7/?program_name=shop")
    create_engine("sqlite://?plugin=collectd")
    poolhouse.instrument(create_engine("sqlite://"))
    assert list(streams) == [Destination("collectd.example", 7, "shop")]


HERE = Destination()
ELSEWHERE = "collectd://web1:7/?program_name=shop&interval=5"


@pytest.mark.parametrize(
    ("environment", "told", "settings", "expected"),
    [
        ("", "", {}, HERE),
        ("", "", {"program_name": "nova"}, HERE.replace(program_name="nova")),
        (ELSEWHERE, "", {}, Destination("web1", 7, "shop", interval=5.0)),
        ("", ELSEWHERE, {}, Destination("web1", 7, "shop", interval=5.0)),
        ("collectd://web2/", ELSEWHERE, {}, Destination("web1", 7, "shop", interval=5.0)),
        (ELSEWHERE, "", {"program_name": "nova"}, Destination("web1", 7, "nova", interval=5.0)),
        ("", ELSEWHERE, {"program_name": "nova"}, Destination("web1", 7, "nova", interval=5.0)),
        (ELSEWHERE, "", {"host": "web3"}, Destination("web3", 7, "shop", interval=5.0)),
        (ELSEWHERE, "", {"port": 8, "interval": 2}, Destination("web1", 8, "shop", interval=2.0)),
        (
            ELSEWHERE,
            "",
            {"report_host": "r", "detail": "plain"},
            Destination("web1", 7, "shop", "r", 5.0, "plain"),
        ),
    ],
)
def test_what_an_engine_does_not_say_is_taken_from_report_to_or_the_environment(
    streams: dict[Destination, FakeStream],
    monkeypatch: pytest.MonkeyPatch,
    environment: str,
    told: str,
    settings: dict[str, Any],
    expected: Destination,
):
    monkeypatch.setenv("POOLHOUSE_REPORT", environment)
    monkeypatch.setattr(reporter._reporter(), "default", Destination.from_url(told) if told else None)
    named = {f"collectd_{name}": value for name, value in settings.items()}
    in_url = "&".join(f"{name}={value}" for name, value in named.items())
    create_engine(f"sqlite://?plugin=collectd&{in_url}")
    create_engine("sqlite://", plugins=["collectd"], **named)
    poolhouse.instrument(create_engine("sqlite://"), **settings)
    assert list(streams) == [expected]


def test_a_wrong_environment_is_an_error_of_every_engine_that_is_measured(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("POOLHOUSE_REPORT", "collectd://localhost:abc")
    with pytest.raises(ArgumentError, match="POOLHOUSE_REPORT: port"):
        create_engine("sqlite://?plugin=collectd&collectd_host=web1")
    with pytest.raises(SettingError, match="POOLHOUSE_REPORT: port"):
        poolhouse.instrument(create_engine("sqlite://"), host="web1")


@pytest.mark.parametrize("version", ["1.1.18", "1.3.24", "1.4.23", "1.4.0b1"])
def test_an_old_sqlalchemy_is_refused_in_a_sentence(monkeypatch: pytest.MonkeyPatch, version: str):
    monkeypatch.setattr(sqlalchemy, "__version__", version)
    with pytest.raises(ArgumentError, match=rf"needs SQLAlchemy 1\.4\.24 or later, and this is {version}"):
        create_engine("sqlite://?plugin=collectd")
    with pytest.raises(ArgumentError, match=version):
        poolhouse.instrument(create_engine("sqlite://"))


@pytest.mark.parametrize("version", ["1.4.24", "1.4.54", "2.0.58", "2.1.9", "2.2.0b1", "3.0"])
def test_later_versions_are_not_refused(version: str):
    require_version(version)


def test_named_twice_is_named_once(streams: dict[Destination, FakeStream]):
    """Trap 4. In the URL and in ``plugins=[…]``, and instrumented besides."""
    truth = Truth()
    engine = create_engine(
        "sqlite://?plugin=collectd&plugin=collectd&collectd_port=1",
        plugins=["collectd"],
        connect_args=truth.connect_args,
        poolclass=QueuePool,
    )
    poolhouse.instrument(engine, port=1)
    with engine.begin() as connection:
        connection.execute(text("SELECT 1"))
    (source,) = streams[Destination(port=1)].sources
    counters = source.read(1).counters
    assert (counters.checkouts, counters.connects, counters.transactions, counters.commits) == (1, 1, 1, 1)


def test_named_twice_with_settings_among_the_keywords_keeps_them(streams: dict[Destination, FakeStream]):
    engine = create_engine("sqlite://?plugin=collectd", plugins=["collectd"], collectd_host="one")
    engine.connect().close()
    assert [destination.host for destination, stream in streams.items() if stream.sources] == ["one"]


def test_no_listener_of_ours_warns(streams: dict[Destination, FakeStream]):
    """Trap 17. SQLAlchemy warns of old signatures when an engine is made or first connects."""
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        engine = create_engine("sqlite://?plugin=collectd&collectd_port=1", poolclass=QueuePool)
        with engine.begin() as connection:
            connection.execute(text("SELECT 1"))
            connection.invalidate()
            connection.get_transaction().rollback()
        engine.dispose()
        engine.connect().close()


def test_an_error_while_the_engine_is_made_is_logged_and_goes_no_further(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
):
    def broken(destination: Destination) -> None:
        raise RuntimeError("broken")

    monkeypatch.setattr(reporter, "stream", broken)
    monkeypatch.setattr("poolhouse.instrumentation.guard._logged", set())
    engine = create_engine("sqlite://?plugin=collectd")
    engine.connect().close()
    ours = [record for record in caplog.records if record.name == "poolhouse.instrumentation"]
    assert [record.levelno for record in ours] == [logging.ERROR]


def test_a_pool_that_cannot_be_measured_is_logged_and_works(
    streams: dict[Destination, FakeStream], monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
):
    """As one of a version of SQLAlchemy that does not exist yet."""
    monkeypatch.delattr("sqlalchemy.pool.Pool._return_conn")
    monkeypatch.setattr("poolhouse.instrumentation.guard._logged", set())
    for url in ("sqlite://", "sqlite://?plugin=collectd&collectd_port=1"):
        engine = create_engine(url, poolclass=QueuePool)
        poolhouse.instrument(engine, port=1)
        monkeypatch.setattr(engine.pool, "_return_conn", lambda record: None, raising=False)
        engine.connect().close()
    ours = [record for record in caplog.records if record.name == "poolhouse.instrumentation"]
    assert ours
    assert {record.levelno for record in ours} == {logging.ERROR}


def test_instrument_takes_its_destination_from_its_arguments(streams: dict[Destination, FakeStream]):
    poolhouse.instrument(
        create_engine("sqlite://"),
        host="h",
        port=2,
        program_name="p",
        report_host="r",
        interval=3,
        detail="plain",
    )
    assert list(streams) == [Destination("h", 2, "p", "r", 3.0, "plain")]


def test_instrument_refuses_what_is_wrong():
    with pytest.raises(SettingError, match="port"):
        poolhouse.instrument(create_engine("sqlite://"), port=-1)
    with pytest.raises(TypeError, match="expected an engine of SQLAlchemy, not str"):
        poolhouse.instrument("sqlite://")  # type: ignore[arg-type]


def test_instrument_of_an_option_engine_measures_the_whole_engine(streams: dict[Destination, FakeStream]):
    engine = create_engine("sqlite://")
    poolhouse.instrument(engine.execution_options(compiled_cache=None), port=1)
    with engine.begin() as connection:
        connection.execute(text("SELECT 1"))
    (source,) = streams[Destination(port=1)].sources
    assert source.read(1).counters.commits == 1


def test_secrets_are_in_no_name(streams: dict[Destination, FakeStream]):
    driver = Driver()
    url = "mysql+pymysql://ann:s3cret@db.example:3306/shop?password=s3cret&plugin=collectd"
    with pytest.raises(Refused):
        create_engine(url, module=driver).pool.connect()
    ((source,),) = [stream.sources for stream in streams.values()]
    reading = source.read(1)
    assert reading.name == "mysql"
    assert "s3cret" not in repr(reading)


def test_a_report_arrives():
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as receiver:
        receiver.bind(("127.0.0.1", 0))
        receiver.settimeout(30)
        code = (
            "import sys, sqlalchemy; engine = sqlalchemy.create_engine('sqlite://?plugin=collectd"
            "&collectd_host=127.0.0.1&collectd_program_name=shop', collectd_port=sys.argv[1]); "
            "engine.connect().close()"
        )
        subprocess.run([sys.executable, "-c", code, str(receiver.getsockname()[1])], check=True)
        message = decode_message(receiver.recv(65535))
    assert isinstance(message, ReportDatagram)
    assert message.program == "shop"
    assert message.pool is not None
    assert message.pool.counters.checkouts == 1


def test_importing_the_plugin_needs_neither_greenlet_nor_asyncio():
    code = (
        "import sys; sys.modules['greenlet'] = None; import poolhouse.instrumentation.plugin as plugin; "
        "import sqlalchemy; engine = sqlalchemy.create_engine('sqlite://?plugin=collectd&collectd_port=1'); "
        "engine.connect().close(); sys.exit('sqlalchemy.ext.asyncio' in sys.modules)"
    )
    subprocess.run([sys.executable, "-c", code], check=True)
