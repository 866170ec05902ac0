"""Connection pools for threads and for asyncio, with the API of psycopg_pool."""
