"""How many connections to make at once for waiting clients.

Making a connection takes time; a connection that comes back may serve a waiting client sooner. Growing by
as many as there are clients makes a pool too large after every spike ("Welcome to the Jungle" of HikariCP's
documentation); growing by one at a time makes an empty pool slow to fill. To avoid both, the pool compares a
client's expected wait for a return with the time that a connect takes.
"""


def connects_for(
    *,
    waiting: int,
    leased: int,
    coming: int,
    connecting: int,
    wanted_before: int,
    hold: float,
    connect_time: float,
) -> int:
    """How many connects should be under way for the waiting clients.

    Args:
        waiting: Waiting clients.
        leased: Connections checked out by clients.
        coming: Connections that are idle or being reset or probed: available soon without a connect.
        connecting: Connects under way.
        wanted_before: Clients that were promised a new connection while none was out.
        hold: How long a client keeps a connection on average.
        connect_time: How long a connect takes on average, in the same unit.

    >>> grow = lambda **now: connects_for(**{"leased": 0, "coming": 0, "connecting": 0, "wanted_before": 0} | now)
    >>> grow(waiting=20, hold=0, connect_time=50)  # none is out: one for each client
    20
    >>> grow(waiting=45, leased=5, hold=2, connect_time=150)  # a spike of short holds: one at a time
    1
    >>> grow(waiting=45, leased=5, hold=200, connect_time=150)  # long holds
    45
    >>> grow(waiting=17, leased=3, wanted_before=17, hold=0, connect_time=50)  # an empty pool keeps growing
    17
    """
    if not waiting:
        return 0
    if not leased and not coming:
        return waiting
    if leased and waiting * hold > leased * connect_time:
        return waiting
    return max(1, min(max(connecting, wanted_before), waiting))


def review_at(*, waiting: int, leased_since: list[float], connect_time: float) -> float | None:
    """When the holds will be long enough for `connects_for` to grow, if no connection is returned until then.

    Args:
        waiting: Waiting clients.
        leased_since: When each client got its connection.
        connect_time: How long a connect takes on average.

    Returns:
        The time, on the clock of `leased_since`; ``None`` if no client waits or no connection is out.
    """
    if not waiting or not leased_since:
        return None
    mean_since = sum(leased_since) / len(leased_since)
    # A microsecond later, so that the condition holds however the numbers are rounded.
    return mean_since + connect_time * len(leased_since) / waiting + 1e-6
