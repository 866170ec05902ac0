"""What every pool does: cases for `support.pool_shells.Shell`.

Ours and psycopg_pool agree on the timeless and the timed ones; the third kind is about what ours does otherwise,
or alone.
"""

import logging
from collections.abc import Callable
from typing import Any

import psycopg
import pytest

from poolhouse.pool.hooks import PoolHooks
from poolhouse.pool.jobs import Reason
from support.pool_shells import Case, Shell

TIMELESS: list[Case] = []
TIMED: list[Case] = []
OWN: list[Case] = []

# The oracle's own log is not under test.
logging.getLogger("psycopg.pool").setLevel(logging.CRITICAL)


def timeless(case: Case) -> Case:
    """A case in which nothing depends on how long anything takes: ours and psycopg_pool agree."""
    TIMELESS.append(case)
    return case


def timed(case: Case) -> Case:
    """A case about durations on which ours and psycopg_pool agree: short enough for real time, with room in it."""
    TIMED.append(case)
    return case


def own(case: Case) -> Case:
    """A case in which ours is meant to differ, or takes hours: ours only, in virtual time."""
    OWN.append(case)
    return case


def _stats(pool: object, *names: str) -> list[int]:
    stats = pool.get_stats()
    return [stats.get(name, 0) for name in names]


# -- Life cycle -----------------------------------------------------------------------------------------------


@timeless
async def an_opened_pool_has_min_size_connections(s: Shell) -> None:
    pool = await s.opened(min_size=2)
    assert _stats(pool, "pool_min", "pool_max", "pool_size", "pool_available") == [2, 2, 2, 2]
    assert (pool.min_size, pool.max_size, pool.closed) == (2, 2, False)


@timeless
async def a_pool_that_is_not_open_refuses(s: Shell) -> None:
    pool = s.pool(name="mine")
    assert pool.closed
    with pytest.raises(psycopg.OperationalError, match="the pool 'mine' is not open yet"):
        await s.call(pool.getconn)


@timeless
async def a_closed_pool_refuses_for_good(s: Shell) -> None:
    pool = await s.opened(min_size=1)
    await s.call(pool.close)
    await s.call(pool.close)
    assert pool.closed
    for method in (pool.getconn, pool.wait):
        with pytest.raises(psycopg.OperationalError, match="is already closed"):
            await s.call(method)
    with pytest.raises(psycopg.OperationalError, match="cannot be reused"):
        await s.call(pool.open)


@timeless
async def closing_a_pool_that_was_not_opened_does_nothing(s: Shell) -> None:
    pool = s.pool(min_size=1)
    await s.call(pool.close)
    await s.call(pool.open, wait=True)
    await s.use(pool)
    assert not pool.closed


@timeless
async def opening_twice_does_nothing(s: Shell) -> None:
    pool = await s.opened(min_size=1)
    await s.call(pool.open)
    await s.settle()
    assert len(s.made) == 1


@timeless
async def closing_closes_what_is_idle_and_later_what_is_out(s: Shell) -> None:
    pool = await s.opened(min_size=2)
    conn = await s.call(pool.getconn)
    await s.call(pool.close)
    await s.settle()
    assert [made.closed for made in s.made if made is not conn] == [True]
    assert not conn.closed
    await s.call(pool.putconn, conn)
    assert conn.closed


@timeless
async def as_a_context_a_pool_is_open_inside_and_closed_afterwards(s: Shell) -> None:
    pool = s.pool(min_size=1)

    async def works(entered: object) -> None:
        assert entered is pool
        assert not pool.closed
        await s.use(pool, timeout=5.0)

    await s.within(pool, works)
    await s.settle()
    assert pool.closed
    assert [conn.closed for conn in s.made] == [True]

    pool = await s.opened(min_size=1)

    async def fails(entered: object) -> None:
        raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        await s.within(pool, fails)
    assert pool.closed


@timed
async def wait_lasts_until_min_size_connections_are_idle_again(s: Shell) -> None:
    pool = await s.opened(min_size=2, max_size=3)
    conn = await s.call(pool.getconn)

    async def gives_back() -> None:
        await s.sleep(0.2)
        await s.call(pool.putconn, conn)

    client = s.spawn(gives_back())
    began = s.clock.monotonic()
    await s.call(pool.wait, 5.0)
    assert 0.19 <= s.clock.monotonic() - began <= 0.4
    assert _stats(pool, "pool_size", "pool_available") == [2, 2]
    await client.result()

    held = [await s.call(pool.getconn) for _ in range(3)]
    await s.call(pool.putconn, held.pop())
    await s.call(pool.putconn, held.pop())
    began = s.clock.monotonic()
    await s.call(pool.wait, 5.0)
    assert s.clock.monotonic() - began <= 0.2, "two of three are idle, which is all that it asks for"
    await s.call(pool.putconn, held.pop())


@timed
async def wait_lasts_until_a_returned_connection_is_reset(s: Shell) -> None:
    pool = await s.opened(min_size=1, reset=s.slow_callback(0.2))
    await s.use(pool)
    began = s.clock.monotonic()
    await s.call(pool.wait, 5.0)
    assert 0.19 <= s.clock.monotonic() - began <= 0.4
    assert _stats(pool, "pool_available") == [1]


@timed
async def wait_lasts_until_lost_and_missing_connections_are_replaced(s: Shell) -> None:
    pool = await s.opened(min_size=1)
    await s.use(pool, lambda conn: conn._closed())
    await s.call(pool.wait, 5.0)
    assert _stats(pool, "pool_available", "returns_bad") == [1, 1]
    await s.call(pool.resize, 3, 3)
    await s.call(pool.wait, 5.0)
    assert _stats(pool, "pool_available") == [3]
    await s.call(pool.drain)
    await s.call(pool.wait, 5.0)
    assert _stats(pool, "pool_available") == [3]


@timed
async def wait_does_not_wait_for_what_is_there(s: Shell) -> None:
    pool = await s.opened(min_size=1)
    for timeout in (0, -1, None, float("inf"), 0.0001):
        await s.call(pool.wait, timeout)
    pool = s.pool(min_size=0, max_size=1)
    await s.call(pool.open)
    await s.call(pool.wait, 5.0)
    assert _stats(pool, "pool_size") == [0]


@timed
async def wait_tells_that_a_connection_did_not_come_back_in_time(s: Shell) -> None:
    pool = await s.opened(min_size=2)
    conn = await s.call(pool.getconn)
    with pytest.raises(psycopg.OperationalError, match=r"^pool initialization incomplete after 0\.2 sec"):
        await s.call(pool.wait, 0.2)
    await s.call(pool.putconn, conn)


@own
async def a_pool_that_serves_is_not_closed_because_wait_has_an_end(s: Shell) -> None:
    # psycopg_pool closes the pool under its clients.
    pool = await s.opened(min_size=2)
    conn = await s.call(pool.getconn)
    with pytest.raises(psycopg.OperationalError, match=r"0\.5 sec: 1 of 2 idle, 1 in use; oldest held 0\.5 s by "):
        await s.call(pool.wait, 0.5)
    assert not pool.closed
    await s.call(pool.putconn, conn)
    await s.call(pool.wait, 0.5)
    await s.use(pool)
    with pytest.raises(ValueError, match="timeout must be a number of seconds, not nan"):
        await s.call(pool.wait, float("nan"))


@own
async def closing_ends_a_wait_for_the_pool_to_be_full(s: Shell) -> None:
    pool = await s.opened(min_size=1)
    conn = await s.call(pool.getconn)
    waiting = s.spawn(s.call(pool.wait, 5.0))
    await s.sleep(0.1)
    began = s.clock.monotonic()
    await s.call(pool.close, timeout=0)
    with pytest.raises(psycopg.OperationalError, match="already closed"):
        await waiting.result()
    assert s.clock.monotonic() - began <= 0.01
    await s.call(pool.putconn, conn)


@own
async def a_pool_that_is_not_open_has_no_connections(s: Shell) -> None:
    pool = s.pool(min_size=2)
    assert _stats(pool, "pool_min", "pool_size", "pool_available") == [2, 0, 0]


@own
async def without_a_limit_nothing_expires_or_shrinks(s: Shell) -> None:
    # As in HikariCP, 0 is no limit; jackc/pgx#2574: where it was none, each connection was expired at birth.
    for limit in (0, float("inf")):
        pool = await s.opened(min_size=1, max_size=2, max_lifetime=limit, max_idle=limit)
        held = [await s.call(pool.getconn) for _ in range(2)]
        for conn in held:
            await s.call(pool.putconn, conn)
        made = len(s.made)
        await s.sleep(30 * 86400.0)
        assert len(s.made) == made
        assert _stats(pool, "pool_size", "pool_available") == [2, 2]
        await s.use(pool)
        assert len(s.made) == made


@own
async def a_short_lifetime_does_not_keep_an_idle_pool_connecting(s: Shell) -> None:
    for lifetime in (0.001, 0.05):
        pool = await s.opened(min_size=2, max_lifetime=lifetime)
        before = len(s.made)
        await s.sleep(10.0)
        assert len(s.made) - before <= 2 * 11, "each is replaced once a second at most"
        began = s.clock.monotonic()
        first = await s.use(pool, timeout=1.0)
        assert s.clock.monotonic() - began <= 0.1, "a client is served at once all the same"
        await s.sleep(lifetime)
        assert await s.use(pool, timeout=1.0) is not first
        await s.call(pool.close)


@own
async def a_short_max_idle_does_not_keep_the_pool_looking(s: Shell) -> None:
    pool = await s.opened(min_size=1, max_size=2, max_idle=1e-9)
    held = [await s.call(pool.getconn) for _ in range(2)]
    looked: list[float] = []
    tick = type(pool._core).tick

    def counting(core: Any, now: float) -> None:
        looked.append(now)
        tick(core, now)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(type(pool._core), "tick", counting)
        await s.sleep(10.0)
    assert len(looked) <= 10.0 / 0.1 + 2, "`maintenance.LOOK_PAUSE`"
    for conn in held:
        await s.call(pool.putconn, conn)


@own
async def several_may_wait_for_a_pool_to_be_full_and_clients_pay_nothing_afterwards(s: Shell) -> None:
    pool = await s.opened(min_size=1)
    conn = await s.call(pool.getconn)
    waiting = [s.spawn(s.call(pool.wait, 5.0)) for _ in range(3)]
    late = s.spawn(s.call(pool.wait, 0.1))
    await s.sleep(0.2)
    with pytest.raises(psycopg.OperationalError, match="incomplete"):
        await late.result()
    await s.call(pool.putconn, conn)
    for each in waiting:
        await each.result()
    assert not pool._core.attention, "the fast path is open again"


@timeless
async def closing_refuses_those_who_wait(s: Shell) -> None:
    pool = await s.opened(min_size=1)
    conn = await s.call(pool.getconn)
    client = s.spawn(s.call(pool.getconn, timeout=10.0))
    await s.settle()
    await s.call(pool.close)
    with pytest.raises(psycopg.OperationalError, match=r"the pool 'pool-\d+' is closed$"):
        await client.result()
    await s.call(pool.putconn, conn)


@timed
async def what_connects_while_the_pool_is_closed_is_closed_too(s: Shell) -> None:
    # psycopg/psycopg#784, #786: connections that were in the pool after it was closed.
    s.connection_class.connect_s = 0.4
    pool = s.pool(min_size=2)
    await s.call(pool.open)
    await s.sleep(0.1)
    await s.call(pool.close, timeout=0.1)
    await s.sleep(1.0)
    assert all(conn.closed for conn in s.made)
    assert _stats(pool, "pool_available") == [0]


@timeless
async def names_are_given_or_numbered(s: Shell) -> None:
    assert s.pool(name="mine").name == "mine"
    assert s.pool().name.startswith("pool-")


# -- Arguments ------------------------------------------------------------------------------------------------


@timeless
async def impossible_sizes_are_refused(s: Shell) -> None:
    for parameters, text in [
        ({"min_size": -1}, "min_size cannot be negative"),
        ({"min_size": 4, "max_size": 2}, "max_size must be greater or equal than min_size"),
        ({"min_size": 0}, "if min_size is 0 max_size must be greater than 0"),
        ({"num_workers": 0}, "num_workers must be at least 1"),
        ({"kind": "null", "min_size": 1}, "null pools must have min_size = 0"),
    ]:
        with pytest.raises(ValueError, match=text):
            s.pool(**parameters)


@timeless
async def connections_are_made_with_conninfo_and_kwargs(s: Shell) -> None:
    await s.opened(conninfo="dbname=shop", kwargs={"autocommit": True}, min_size=1)
    assert (s.made[0].conninfo, s.made[0].kwargs) == ("dbname=shop", {"autocommit": True})


@timeless
async def conninfo_and_kwargs_may_be_callables(s: Shell) -> None:
    await s.opened(conninfo=lambda: "dbname=shop", kwargs=lambda: {"a": 1}, min_size=1)
    assert (s.made[0].conninfo, s.made[0].kwargs) == ("dbname=shop", {"a": 1})
    # Coroutine functions too, in pools for asyncio.
    await s.opened(conninfo=s.supplier("dbname=mall"), kwargs=s.supplier({"b": 2}), min_size=1)
    assert (s.made[1].conninfo, s.made[1].kwargs) == ("dbname=mall", {"b": 2})


# -- Getting and giving back ----------------------------------------------------------------------------------


@timeless
async def a_connection_knows_its_pool_while_it_is_out(s: Shell) -> None:
    pool = await s.opened(min_size=1)
    conn = await s.call(pool.getconn)
    assert conn._pool is pool
    await s.call(pool.putconn, conn)
    assert conn._pool is None


@timeless
async def a_connection_can_be_given_back_once_only(s: Shell) -> None:
    pool = await s.opened(min_size=1, name="mine")
    conn = await s.call(pool.getconn)
    await s.call(pool.putconn, conn)
    with pytest.raises(ValueError, match="can't return connection to pool 'mine', it doesn't come from any pool"):
        await s.call(pool.putconn, conn)


@timeless
async def what_is_no_connection_is_refused_in_the_same_words(s: Shell) -> None:
    pool = await s.opened(min_size=1, name="mine")
    for nothing in (None, object()):
        with pytest.raises(
            ValueError, match="can't return connection to pool 'mine', it doesn't come from any pool"
        ):
            await s.call(pool.putconn, nothing)


@timeless
async def another_pools_connection_is_refused(s: Shell) -> None:
    pool, other = await s.opened(min_size=1, name="mine"), await s.opened(min_size=1, name="other")
    conn = await s.call(other.getconn)
    with pytest.raises(ValueError, match="can't return connection to pool 'mine', it comes from pool 'other'"):
        await s.call(pool.putconn, conn)
    await s.call(other.putconn, conn)


@timeless
async def idle_connections_are_taken_in_turn(s: Shell) -> None:
    pool = await s.opened(min_size=3)
    taken = [await s.use(pool) for _ in range(6)]
    assert taken[:3] == taken[3:]
    assert len(set(taken)) == 3


@timeless
async def those_who_wait_are_served_in_order(s: Shell) -> None:
    pool = await s.opened(min_size=1)
    conn = await s.call(pool.getconn)
    served: list[int] = []

    async def client(number: int) -> None:
        mine = await s.call(pool.getconn, timeout=10.0)
        served.append(number)
        await s.call(pool.putconn, mine)

    clients = []
    for number in range(5):
        clients.append(s.spawn(client(number)))
        await s.settle()
    assert _stats(pool, "requests_waiting") == [5]
    await s.call(pool.putconn, conn)
    for each in clients:
        await each.result()
    assert served == [0, 1, 2, 3, 4]
    assert _stats(pool, "requests_waiting", "requests_queued") == [0, 5]


@timeless
async def no_more_may_wait_than_max_waiting(s: Shell) -> None:
    pool = await s.opened(min_size=1, max_waiting=1, name="mine")
    conn = await s.call(pool.getconn)
    client = s.spawn(s.call(pool.getconn, timeout=10.0))
    await s.settle()
    with pytest.raises(psycopg.OperationalError, match="the pool 'mine' has already 1 requests waiting"):
        await s.call(pool.getconn)
    await s.call(pool.putconn, conn)
    assert await client.result() is conn
    await s.call(pool.putconn, conn)
    assert _stats(pool, "requests_errors", "requests_num", "requests_queued") == [1, 3, 1]


@timeless
async def a_client_that_waits_too_long_is_told(s: Shell) -> None:
    pool = await s.opened(min_size=1)
    conn = await s.call(pool.getconn)
    with pytest.raises(psycopg.OperationalError, match=r"0\.05|incomplete"):
        await s.call(pool.getconn, timeout=0.05)
    await s.call(pool.putconn, conn)
    assert _stats(pool, "requests_errors", "requests_queued", "requests_num") == [1, 1, 2]


# -- Transactions ---------------------------------------------------------------------------------------------


@timeless
async def the_end_of_a_block_commits(s: Shell) -> None:
    pool = await s.opened(min_size=1)
    conn = await s.use(pool, lambda conn: conn.begin())
    assert "commit" in conn.calls
    assert conn.pgconn.transaction_status == 0


@timeless
async def an_exception_in_a_block_rolls_back_and_goes_on(s: Shell) -> None:
    pool = await s.opened(min_size=1)

    def fail(conn: object) -> None:
        conn.begin()
        raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        await s.use(pool, fail)
    assert "rollback" in s.made[0].calls
    assert _stats(pool, "pool_available", "returns_bad") == [1, 0]


@timeless
async def what_comes_back_in_a_transaction_is_rolled_back(s: Shell) -> None:
    pool = await s.opened(min_size=1)
    conn = await s.call(pool.getconn)
    conn.begin()
    await s.call(pool.putconn, conn)
    await s.settle()
    assert conn.calls == ["rollback"]
    assert _stats(pool, "pool_available", "returns_bad") == [1, 0]


@timeless
async def what_comes_back_closed_is_replaced(s: Shell) -> None:
    pool = await s.opened(min_size=1)
    conn = await s.call(pool.getconn)
    await s.call(conn.close)
    await s.call(pool.putconn, conn)
    await s.settle()
    assert _stats(pool, "pool_size", "pool_available", "returns_bad", "connections_num") == [1, 1, 1, 2]


@timeless
async def what_is_lost_is_replaced_in_a_pool_that_has_grown_too(s: Shell) -> None:
    pool = await s.opened(min_size=1, max_size=3)
    conns = [await s.call(pool.getconn) for _ in range(3)]
    conns[0]._closed()
    for conn in conns:
        await s.call(pool.putconn, conn)
    await s.settle()
    assert _stats(pool, "pool_size", "pool_available", "connections_num") == [3, 3, 4]


@timeless
async def what_comes_back_in_the_middle_of_a_command_is_closed(s: Shell) -> None:
    pool = await s.opened(min_size=1)
    conn = await s.call(pool.getconn)
    conn.pgconn.transaction_status = 1
    await s.call(pool.putconn, conn)
    await s.settle()
    assert conn.closed
    assert _stats(pool, "pool_available", "returns_bad") == [1, 1]


# -- Callbacks ------------------------------------------------------------------------------------------------


@timeless
async def new_connections_are_configured(s: Shell) -> None:
    await s.opened(min_size=2, configure=s.callback(lambda conn: conn.calls.append("configure")))
    assert [conn.calls for conn in s.made] == [["configure"], ["configure"]]


@timeless
async def a_connection_that_configure_leaves_in_a_transaction_is_not_used(s: Shell) -> None:
    pool = s.pool(min_size=1, configure=s.callback(lambda conn: conn.begin()))
    await s.call(pool.open)
    await s.settle()
    assert _stats(pool, "pool_available") == [0]
    assert all(conn.closed for conn in s.made) or not s.is_ours


@timeless
async def returned_connections_are_reset(s: Shell) -> None:
    states: list[int] = []

    def reset(conn: object) -> None:
        states.append(conn.pgconn.transaction_status)

    pool = await s.opened(min_size=1, reset=s.callback(reset))
    conn = await s.call(pool.getconn)
    conn.begin()
    await s.call(pool.putconn, conn)
    await s.settle()
    assert states == [0]
    assert _stats(pool, "pool_available") == [1]


@timed
async def a_reset_does_not_hold_up_who_gives_back(s: Shell) -> None:
    pool = await s.opened(min_size=1, reset=s.slow_callback(0.5))
    began = s.clock.monotonic()
    conn = await s.call(pool.getconn)
    await s.call(pool.putconn, conn)
    assert s.clock.monotonic() - began < 0.4
    assert await s.call(pool.getconn, timeout=10.0) is conn
    assert s.clock.monotonic() - began >= 0.5
    await s.call(pool.putconn, conn)


@own
async def a_reset_may_be_done_by_who_gives_back(s: Shell) -> None:
    pool = await s.opened(min_size=1, reset=s.slow_callback(0.5), reset_inline=True)
    conn = await s.call(pool.getconn)
    began = s.clock.monotonic()
    await s.call(pool.putconn, conn)
    assert s.clock.monotonic() - began >= 0.5
    assert await s.call(pool.getconn, timeout=0) is conn
    await s.call(pool.putconn, conn)


@own
async def callbacks_may_be_functions_in_every_pool(s: Shell) -> None:
    called: list[str] = []
    pool = await s.opened(
        min_size=1,
        configure=lambda conn: called.append("configure"),
        check=lambda conn: called.append("check"),
        reset=lambda conn: called.append("reset"),
    )
    await s.use(pool)
    await s.settle()
    assert called == ["configure", "check", "reset"]


@own
async def hooks_are_told_of_every_event(s: Shell) -> None:
    told: list[tuple[object, ...]] = []
    hooks = PoolHooks(
        connected=lambda conn, took: told.append(("connected", conn.number, round(took, 3))),
        acquired=lambda conn, waited, size, idle: told.append(("acquired", round(waited, 3), size, idle)),
        released=lambda conn, used: told.append(("released", conn.number, round(used, 3))),
        timed_out=lambda waited: told.append(("timed out", round(waited, 3))),
        closed=lambda conn, reason: told.append(("closed", conn.number, reason)),
    )
    s.connection_class.connect_s = 0.5
    pool = await s.opened(min_size=1, hooks=hooks)
    conn = await s.call(pool.getconn)
    with pytest.raises(psycopg.OperationalError):
        await s.call(pool.getconn, timeout=0.25)
    client = s.spawn(s.use(pool))
    await s.sleep(1.75)
    await s.call(pool.putconn, conn)
    await client.result()
    await s.call(pool.close)
    assert told == [
        ("connected", 1, 0.5),
        ("acquired", 0.0, 1, 0),
        ("timed out", 0.25),
        ("released", 1, 2.0),
        ("acquired", 1.75, 1, 0),
        ("released", 1, 0.0),
        ("closed", 1, Reason.CLOSED),
    ]


@own
async def a_hook_may_use_the_pool_and_what_it_raises_changes_nothing(s: Shell) -> None:
    told: list[str] = []

    def hook(name: str) -> Callable[..., None]:
        def look(*event: object) -> None:
            # With the pool's lock held, this would never end.
            told.append(name)
            stats = pool.get_stats()
            pool.holders()
            assert stats["pool_size"] <= 1
            raise ValueError(name)

        return look

    names = ("connected", "acquired", "released", "timed_out", "closed")
    pool = s.pool(min_size=1, hooks=PoolHooks(**{name: hook(name) for name in names}))
    await s.call(pool.open)
    await s.call(pool.wait)
    conn = await s.call(pool.getconn)
    with pytest.raises(psycopg.OperationalError, match="couldn't get a connection after"):
        await s.call(pool.getconn, timeout=0.25)
    conn._closed()
    await s.call(pool.putconn, conn)
    await s.settle()
    await s.use(pool)
    assert set(told) == set(names)
    assert _stats(pool, "pool_size", "pool_available", "returns_bad") == [1, 1, 1]


@own
async def hooks_are_told_why_a_connection_is_closed(s: Shell) -> None:
    reasons: list[Reason] = []
    hooks = PoolHooks(closed=lambda conn, reason: reasons.append(reason))

    async def loses(why: Reason, spoil: Callable[[Any, Any], Any], kind: str = "", **parameters: Any) -> None:
        pool = await s.opened(kind, hooks=hooks, **({"min_size": 1, "max_size": 2} | parameters))
        reasons.clear()
        await spoil(pool, await s.call(pool.getconn))
        await s.settle()
        assert reasons[0] is why, (why, reasons)
        await s.call(pool.close)

    async def breaks(pool: Any, conn: Any) -> None:
        conn._closed()
        await s.call(pool.putconn, conn)

    async def fails_its_check(pool: Any, conn: Any) -> None:
        await s.call(pool.putconn, conn)
        conn.is_dead = True
        await s.call(pool.check)

    async def is_drained(pool: Any, conn: Any) -> None:
        await s.call(pool.drain)
        await s.call(pool.putconn, conn)

    async def lives_on(pool: Any, conn: Any) -> None:
        await s.call(pool.putconn, conn)
        await s.sleep(100.0)

    async def is_one_too_many(pool: Any, conn: Any) -> None:
        other = await s.call(pool.getconn)
        for each in (conn, other):
            await s.call(pool.putconn, each)
        await s.sleep(100.0)

    async def comes_back(pool: Any, conn: Any) -> None:
        await s.call(pool.putconn, conn)

    def fail(conn: object) -> None:
        raise ValueError("no")

    await loses(Reason.BROKEN, breaks)
    await loses(Reason.LOST, fails_its_check)
    await loses(Reason.DRAINED, is_drained)
    await loses(Reason.EXPIRED, lives_on, max_lifetime=50.0)
    await loses(Reason.SHRUNK, is_one_too_many, max_idle=30.0)
    await loses(Reason.RESET_FAILED, comes_back, reset=s.callback(fail))
    await loses(Reason.NOT_KEPT, comes_back, "null", min_size=0)


@own
async def pools_show_their_state(s: Shell) -> None:
    names = {"": type(s.pool()).__name__, "null": type(s.pool("null")).__name__}
    pool = s.pool(min_size=2, name="mine")
    assert repr(pool) == f"<{names['']} 'mine' (not open): 0 used, 0 idle, 0 waiting, max 2>"
    s.connection_class.connect_s = 1.0
    await s.call(pool.open)
    await s.sleep(0.5)
    assert repr(pool) == f"<{names['']} 'mine': 0 used, 0 idle, 2 connecting, 0 waiting, max 2>"
    await s.sleep(1.0)
    conns = [await s.call(pool.getconn) for _ in range(2)]
    client = s.spawn(s.call(pool.getconn))
    await s.settle()
    assert repr(pool) == f"<{names['']} 'mine': 2 used, 0 idle, 1 waiting, max 2>"
    for conn in conns:
        await s.call(pool.putconn, conn)
    await s.call(pool.putconn, await client.result())
    await s.call(pool.close)
    assert repr(pool) == f"<{names['']} 'mine' (closed): 0 used, 0 idle, 0 waiting, max 2>"
    pool = await s.opened("null", name="other")
    assert repr(pool) == f"<{names['null']} 'other': 0 used, 0 idle, 0 waiting, max unlimited>"


@timeless
async def a_connection_that_reset_fails_on_is_replaced(s: Shell) -> None:
    def reset(conn: object) -> None:
        raise ValueError("no")

    pool = await s.opened(min_size=1, reset=s.callback(reset))
    conn = await s.use(pool)
    await s.settle()
    assert conn.closed
    assert _stats(pool, "pool_available", "returns_bad", "connections_num") == [1, 1, 2]


@timeless
async def connections_are_checked_before_they_are_served(s: Shell) -> None:
    pool = await s.opened(min_size=1, check=s.callback(lambda conn: conn.calls.append("check")))
    conn = await s.call(pool.getconn)
    assert conn.calls == ["check"]
    await s.call(pool.putconn, conn)


@timeless
async def connections_of_null_pools_are_checked_new_ones_too(s: Shell) -> None:
    pool = await s.opened("null", max_size=1, check=s.callback(lambda conn: conn.calls.append("check")))
    conn = await s.call(pool.getconn)
    assert conn.calls == ["check"]
    client = s.spawn(s.call(pool.getconn, timeout=10.0))
    await s.settle()
    await s.call(pool.putconn, conn)
    assert await client.result() is conn
    assert conn.calls == ["check", "check"]
    await s.call(pool.putconn, conn)


@own
async def a_null_pool_whose_connections_fail_their_check_does_not_connect_as_fast_as_it_can(s: Shell) -> None:
    def fail(conn: object) -> None:
        raise OSError("takes no writes")

    pool = await s.opened("null", max_size=1, check=s.callback(fail))
    with pytest.raises(psycopg.OperationalError, match="takes no writes"):
        await s.call(pool.getconn, timeout=1.0)
    assert 1.0 / 0.08 <= len(s.made) <= 1.0 / 0.08 + 2
    assert all(conn.closed for conn in s.made)
    assert _stats(pool, "pool_size", "requests_errors", "connections_lost") == [0, 1, len(s.made)]


@own
async def with_check_idle_a_null_pools_new_connections_are_not_checked(s: Shell) -> None:
    pool = await s.opened("null", check=s.callback(lambda conn: conn.calls.append("check")), check_idle=5.0)
    assert "check" not in (await s.use(pool)).calls


@timeless
async def what_fails_its_check_is_not_served(s: Shell) -> None:
    # psycopg/psycopg#656, #1014, #1123.
    pool = await s.opened(min_size=1, check=s.callback(lambda conn: conn._end("check")))
    s.made[0].is_dead = True
    conn = await s.call(pool.getconn, timeout=5.0)
    assert conn.number == 2
    assert s.made[0].closed
    await s.call(pool.putconn, conn)


@timeless
async def check_connection_asks_the_server(s: Shell) -> None:
    pool = await s.opened(min_size=1)
    conn = await s.call(pool.getconn)
    await s.call(pool.check_connection, conn)
    assert conn.calls == ["execute"]
    conn.is_dead = True
    with pytest.raises(OSError, match="unexpectedly"):
        await s.call(pool.check_connection, conn)
    await s.call(pool.putconn, conn)


# -- Maintenance ------------------------------------------------------------------------------------------------


@timeless
async def check_replaces_what_is_dead(s: Shell) -> None:
    pool = await s.opened(min_size=3)
    s.made[1].is_dead = True
    await s.call(pool.check)
    await s.settle()
    assert [conn.closed for conn in s.made] == [False, True, False, False]
    assert _stats(pool, "pool_available", "connections_lost") == [3, 1]


@timeless
async def drain_replaces_all_connections_the_ones_that_are_out_later(s: Shell) -> None:
    pool = await s.opened(min_size=2)
    conn = await s.call(pool.getconn)
    await s.call(pool.drain)
    await s.settle()
    assert [made.closed for made in s.made[:2]] == [made is not conn for made in s.made[:2]]
    await s.call(pool.putconn, conn)
    await s.settle()
    assert [made.closed for made in s.made] == [True, True, False, False]
    assert _stats(pool, "pool_available") == [2]


@timeless
async def a_pool_grows_while_clients_wait(s: Shell) -> None:
    pool = await s.opened(min_size=1, max_size=3)
    conns = [await s.call(pool.getconn, timeout=5.0) for _ in range(3)]
    assert len(set(conns)) == 3
    with pytest.raises(psycopg.OperationalError):
        await s.call(pool.getconn, timeout=0.05)
    for conn in conns:
        await s.call(pool.putconn, conn)
    assert _stats(pool, "pool_size") == [3]


@timeless
async def resize_raises_and_checks_the_limits(s: Shell) -> None:
    pool = await s.opened(min_size=1)
    await s.call(pool.resize, 2, 4)
    await s.settle()
    assert (pool.min_size, pool.max_size) == (2, 4)
    assert _stats(pool, "pool_available") == [2]
    with pytest.raises(ValueError, match="max_size must be greater"):
        await s.call(pool.resize, 4, 2)


@own
async def resize_closes_what_is_beyond_the_limit_at_once_or_when_it_comes_back(s: Shell) -> None:
    pool = await s.opened(min_size=4)
    conns = [await s.call(pool.getconn) for _ in range(2)]
    await s.call(pool.resize, 1, 1)
    await s.settle()
    assert _stats(pool, "pool_size", "pool_available") == [2, 0]
    for conn in conns:
        await s.call(pool.putconn, conn)
    await s.settle()
    assert _stats(pool, "pool_size", "pool_available") == [1, 1]


@timeless
async def methods_of_a_closed_pool_that_need_no_connection_do_nothing(s: Shell) -> None:
    pool = await s.opened(min_size=1)
    await s.call(pool.close)
    await s.call(pool.check)
    await s.call(pool.drain)
    await s.call(pool.resize, 1, 2)
    assert pool.get_stats()["pool_max"] == pool.pop_stats()["pool_max"] == 2
    await s.settle()
    assert len(s.made) == 1


@timeless
async def a_commit_that_fails_is_told_and_its_connection_replaced(s: Shell) -> None:
    pool = await s.opened(min_size=1)

    def dies(conn: Any) -> None:
        conn.begin()
        conn.is_dead = True

    with pytest.raises(OSError, match="unexpectedly"):
        await s.use(pool, dies)
    await s.settle()
    assert _stats(pool, "returns_bad", "pool_available", "connections_num") == [1, 1, 2]


@timeless
async def a_block_whose_connection_was_lost_in_it_ends_without_a_word(s: Shell) -> None:
    pool = await s.opened(min_size=1)
    await s.use(pool, lambda conn: conn._closed())
    await s.settle()
    assert _stats(pool, "returns_bad", "pool_available", "connections_num") == [1, 1, 2]


@timeless
async def pop_stats_begins_anew(s: Shell) -> None:
    pool = await s.opened(min_size=1)
    await s.use(pool)
    assert pool.pop_stats()["requests_num"] == 1
    assert "requests_num" not in pool.get_stats()
    await s.use(pool)
    assert pool.get_stats()["requests_num"] == 1


@timed
async def with_close_returns_what_expires_is_closed_once(s: Shell) -> None:
    # psycopg/psycopg#1124, #1125: closing what had expired gave it back, which closed it because it had expired, …
    pool = await s.opened(min_size=1, close_returns=True, max_lifetime=0.3)
    conn = await s.call(pool.getconn)
    await s.sleep(0.4)
    await s.call(conn.close)
    await s.settle()
    assert conn.calls == ["close"]
    assert _stats(pool, "pool_available", "connections_num") == [1, 2]


@timeless
async def with_close_returns_closing_gives_back(s: Shell) -> None:
    pool = await s.opened(min_size=1, close_returns=True)
    conn = await s.call(pool.getconn)
    await s.call(conn.close)
    await s.settle()
    assert not conn.closed
    assert _stats(pool, "pool_available") == [1]


# -- Null pools -----------------------------------------------------------------------------------------------


@timeless
async def a_null_pool_makes_nothing_beforehand_and_keeps_nothing(s: Shell) -> None:
    pool = await s.opened("null")
    assert _stats(pool, "pool_min", "pool_max", "pool_size") == [0, 0, 0]
    first = await s.use(pool)
    assert first.closed
    second = await s.use(pool)
    assert second is not first
    assert _stats(pool, "pool_size", "connections_num") == [0, 2]


@timeless
async def a_null_pools_client_that_waits_gets_the_others_connection(s: Shell) -> None:
    pool = await s.opened("null", max_size=1, reset=s.callback(lambda conn: conn.calls.append("reset")))
    conn = await s.call(pool.getconn)
    client = s.spawn(s.call(pool.getconn, timeout=10.0))
    await s.settle()
    await s.call(pool.putconn, conn)
    assert await client.result() is conn
    assert conn.calls == ["reset"]
    await s.call(pool.putconn, conn)
    await s.settle()
    assert conn.calls == ["reset", "close"]


@timeless
async def a_null_pools_client_is_told_what_connecting_failed_with(s: Shell) -> None:
    pool = await s.opened("null", max_size=1)
    s.connection_class.is_down = True
    with pytest.raises(OSError, match="connection refused"):
        await s.call(pool.getconn)
    s.connection_class.is_down = False
    conn = await s.call(pool.getconn)
    await s.call(pool.putconn, conn)
    assert _stats(pool, "connections_errors", "connections_num") == [1, 2]


@timeless
async def a_null_pools_client_that_will_not_wait_gets_nothing(s: Shell) -> None:
    # It has no idle connection, and making one takes time.
    pool = await s.opened("null", max_size=1)
    with pytest.raises(psycopg.OperationalError):
        await s.call(pool.getconn, timeout=0)
    assert s.made == []
    if s.is_ours:  # psycopg_pool counts no error, and one connection that there is not.
        assert _stats(pool, "requests_errors", "pool_size") == [1, 0]


@own
async def a_null_pools_client_may_wait_without_limit(s: Shell) -> None:
    # In psycopg_pool an OverflowError.
    pool = await s.opened("null", timeout=float("inf"))
    for timeout in (None, float("inf"), 1e12):
        conn = await s.call(pool.getconn, timeout=timeout)
        assert conn.kwargs.get("connect_timeout", 0) < 2**31, "what libpq can read"
        await s.call(pool.putconn, conn)


@timeless
async def waiting_for_a_null_pool_makes_one_connection(s: Shell) -> None:
    pool = await s.opened("null")
    await s.call(pool.wait)
    await s.settle()
    assert [conn.closed for conn in s.made] == [True]
    assert _stats(pool, "connections_num", "pool_size") == [1, 0]


@timeless
async def a_null_pool_is_resized_to_a_max_only(s: Shell) -> None:
    pool = await s.opened("null", max_size=1)
    await s.call(pool.resize, 0, 3)
    assert pool.max_size == 3
    with pytest.raises(ValueError, match="null pools must have min_size = 0"):
        await s.call(pool.resize, 1)


# -- What depends on time -------------------------------------------------------------------------------------


@timed
async def who_waits_gets_a_connection_when_the_server_is_back(s: Shell) -> None:
    s.connection_class.is_down = True
    pool = s.pool(min_size=1)
    await s.call(pool.open)
    client = s.spawn(s.call(pool.getconn, timeout=10.0))
    await s.sleep(0.3)
    assert _stats(pool, "pool_available", "requests_waiting") == [0, 1]
    assert _stats(pool, "connections_errors")[0] >= 1
    s.connection_class.is_down = False
    conn = await client.result()
    await s.call(pool.putconn, conn)
    assert _stats(pool, "pool_available") == [1]


@timed
async def waiting_for_a_pool_that_does_not_fill_ends_and_closes_it(s: Shell) -> None:
    s.connection_class.is_down = True
    pool = s.pool(min_size=1)
    began = s.clock.monotonic()
    with pytest.raises(psycopg.OperationalError, match=r"incomplete after 0\.5 sec"):
        await s.call(pool.open, wait=True, timeout=0.5)
    assert 0.5 <= s.clock.monotonic() - began < 5.0
    assert pool.closed


@timed
async def with_nobody_waiting_the_pauses_between_attempts_double(s: Shell) -> None:
    s.connection_class.is_down = True
    pool = s.pool(min_size=1)
    await s.call(pool.open)
    await s.sleep(5.0)
    # At 0, 1, 3 (and 7) seconds, give or take a tenth of each pause.
    assert _stats(pool, "connections_errors") == [3]


@timed
async def reconnect_failed_is_called_after_reconnect_timeout_and_ends_nothing(s: Shell) -> None:
    called: list[object] = []
    s.connection_class.is_down = True
    pool = s.pool(min_size=1, reconnect_timeout=2.0, reconnect_failed=s.callback(called.append))
    await s.call(pool.open)
    await s.sleep(0.5)
    assert not called
    await s.sleep(4.5)
    assert called[0] is pool
    s.connection_class.is_down = False
    await s.use(pool, timeout=10.0)
    assert _stats(pool, "pool_available") == [1]


@timed
async def waiting_for_a_null_pool_calls_reconnect_failed_after_reconnect_timeout(s: Shell) -> None:
    # The method: psycopg_pool 3.3.3 calls that, but its null pools drop the parameter of this name.
    called: list[float] = []
    s.connection_class.is_down = True
    pool = s.pool("null", reconnect_timeout=0.5)
    callback = s.callback(lambda pool: called.append(s.clock.monotonic() - began))
    pool.reconnect_failed = lambda: callback(pool)
    await s.call(pool.open)
    began = s.clock.monotonic()
    with pytest.raises(psycopg.OperationalError, match="initialization incomplete"):
        await s.call(pool.wait, 0.9)
    assert len(called) == 1
    assert 0.5 <= called[0] < 0.9


@timed
async def a_pool_that_has_grown_shrinks_by_one_each_max_idle_down_to_min_size(s: Shell) -> None:
    pool = await s.opened(min_size=1, max_size=4, max_idle=1.0)
    conns = [await s.call(pool.getconn) for _ in range(4)]
    # Between the instants at which the pool looks.
    await s.sleep(0.5)
    for conn in conns:
        await s.call(pool.putconn, conn)
    sizes = []
    for _ in range(6):
        sizes += _stats(pool, "pool_size")
        await s.sleep(1.0)
    # In the first interval all were needed.
    assert sizes == [4, 4, 3, 2, 1, 1]


@timed
async def what_comes_back_after_its_lifetime_is_replaced(s: Shell) -> None:
    pool = await s.opened(min_size=1, max_lifetime=0.5)
    conn = await s.call(pool.getconn)
    await s.sleep(0.6)
    assert not conn.closed
    await s.call(pool.putconn, conn)
    await s.settle()
    assert conn.closed
    assert _stats(pool, "pool_available", "connections_num", "returns_bad") == [1, 2, 0]


@timed
async def an_idle_pool_is_left_in_peace(s: Shell) -> None:
    await s.opened(min_size=2)
    await s.sleep(2.0)
    assert [conn.calls for conn in s.made] == [[], []]


@timed
async def waits_and_uses_are_measured(s: Shell) -> None:
    pool = await s.opened(min_size=1)

    first = s.spawn(s.use(pool, timeout=10.0, hold=0.3))
    await s.sleep(0.1)
    second = s.spawn(s.use(pool, timeout=10.0, hold=0.3))
    await first.result()
    await second.result()
    usage, waited, queued = _stats(pool, "usage_ms", "requests_wait_ms", "requests_queued")
    assert 600 <= usage < 2000
    assert 150 <= waited < 2000
    assert queued == 1


@own
async def the_waits_of_all_who_stand_in_line_are_summed(s: Shell) -> None:
    pool = await s.opened(min_size=1)
    clients = [s.spawn(s.use(pool, hold=1.0)) for _ in range(4)]
    for client in clients:
        await client.result()
    assert _stats(pool, "requests_queued", "requests_wait_ms", "usage_ms") == [3, 1000 + 2000 + 3000, 4000]


# -- What ours does otherwise, or in hours --------------------------------------------------------------------


@own
async def with_a_timeout_of_zero_an_idle_connection_or_nothing(s: Shell) -> None:
    pool = await s.opened(min_size=1)
    conn = await s.call(pool.getconn, timeout=0)
    with pytest.raises(psycopg.OperationalError, match=r"connection after 0\.00 sec: 1 of 1 in use"):
        await s.call(pool.getconn, timeout=0)
    await s.call(pool.putconn, conn)
    assert _stats(pool, "requests_errors", "requests_queued") == [1, 0]


@own
async def clients_that_gave_up_are_not_counted_as_waiting(s: Shell) -> None:
    # Trap 50.
    pool = await s.opened(min_size=1, max_waiting=1)
    conn = await s.call(pool.getconn)
    for _ in range(3):
        with pytest.raises(psycopg.OperationalError, match="couldn't get a connection after"):
            await s.call(pool.getconn, timeout=0.1)
    assert _stats(pool, "requests_waiting", "requests_wait_ms") == [0, 300]
    await s.call(pool.putconn, conn)


@own
async def times_are_summed_exactly(s: Shell) -> None:
    # Trap 49.
    pool = await s.opened(min_size=1)
    for _ in range(1000):
        conn = await s.call(pool.getconn)
        await s.sleep(0.0004)
        await s.call(pool.putconn, conn)
    assert 400 <= pool.pop_stats()["usage_ms"] <= 401
    assert "usage_ms" not in pool.get_stats()


@own
async def wait_says_what_connecting_failed_with(s: Shell) -> None:
    # psycopg/psycopg#556, #1026.
    s.connection_class.is_down = True
    pool = s.pool(min_size=1)
    await s.call(pool.open)
    with pytest.raises(psycopg.OperationalError, match=r"incomplete after 0\.5 sec") as caught:
        await s.call(pool.wait, timeout=0.5)
    assert "connection refused" in str(caught.value.__cause__)
    assert pool.closed


@own
async def an_empty_pool_connects_for_all_who_wait_num_workers_at_a_time(s: Shell) -> None:
    # Trap 51: 20 clients and 50 ms a connect; three at a time take seven connect times.
    s.connection_class.connect_s = 0.05
    pool = s.pool(min_size=0, max_size=20)
    await s.call(pool.open)
    began = s.clock.monotonic()
    clients = [s.spawn(s.call(pool.getconn)) for _ in range(20)]
    conns = [await client.result() for client in clients]
    assert len(set(conns)) == 20
    took = s.clock.monotonic() - began
    assert took <= 7 * 0.05 * 1.1, took
    for conn in conns:
        await s.call(pool.putconn, conn)


@own
async def a_spike_of_short_holds_grows_the_pool_little(s: Shell) -> None:
    s.connection_class.connect_s = 0.15
    pool = await s.opened(min_size=5, max_size=20)

    async def client() -> None:
        conn = await s.call(pool.getconn)
        await s.sleep(0.002)
        await s.call(pool.putconn, conn)

    clients = [s.spawn(client()) for _ in range(50)]
    for each in clients:
        await each.result()
    await s.sleep(1.0)
    assert len(s.made) <= 7


@own
async def a_pool_shrinks_by_one_each_max_idle_down_to_min_size(s: Shell) -> None:
    # psycopg/psycopg#381: one connection each max_idle, not each connection after max_idle.
    pool = await s.opened(min_size=1, max_size=4, max_idle=10.0)
    conns = [await s.call(pool.getconn) for _ in range(4)]
    for conn in conns:
        await s.call(pool.putconn, conn)
    # Between the instants at which the pool looks.
    await s.sleep(1.0)
    sizes = []
    for _ in range(6):
        await s.sleep(10.0)
        sizes += _stats(pool, "pool_size")
    assert sizes == [4, 3, 2, 1, 1, 1]


@own
async def what_has_shrunk_is_not_replaced(s: Shell) -> None:
    pool = await s.opened(min_size=1, max_size=3, max_idle=60.0, max_lifetime=1000.0, shrink="all")
    conns = [await s.call(pool.getconn) for _ in range(3)]
    for conn in conns:
        await s.call(pool.putconn, conn)
    await s.sleep(125.0)
    assert _stats(pool, "pool_size") == [1]
    made = len(s.made)
    await s.sleep(2000.0)
    assert _stats(pool, "pool_size", "pool_available") == [1, 1]
    assert made + 2 <= len(s.made) <= made + 3  # one connection, anew after each lifetime


@own
async def with_shrink_all_every_connection_that_was_not_needed_goes(s: Shell) -> None:
    pool = await s.opened(min_size=1, max_size=4, max_idle=10.0, shrink="all")
    conns = [await s.call(pool.getconn) for _ in range(4)]
    for conn in conns:
        await s.call(pool.putconn, conn)
    await s.sleep(25.0)
    assert _stats(pool, "pool_size") == [1]


@own
async def a_quiet_pool_serves_nothing_that_has_expired(s: Shell) -> None:
    # Trap 55; psycopg/psycopg#584, #1018.
    pool = await s.opened(min_size=2, max_lifetime=60.0)
    old = list(s.made)
    await s.sleep(61.0)
    assert all(conn.closed for conn in old)
    assert _stats(pool, "pool_available") == [2]
    assert await s.use(pool) not in old


@own
async def lifetimes_differ_by_up_to_a_tenth(s: Shell) -> None:
    pool = await s.opened(min_size=20, max_lifetime=100.0)
    await s.sleep(89.0)
    assert not any(conn.closed for conn in s.made)
    await s.sleep(6.0)
    assert 0 < sum(conn.closed for conn in s.made) < 20
    await s.sleep(6.0)
    assert sum(conn.closed for conn in s.made) >= 20
    assert _stats(pool, "pool_available") == [20]


@own
async def an_idle_pool_asks_the_server_nothing(s: Shell) -> None:
    await s.opened(min_size=2, max_lifetime=7200.0)
    await s.sleep(6000.0)
    assert [conn.calls for conn in s.made] == [[], []]


@own
async def a_week_passes(s: Shell) -> None:
    # psycopg/psycopg#1419: workers that died after a day without work.
    pool = await s.opened(min_size=2, max_size=4, max_lifetime=3600.0)
    for _ in range(7):
        await s.sleep(24 * 3600.0)
        await s.use(pool)
    assert _stats(pool, "pool_available") == [2]
    assert 2 * 168 <= len(s.made) <= 2 * 168 / 0.9 + 2


@own
async def a_connection_may_live_for_a_week_most_of_which_is_idle(s: Shell) -> None:
    # psycopg/psycopg#1419: after 24 idle hours, workers were dead and the pool looked open.
    day = 24 * 3600.0
    pool = await s.opened(min_size=2, max_size=3, max_lifetime=7 * day)
    await s.sleep(day)
    assert [conn.calls for conn in s.made] == [[], []]
    conns = [await s.call(pool.getconn) for _ in range(3)]
    for conn in conns:
        await s.call(pool.putconn, conn)
    await s.sleep(0.9 * 7 * day - day - 60.0)
    assert len(s.made) == 3
    assert [conn.closed for conn in s.made[:2]].count(False) >= 1
    await s.sleep(0.1 * 7 * day + 120.0)
    assert all(conn.closed for conn in s.made[:2])
    assert _stats(pool, "pool_available") == [2]
    assert await s.use(pool) not in s.made[:2]


@own
async def a_pool_recovers_when_the_server_does_while_a_client_waits(s: Shell) -> None:
    # Traps 53 and 54: no ladder, whatever the length of the outage. psycopg/psycopg#370, #1315;
    # fecgov/fecfile-web-api#2208.
    pool = await s.opened(min_size=3, check=s.callback(lambda conn: conn._end("check")), timeout=400.0)
    s.connection_class.is_down = True
    for conn in s.made:
        conn.is_dead = True
    client = s.spawn(s.call(pool.getconn))
    await s.sleep(200.0)
    s.connection_class.is_down = False
    up = s.clock.monotonic()
    conn = await client.result()
    assert s.clock.monotonic() - up <= 0.15
    attempts = _stats(pool, "connections_errors")[0]
    assert 200 / 0.096 <= attempts <= 200 / 0.064, "exactly one probe each 80 ms, give or take a fifth"
    await s.call(pool.putconn, conn)
    await s.sleep(0.01)
    assert _stats(pool, "pool_available", "connections_lost") == [3, 3]


@own
async def a_wait_that_is_over_does_not_last_until_the_connects_are(s: Shell) -> None:
    s.connection_class.connect_s = 3600.0
    pool = s.pool(min_size=1)
    await s.call(pool.open)
    began = s.clock.monotonic()
    with pytest.raises(psycopg.OperationalError, match="incomplete"):
        await s.call(pool.wait, timeout=1.0)
    assert s.clock.monotonic() - began <= 1.1


@own
async def closing_without_waiting_closes_whatever_is_idle(s: Shell) -> None:
    pool = await s.opened(min_size=8, num_workers=1)
    conn = await s.call(pool.getconn)
    conn.begin()
    await s.call(pool.putconn, conn)
    await s.call(pool.close, timeout=0)
    await s.settle()
    assert [conn.closed for conn in s.made] == [True] * 8


@own
async def a_null_pools_client_leaves_a_connect_that_takes_too_long(s: Shell) -> None:
    s.connection_class.connect_s = 2.0
    pool = await s.opened("null", max_size=1)
    began = s.clock.monotonic()
    with pytest.raises(
        psycopg.OperationalError, match=r"couldn't get a connection after 1\.00 sec: 0 of 1 in use, 1 connecting"
    ):
        await s.call(pool.getconn, timeout=1.0)
    assert s.clock.monotonic() - began <= 1.1
    # The next client gets what comes of it: there never are more than max_size.
    conn = await s.call(pool.getconn, timeout=5.0)
    assert conn is s.made[0]
    assert s.clock.monotonic() - began <= 2.1
    await s.call(pool.putconn, conn)
    with pytest.raises(psycopg.OperationalError, match="couldn't get a connection"):
        await s.call(pool.getconn, timeout=1.0)
    await s.sleep(2.0)
    # Nobody waited for the second.
    assert [conn.closed for conn in s.made] == [True, True]
    assert _stats(pool, "pool_size", "requests_errors", "requests_num", "connections_num") == [0, 2, 3, 2]


@own
async def a_connect_that_a_null_pools_client_has_left_may_fail(s: Shell) -> None:
    s.connection_class.connect_s = 2.0
    pool = await s.opened("null", max_size=1)
    with pytest.raises(psycopg.OperationalError, match="couldn't get a connection"):
        await s.call(pool.getconn, timeout=1.0)
    s.connection_class.is_down = True
    client = s.spawn(s.call(pool.getconn, timeout=30.0))
    await s.sleep(1.5)
    s.connection_class.is_down = False
    assert await client.result() is s.made[0]
    assert _stats(pool, "connections_errors", "connections_num", "pool_size") == [1, 2, 1]
    await s.call(pool.putconn, s.made[0])


@own
async def waiting_for_a_null_pool_ends_in_time_though_connecting_does_not(s: Shell) -> None:
    s.connection_class.connect_s = 60.0
    pool = await s.opened("null")
    began = s.clock.monotonic()
    with pytest.raises(psycopg.OperationalError, match=r"incomplete after 1\.0 sec") as caught:
        await s.call(pool.wait, timeout=1.0)
    assert s.clock.monotonic() - began <= 1.1
    assert isinstance(caught.value.__cause__, TimeoutError)
    assert pool.closed
    await s.sleep(60.0)
    assert all(conn.closed for conn in s.made)


@own
async def who_waits_for_a_null_pool_is_told_when_it_is_closed(s: Shell) -> None:
    s.connection_class.is_down = True
    pool = await s.opened("null")
    waits = s.spawn(s.call(pool.wait, timeout=3600.0))
    await s.sleep(5.0)
    closed_at = s.clock.monotonic()
    await s.call(pool.close)
    with pytest.raises(psycopg.OperationalError, match="already closed") as caught:
        await waits.result()
    assert s.clock.monotonic() - closed_at <= 1.0
    assert "connection refused" in str(caught.value.__cause__)


@own
async def a_null_pool_that_is_drained_serves_nothing_that_was_begun_before(s: Shell) -> None:
    s.connection_class.connect_s = 1.0
    pool = await s.opened("null")
    client = s.spawn(s.call(pool.getconn, timeout=30.0))
    await s.sleep(0.5)
    await s.call(pool.drain)
    assert await client.result() is s.made[1]
    assert s.made[0].closed
    await s.call(pool.putconn, s.made[1])


@own
async def a_null_pool_that_is_closed_refuses_those_who_connect(s: Shell) -> None:
    s.connection_class.connect_s = 1.0
    pool = await s.opened("null")
    began = s.clock.monotonic()
    told: list[float] = []

    async def connect() -> None:
        try:
            await s.call(pool.getconn, timeout=30.0)
        finally:
            told.append(s.clock.monotonic() - began)

    client = s.spawn(connect())
    await s.sleep(0.5)
    await s.call(pool.close)
    with pytest.raises(psycopg.OperationalError, match="already closed"):
        await client.result()
    assert told[0] <= 0.51, "at once, though the connect goes on"
    await s.sleep(1.0)
    assert [conn.closed for conn in s.made] == [True]


@own
async def null_pools_connect_for_all_at_the_same_time(s: Shell) -> None:
    s.connection_class.connect_s = 0.02
    pool = await s.opened("null")
    began = s.clock.monotonic()
    clients = [s.spawn(s.call(pool.getconn)) for _ in range(8)]
    conns = [await client.result() for client in clients]
    assert s.clock.monotonic() - began <= 1.2 * 0.02
    for conn in conns:
        await s.call(pool.putconn, conn)


@own
async def with_nobody_waiting_attempts_grow_rarer(s: Shell) -> None:
    s.connection_class.is_down = True
    pool = s.pool(min_size=1, reconnect_timeout=100_000.0)
    await s.call(pool.open)
    await s.sleep(1000.0)
    assert 8 <= _stats(pool, "connections_errors")[0] <= 12


@own
async def reconnect_failed_is_called_once_each_reconnect_timeout(s: Shell) -> None:
    # psycopg/psycopg#370: a pool that gave up; and one that was not filled up to min_size any more.
    called: list[object] = []
    s.connection_class.is_down = True

    def failed(pool: object) -> None:
        called.append(pool)
        raise RuntimeError("what it raises kills no worker")

    pool = s.pool(min_size=3, reconnect_timeout=30.0, reconnect_failed=s.callback(failed))
    await s.call(pool.open)
    await s.sleep(70.0)
    assert called == [pool] * len(called)
    assert 1 <= len(called) <= 2
    s.connection_class.is_down = False
    await s.sleep(40.0)
    assert _stats(pool, "pool_available") == [3]


@own
async def waiting_for_a_null_pool_goes_on_after_reconnect_failed(s: Shell) -> None:
    called: list[object] = []
    s.connection_class.is_down = True
    pool = s.pool("null", reconnect_timeout=10.0, reconnect_failed=s.callback(called.append))
    await s.call(pool.open)
    waiting = s.spawn(s.call(pool.wait, 60.0))
    await s.sleep(30.5)
    assert called == [pool] * 3
    s.connection_class.is_down = False
    await waiting.result()
    assert [conn.closed for conn in s.made] == [True]


@own
async def with_a_reconnect_timeout_of_0_a_null_pool_does_not_connect_as_fast_as_it_can(s: Shell) -> None:
    called: list[object] = []
    s.connection_class.is_down = True
    pool = s.pool("null", reconnect_timeout=0, reconnect_failed=s.callback(called.append))
    await s.call(pool.open)
    with pytest.raises(psycopg.OperationalError, match="initialization incomplete"):
        await s.call(pool.wait, 10.5)
    # One attempt a second, and one at the end of the time.
    assert 10 <= _stats(pool, "connections_errors")[0] <= 12
    assert 9 <= len(called) <= 11


@own
async def one_dead_connection_makes_its_sisters_be_probed(s: Shell) -> None:
    pool = await s.opened(min_size=4, check=s.callback(lambda conn: conn._end("check")), check_idle=1.0)
    s.made[0].is_dead = s.made[2].is_dead = True
    await s.sleep(2.0)
    conn = await s.call(pool.getconn)
    await s.settle()
    assert not conn.is_dead
    assert [conn.closed for conn in s.made[:4]] == [True, False, True, False]
    assert _stats(pool, "connections_lost", "pool_size") == [2, 4]
    await s.call(pool.putconn, conn)


@own
async def a_timeout_says_who_has_the_connections(s: Shell) -> None:
    # Trap 58.
    pool = await s.opened(min_size=1)
    conn = await s.call(pool.getconn)
    await s.sleep(41.2)
    with pytest.raises(psycopg.OperationalError) as caught:
        await s.call(pool.getconn, timeout=0.5)
    assert str(caught.value).startswith(
        "couldn't get a connection after 0.50 sec: 1 of 1 in use, 0 waiting; oldest held 41.7 s by "
    )
    error = caught.value
    assert (error.in_use, error.size, error.holders[0].connections) == (1, 1, 1)
    await s.call(pool.putconn, conn)


@own
async def long_holds_are_warned_of_and_their_end_is_told(s: Shell) -> None:
    records: list[logging.LogRecord] = []
    handler = logging.Handler()
    handler.emit = records.append
    logger = logging.getLogger("poolhouse.pool")
    logger.addHandler(handler)
    try:
        pool = await s.opened(min_size=1, hold_warning=5.0, name="mine")
        await s.spawn(s.use(pool, hold=20.0)).result()
    finally:
        logger.removeHandler(handler)
    first, second = (record.getMessage() for record in records)
    assert first.startswith("pool 'mine': a connection has been held for 5.0 s by support/pool_")
    # From the innermost call outwards, no further than where it took the connection.
    taken = first.split(" by ")[1].split(";")[0].split(" in ")[1]
    assert " is now at " in first
    assert first.endswith(taken)
    assert ".sleep" in first or "in sleep" in first
    assert "returned after all, after 20.0 s" in second
    assert {record.levelno for record in records} == {logging.WARNING}


@own
async def the_lifo_order_leaves_the_longest_idle_alone(s: Shell) -> None:
    pool = await s.opened(min_size=3, idle_order="lifo")
    assert len({await s.use(pool) for _ in range(6)}) == 1


@own
async def a_reset_does_not_stand_behind_a_connect(s: Shell) -> None:
    # Trap 52.
    pool = await s.opened(min_size=1, max_size=2, num_workers=1, reset=s.callback(lambda conn: None))
    conn = await s.call(pool.getconn)
    s.connection_class.connect_s = 3600.0
    client = s.spawn(s.call(pool.getconn))
    await s.settle()
    await s.call(pool.putconn, conn)
    assert await client.result() is conn
    await s.call(pool.putconn, conn)
