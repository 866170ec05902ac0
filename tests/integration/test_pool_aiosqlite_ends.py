"""Pools of aiosqlite that nobody can close any more: their event loop has ended. Each connection has a thread."""

from pathlib import Path

import pytest

from support.programs import run

_PROGRAM = """
    import asyncio, gc, os, sys, threading
    import aiosqlite
    from poolhouse.pool import AsyncConnectionPool
    from support.waiting import wait_until

    file, end = sys.argv[1:]
    pool = AsyncConnectionPool(file, driver=aiosqlite, min_size=2, open=False)

    def files():
        links = (f"/proc/self/fd/{number}" for number in os.listdir("/proc/self/fd"))
        return [link for link in links if os.path.lexists(link) and os.readlink(link) == file]

    async def main():
        await pool.open(wait=True)
        async with pool.connection() as conn:
            await conn.execute("create table t (a)")

    asyncio.run(main())
    print(threading.active_count(), len(files()))
    if end == "closed elsewhere":
        asyncio.run(pool.close())
    else:
        del pool
        gc.collect()
    wait_until(lambda: threading.active_count() == 1 and not files())
    """


@pytest.mark.parametrize("end", ["closed elsewhere", "dropped"])
def test_its_threads_end_in_silence_and_its_files_are_closed(end: str, tmp_path: Path) -> None:
    assert run(_PROGRAM, str(tmp_path / "file.db"), end) == "3 2\n"
