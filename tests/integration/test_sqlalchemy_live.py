"""`poolhouse.instrument()` of engines that are in use, behind a proxy, or kept as a pool alone."""

from support.programs import run
from support.receiver import Receiver

#: No second report comes while a test lasts.
NEVER = 3600


def test_threads_that_connect_meanwhile_meet_no_error_of_ours() -> None:
    with Receiver() as receiver:
        output = run(
            """
            import logging, sys, tempfile, threading, poolhouse, sqlalchemy as sa
            logging.getLogger("poolhouse.verdicts").setLevel(logging.CRITICAL)  # An engine a turn is meant.
            sys.setswitchinterval(1e-6)
            port, folder, errors = int(sys.argv[1]), tempfile.mkdtemp(), []
            poolhouse.instrument(sa.create_engine("sqlite://"), host="127.0.0.1", port=port, interval=3600)
            for turn in range(60):
                engine = sa.create_engine(
                    f"sqlite:///{folder}/db", poolclass=sa.pool.QueuePool,
                    connect_args={"check_same_thread": False},
                )
                barrier = threading.Barrier(5)
                def use():
                    barrier.wait()
                    for _ in range(5):
                        try:
                            with engine.connect() as connection:
                                connection.execute(sa.text("select 1"))
                        except Exception as error:
                            errors.append(repr(error))
                def watch():
                    barrier.wait()
                    poolhouse.instrument(engine, host="127.0.0.1", port=port, interval=3600)
                threads = [threading.Thread(target=work) for work in (use, use, use, use, watch)]
                for thread in threads:
                    thread.start()
                for thread in threads:
                    thread.join()
                engine.dispose()
            print(len(errors), errors[:1])
            """,
            str(receiver.port),
        )
        assert output == "0 []\n"


def test_an_engine_behind_a_proxy_is_measured_as_itself() -> None:
    with Receiver() as receiver:
        run(
            """
            import gc, sys, poolhouse, sqlalchemy as sa
            class Proxy:
                __slots__ = ("_wrapped",)
                def __init__(self, wrapped): object.__setattr__(self, "_wrapped", wrapped)
                __class__ = property(lambda self: type(self._wrapped))
                def __getattr__(self, name): return getattr(self._wrapped, name)
                def __hash__(self): return hash(self._wrapped)
                def __eq__(self, other): return self._wrapped == other
            engine = sa.create_engine("sqlite://", poolclass=sa.pool.QueuePool)
            poolhouse.instrument(Proxy(engine), host="127.0.0.1", port=int(sys.argv[1]), interval=3600)
            connection = engine.connect()
            gc.collect()
            assert poolhouse.flush(5)
            connection.close()
            engine.dispose()
            """,
            str(receiver.port),
        )
        told = [report.pool for report in receiver.receive() if report.pool is not None and not report.goodbye]
        assert (told[-1].pools, told[-1].gauges.used, told[-1].counters.disconnects) == (1, 1, 0)


def test_a_pool_whose_engine_nobody_has_kept_is_measured_on() -> None:
    """What `sqlalchemy.create_pool_from_url` returns: it drops the engine at once."""
    with Receiver() as receiver:
        run(
            """
            import gc, sys, poolhouse, sqlalchemy as sa
            engine = sa.create_engine(
                f"sqlite://?plugin=collectd&collectd_host=127.0.0.1&collectd_port={sys.argv[1]}",
                poolclass=sa.pool.QueuePool, collectd_interval=3600,
            )
            pool = engine.pool
            del engine
            gc.collect()
            connections = [pool.connect(), pool.connect()]
            gc.collect()
            assert poolhouse.flush(5)
            for connection in connections:
                connection.close()
            pool.dispose()
            assert poolhouse.flush(5)
            del connection, connections, pool
            gc.collect()
            assert poolhouse.flush(5)
            """,
            str(receiver.port),
        )
        told = [report.pool for report in receiver.receive() if report.pool is not None and not report.goodbye]
        last = {reading.pools: reading for reading in told}
        opened = next(reading for reading in told if reading.gauges.used == 2)
        assert (opened.pools, opened.limits.max_open, opened.counters.disconnects) == (1, 15, 0)
        assert (last[0].counters.connects, last[0].counters.disconnects, last[0].gauges.connections) == (2, 2, 0)
