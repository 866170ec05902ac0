"""Every example of the documentation that makes a pool runs under ``python -W error`` and complains of nothing."""

import re
import socket
from pathlib import Path

import pytest

from support.line_server import line_server
from support.pages import ROOT, blocks
from support.postgres import Postgres
from support.programs import finish, start

MAKES_A_POOL = re.compile(r"\b(Async)?(Null)?ConnectionPool\(")


def _examples() -> list[tuple[str, str]]:
    """Page, and program: a block that makes a pool, after those of its page that it builds on."""
    found = []
    for page in (ROOT / "README.md", *sorted((ROOT / "docs").rglob("*.md"))):
        programs = [block.text for block in blocks(page) if block.language == "python"]
        for number, program in enumerate(programs):
            if MAKES_A_POOL.search(program):
                name = page.relative_to(ROOT).as_posix()
                # README's blocks stand alone; a how-to page's go on from each other.
                whole = program if page.name == "README.md" else "\n".join(programs[: number + 1])
                found.append((f"{name} {number}", whole))
    return found


EXAMPLES = _examples()


def test_there_are_examples() -> None:
    assert len(EXAMPLES) >= 10
    assert {name.split()[0] for name, _ in EXAMPLES} >= {"README.md", "docs/howto/pool-from-psycopg-pool.md"}


@pytest.mark.parametrize("program", [program for _, program in EXAMPLES], ids=[name for name, _ in EXAMPLES])
def test_an_example_that_makes_a_pool_warns_of_nothing(program: str, postgres: Postgres, tmp_path: Path) -> None:
    with line_server() as lines, socket.socket(type=socket.SOCK_DGRAM) as reports:
        reports.bind(("127.0.0.1", 0))
        program = re.sub(r"(localhost|127\.0\.0\.1):25827", f"127.0.0.1:{reports.getsockname()[1]}", program)
        program = program.replace("127.0.0.1:4000", f"127.0.0.1:{lines.server_address[1]}")
        program = program.replace("host=db.example dbname=shop", postgres.conninfo)
        finish(start(f"import os\nos.chdir({str(tmp_path)!r})\n{program}", has_libraries=True))


FAIR_QUEUE_POOLS = [
    block.text for block in blocks(ROOT / "docs" / "howto" / "from-queuepool.md") if block.language == "python"
]


def test_every_example_of_the_page_makes_such_a_pool() -> None:
    assert FAIR_QUEUE_POOLS
    assert all("poolclass=FairQueuePool" in program for program in FAIR_QUEUE_POOLS)


@pytest.mark.parametrize("program", FAIR_QUEUE_POOLS)
def test_an_example_with_fairqueuepool_warns_of_nothing(program: str, tmp_path: Path) -> None:
    process = start(f"import os\nos.chdir({str(tmp_path)!r})\n{program}", has_libraries=True)
    _, errors = process.communicate(timeout=60)
    assert process.returncode == 0, errors
    # What a page's program logs begins with the pool's name; all else is a complaint.
    assert [line for line in errors.splitlines() if not line.startswith("FairQueuePool: ")] == []


ENDINGS = {
    "threads": """
        from poolhouse import ConnectionPool
        pool = ConnectionPool({conninfo!r}, min_size=2, open=False)
        pool.open(wait=True)
        with pool.connection() as conn:
            conn.execute("SELECT 1")
        """,
    "asyncio": """
        import asyncio
        from poolhouse import AsyncConnectionPool
        async def main():
            global pool
            pool = AsyncConnectionPool({conninfo!r}, min_size=2, open=False)
            await pool.open(wait=True)
            async with pool.connection() as conn:
                await conn.execute("SELECT 1")
        asyncio.run(main())
        """,
    "asyncio, dropped": """
        import asyncio
        from poolhouse import AsyncConnectionPool
        async def main():
            pool = AsyncConnectionPool({conninfo!r}, min_size=2, open=False)
            await pool.open(wait=True)
        asyncio.run(main())
        """,
}


@pytest.mark.parametrize("ending", ENDINGS)
def test_a_program_that_ends_without_closing_its_pool_complains_of_nothing(
    ending: str, postgres: Postgres
) -> None:
    finish(start(ENDINGS[ending].format(conninfo=postgres.conninfo), has_libraries=True))
