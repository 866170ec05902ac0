"""How many connections to make at once for clients that wait.

A connection that is being made takes its time; one that comes back may serve a waiting client sooner. Growing by
as many as there are clients makes a pool too large after every spike ("Welcome to the Jungle" of HikariCP's
documentation), growing by one at a time makes an empty pool slow to fill. To avoid both, the pool compares a
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
    """How many connects should be under way for the clients that wait.

    Args:
        waiting: Clients that wait.
        leased: Connections that clients have.
        coming: Connections that are idle, or are being reset or probed: soon to be had without connecting.
        connecting: Connects that are under way.
        wanted_before: For how many of the clients it was decided, when nothing was out, that they get a new one.
        hold: How long a client keeps a connection on average.
        connect_time: How long a connect takes on average, in the same unit.

    >>> grow = lambda **now: connects_for(**{"leased": 0, "coming": 0, "connecting": 0, "wanted_before": 0} | now)
    >>> grow(waiting=20, hold=0, connect_time=50)  # nothing is out: as many as are wanted
    20
    >>> grow(waiting=45, leased=5, hold=2, connect_time=150)  # a spike of short holds: one at a time
    1
    >>> grow(waiting=45, leased=5, hold=200, connect_time=150)  # long holds
    45
    >>> grow(waiting=17, leased=3, wanted_before=17, hold=0, connect_time=50)  # a pool that was empty goes on
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
    """When, if nothing is returned until then, the holds will have become long enough for `connects_for` to grow.

    Args:
        waiting: Clients that wait.
        leased_since: Since when each client has had its connection.
        connect_time: How long a connect takes on average.

    Returns:
        The instant, in the clock of `leased_since`; ``None`` if nobody waits or nothing is out.
    """
    if not waiting or not leased_since:
        return None
    mean_since = sum(leased_since) / len(leased_since)
    # A microsecond later: then it is true however the numbers are rounded.
    return mean_since + connect_time * len(leased_since) / waiting + 1e-6
