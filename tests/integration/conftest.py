"""Servers that several tests share. A test that ends, kills or freezes its server starts one of its own."""

from collections.abc import Iterator

import pytest

from support.mariadb import MariaDB, mariadb_server
from support.postgres import Postgres, postgres_server


@pytest.fixture(scope="session")
def postgres() -> Iterator[Postgres]:
    with postgres_server() as server:
        yield server


@pytest.fixture(scope="session")
def mariadb() -> Iterator[MariaDB]:
    with mariadb_server() as server:
        yield server
