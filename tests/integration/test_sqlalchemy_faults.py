"""Whatever breaks in the measuring, the application does not notice."""

import gc
import logging
import signal
from typing import Any

import pytest
from sqlalchemy import event, text
from sqlalchemy.exc import OperationalError
from sqlalchemy.exc import TimeoutError as PoolTimeoutError
from sqlalchemy.pool import QueuePool

from poolhouse.instrumentation import guard
from poolhouse.instrumentation.watch import PoolWatch
from poolhouse.meter.reading import Gauges
from support.programs import run
from support.receiver import Receiver
from support.sqlalchemy_truth import FakeStream, Measured

QUEUE = {"poolclass": QueuePool, "pool_size": 1, "max_overflow": 0, "pool_timeout": 0.01}


class Broken:
    """Every use of it fails."""

    def __getattr__(self, name: str) -> Any:
        raise RuntimeError("broken")

    def __call__(self, *args: Any) -> Any:
        raise RuntimeError("broken")

    def __len__(self) -> int:
        raise RuntimeError("broken")


@pytest.fixture(autouse=True)
def nothing_logged_yet(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(guard, "_logged", set())


def use_everything(m: Measured) -> None:
    """What an application does, the errors it expects included."""
    with m.engine.begin() as connection:
        connection.execute(text("SELECT 1"))
        with pytest.raises(PoolTimeoutError):
            m.engine.connect()
    raw = m.engine.raw_connection()
    raw.invalidate()
    raw.close()
    with m.truth.down(), pytest.raises(OperationalError):
        m.engine.connect()
    raw = m.engine.raw_connection()
    raw.detach()
    raw.close()
    m.engine.dispose()
    m.engine.connect().close()


def logged_by_us(caplog: pytest.LogCaptureFixture) -> list[str]:
    return [record.getMessage() for record in caplog.records if record.name == "poolhouse.instrumentation"]


ATTRIBUTES = ["meter", "_records", "_leases", "_lent", "_inherited", "_stream"]


@pytest.mark.parametrize("attribute", ATTRIBUTES)
def test_a_broken_part_costs_the_application_nothing(attribute: str, caplog: pytest.LogCaptureFixture):
    """Trap 18."""
    m = Measured(**QUEUE)
    m.engine.connect().close()
    (source,) = m.stream.sources
    setattr(source, attribute, Broken())
    source._is_settled = source._is_reported = False  # type: ignore[attr-defined]
    with caplog.at_level(logging.ERROR):
        for _ in range(3):
            use_everything(m)
    assert m.truth.open == 1
    kinds = logged_by_us(caplog)
    assert kinds
    assert len(set(kinds)) == len(kinds), "each kind is logged once"


@pytest.mark.parametrize(
    ("step", "kind"),
    [
        ("_settle", "checkout"),
        ("_returned_without_lease", "checkin"),
    ],
)
def test_a_broken_step_of_the_hot_path_is_logged_once_and_the_connection_served(
    step: str, kind: str, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
):
    monkeypatch.setattr(PoolWatch, step, Broken())
    m = Measured(**QUEUE)
    for _ in range(5):
        use_everything(m)
    assert [kind in message for message in logged_by_us(caplog)] == [True]
    assert m.truth.open == 1


def test_errors_of_the_application_itself_are_passed_on_unchanged():
    m = Measured(**QUEUE)
    error = ValueError("mine")

    def refuse(*args: object) -> None:
        raise error

    event.listen(m.engine, "checkout", refuse)
    with pytest.raises(ValueError, match="mine") as caught:
        m.engine.connect()
    assert caught.value is error
    assert error.__context__ is None


@pytest.mark.parametrize("kind", [KeyboardInterrupt, SystemExit, GeneratorExit])
def test_an_interrupted_caller_is_interrupted_and_waits_no_more(kind: type[BaseException]):
    m = Measured(**QUEUE)

    def interrupt(*args: object) -> None:
        raise kind

    event.listen(m.engine, "checkout", interrupt)
    with pytest.raises(kind):
        m.engine.raw_connection()
    gc.collect()
    reading = m.read()
    assert reading.gauges.waiting == 0
    assert reading.counters.acquire_errors == 1


def test_an_interrupt_that_comes_before_anything_is_asked_for_leaves_nobody_waiting(
    monkeypatch: pytest.MonkeyPatch,
):
    class Interrupted(dict[Any, float]):
        """As a signal does whose handler runs right after the caller is known to wait."""

        def __setitem__(self, holder: Any, since: float) -> None:
            super().__setitem__(holder, since)
            raise KeyboardInterrupt

    m = Measured(**QUEUE)
    m.engine.connect().close()
    (source,) = m.stream.sources
    monkeypatch.setattr(source, "_waiting", Interrupted())
    m.engine.dispose()  # The next pool is wrapped anew.
    with pytest.raises(KeyboardInterrupt):
        m.engine.connect()
    assert m.read().gauges.waiting == 0


def test_a_pool_says_in_the_log_which_one_it_is():
    source = PoolWatch("db.example:5432/shop", "QueuePool", FakeStream())
    assert repr(source) == "<PoolWatch QueuePool 'db.example:5432/shop'>"


def test_a_connection_that_a_listener_refused_is_not_counted_for_ever():
    """Trap 7. It was open for a moment, and it ended."""
    m = Measured(**QUEUE)

    def refuse(*args: object) -> None:
        raise ValueError

    event.listen(m.engine, "connect", refuse)
    for _ in range(3):
        with pytest.raises(ValueError):
            m.engine.connect()
    gc.collect()
    reading = m.read()
    assert reading.gauges == Gauges(idle=m.truth.open) == Gauges()
    assert (reading.counters.connects, reading.counters.disconnects) == (3, 3)


def test_a_program_without_a_descriptor_left_goes_on_and_reports_when_it_has_one_again():
    with Receiver() as receiver:
        output = run(
            """
            import logging, os, resource, sys
            from sqlalchemy import create_engine
            from support.waiting import wait_until
            told = []
            class Handler(logging.Handler):
                def emit(self, record):
                    told.append(record.getMessage())
            logging.getLogger().addHandler(Handler(logging.WARNING))
            engine = create_engine(
                f"sqlite://?plugin=collectd&collectd_port={sys.argv[1]}",
                collectd_host="127.0.0.1", collectd_interval=0.1,
            )
            create_engine("sqlite://").connect().close()  # What is imported late is imported now.
            resource.setrlimit(resource.RLIMIT_NOFILE, (64, 64))
            taken = []
            try:
                while True:
                    taken.append(os.open("/dev/null", os.O_RDONLY))
            except OSError:
                pass
            engine.connect().close()
            wait_until(lambda: told)
            for descriptor in taken:
                os.close(descriptor)
            for _ in range(3):
                engine.connect().close()
            print(*told, sep="\\n")
            """,
            str(receiver.port),
        )
        why = "[Errno 24] Too many open files; it will keep retrying"
        assert output == f"poolhouse cannot report to 127.0.0.1 port {receiver.port}: {why}\n"
        (token,) = receiver.tokens()
        assert receiver.checkouts(token) == 4


def test_pythons_development_mode_has_nothing_to_complain_of():
    with Receiver() as receiver:
        run(
            """
            import os, sys, threading
            from sqlalchemy import create_engine, text
            from sqlalchemy.pool import QueuePool
            engine = create_engine(
                f"sqlite://?plugin=collectd&collectd_port={sys.argv[1]}", poolclass=QueuePool,
                collectd_host="127.0.0.1", collectd_interval=0.1, connect_args={"check_same_thread": False},
            )
            def work():
                for _ in range(25):
                    with engine.begin() as connection:
                        connection.execute(text("SELECT 1"))
            threads = [threading.Thread(target=work) for _ in range(4)]
            for thread in threads: thread.start()
            for thread in threads: thread.join()
            if (pid := os.fork()) == 0:
                engine.dispose(close=False)
                work()
                engine.dispose()
                sys.exit()
            assert os.waitpid(pid, 0)[1] == 0
            engine.dispose()
            """,
            str(receiver.port),
            options=("-X", "dev", "-W", "error"),
        )
        assert sorted(receiver.checkouts(token) for token in receiver.tokens()) == [25, 100]
        assert receiver.goodbyes() == set(receiver.tokens())


class SoftLimit(Exception):
    """As Celery and RQ raise, in the handler of a signal, in a task that takes too long."""


class Struck(list[float]):
    """A signal comes as something is appended."""

    def append(self, value: float) -> None:
        super().append(value)
        signal.raise_signal(signal.SIGUSR1)


@pytest.mark.parametrize("step", ["checkout", "checkin", "connect"])
def test_a_task_that_is_to_stop_is_stopped_in_the_measuring_too(step: str):
    def stop(number: int, interrupted: object) -> None:
        raise SoftLimit

    m = Measured(**QUEUE)
    m.engine.connect().close()
    (source,) = m.stream.sources
    assert isinstance(source, PoolWatch)
    used = m.engine.raw_connection()
    if step == "checkin":
        source._leases[used._connection_record][2].ended = Struck().append
    else:
        used.invalidate() if step == "connect" else used.close()
        name = "creates" if step == "connect" else "waits"
        setattr(source.meter, name, Struck())
        m.engine.dispose()  # The next pool is wrapped anew.
    before = signal.signal(signal.SIGUSR1, stop)
    with pytest.raises(SoftLimit):
        used.close() if step == "checkin" else m.engine.raw_connection()
    signal.signal(signal.SIGUSR1, before)
    gc.collect()
    assert m.engine.pool.checkedout() == 0
