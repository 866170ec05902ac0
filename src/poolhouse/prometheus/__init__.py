"""The pools of this process for the registry of prometheus-client.

    from prometheus_client import REGISTRY
    import poolhouse.prometheus

    REGISTRY.register(poolhouse.prometheus.collector())

For applications that Prometheus scrapes already. No daemon is needed. Where an application runs in several
processes, connmond sums them.
"""

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from poolhouse.prometheus.pools import PoolCollector

__all__ = ["collector"]


def collector() -> "PoolCollector":
    """A collector of every pool of this process, for ``registry.register()``.

    It tells OpenTelemetry's nine metrics of connection pools, for each name of pools: SQLAlchemy's,
    psycopg_pool's, asyncpg's, aiomysql's, psycopg2's and ours, those that exist and those that are made later.
    What pools that have ended did stays in counters and histograms. A forked child begins with nothing, and tells
    its own pools.

    Pools that are reported to an aggregator are told as their newest report has them. All others are read when a
    registry collects. Pools that this call finds are reported nowhere unless ``poolhouse.report_to()`` or
    ``POOLHOUSE_REPORT`` names a destination. Collecting waits for nobody, and raises nothing.

    With ``PROMETHEUS_MULTIPROC_DIR``, in which several processes share what they count, a collector tells the
    pools of the process that answers; a warning says so.

    Raises:
        ModuleNotFoundError: If prometheus-client is not installed; it says what to type.
    """
    from poolhouse.installing import install_command

    try:
        from poolhouse.prometheus.pools import PoolCollector, prepare
    except ModuleNotFoundError as error:
        if (error.name or "").partition(".")[0] != "prometheus_client":
            raise
        message = f"poolhouse.prometheus needs prometheus-client: {install_command('prometheus')}"
        raise ModuleNotFoundError(message, name=error.name) from None
    prepare()
    return PoolCollector()
