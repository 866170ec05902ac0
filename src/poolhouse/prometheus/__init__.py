"""The pools of this process for the registry of prometheus-client.

    from prometheus_client import REGISTRY
    import poolhouse.prometheus

    REGISTRY.register(poolhouse.prometheus.collector())

For applications that Prometheus already scrapes. No daemon is needed. If an application runs in several processes,
connmond adds them up.
"""

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from poolhouse.prometheus.pools import PoolCollector

__all__ = ["collector"]


def collector() -> "PoolCollector":
    """A collector of every pool of this process, for ``registry.register()``.

    It exports OpenTelemetry's nine metrics of connection pools for each pool name: for the pools of SQLAlchemy,
    psycopg_pool, asyncpg, aiomysql, psycopg2 and poolhouse, existing ones and those made later. What ended pools
    did stays in counters and histograms. A forked child starts at zero, and exports its own pools.

    Pools that are reported to an aggregator appear as in their latest report. All others are read when a registry
    collects. Pools that this call finds are reported nowhere unless ``poolhouse.report_to()`` or
    ``POOLHOUSE_REPORT`` names a destination. Collecting never waits, and raises nothing.

    With ``PROMETHEUS_MULTIPROC_DIR``, by which several processes share their counts, a collector exports only the
    pools of the answering process; a warning says so.

    Raises:
        ModuleNotFoundError: If prometheus-client is not installed; the message says what to type.
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
