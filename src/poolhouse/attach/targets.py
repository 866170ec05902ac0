"""The classes that poolhouse attaches to: one row for each kind of pool.

Read before the application runs, and without importing poolhouse (`poolhouse.attach.finder`): plain values only.
"""

#: A module of another package -> the class in it whose instances are pools or own one, and the function, as
#: ``module:name``, that gets each instance right after its ``__init__``. The function may raise; nobody notices.
TARGETS = {
    "sqlalchemy.engine.base": ("Engine", "poolhouse.instrumentation.automatic:engine_made"),
    "psycopg_pool.base": ("BasePool", "poolhouse.instrumentation.automatic:pool_made"),
    "asyncpg.pool": ("Pool", "poolhouse.instrumentation.automatic:pool_made"),
    "aiomysql.pool": ("Pool", "poolhouse.instrumentation.automatic:pool_made"),
    "psycopg2.pool": ("AbstractConnectionPool", "poolhouse.instrumentation.automatic:pool_made"),
}
