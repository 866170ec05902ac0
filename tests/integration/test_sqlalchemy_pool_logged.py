"""What SQLAlchemy logs of a FairQueuePool, where its documentation says to look."""

import logging
from pathlib import Path

import pytest
from sqlalchemy import create_engine
from sqlalchemy.pool import QueuePool

from poolhouse.pool.sqlalchemy import FairQueuePool


@pytest.mark.parametrize("kind", [QueuePool, FairQueuePool])
def test_the_level_of_sqlalchemys_logger_for_pools_holds_for_it(
    kind: type[QueuePool] | type[FairQueuePool], tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    with caplog.at_level(logging.DEBUG, logger="sqlalchemy.pool"):
        engine = create_engine(f"sqlite:///{tmp_path}/file.db", poolclass=kind)
        engine.connect().close()
        engine.dispose()
    assert {record.name.startswith("sqlalchemy.pool.") for record in caplog.records} == {True}
    messages = [record.getMessage() for record in caplog.records]
    for words in ("Created new connection", "checked out from pool", "being returned to pool", "Pool disposed"):
        assert any(words in message for message in messages), messages


def test_the_pools_name_is_at_the_end_of_the_loggers(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.DEBUG, logger="sqlalchemy.pool"):
        engine = create_engine(
            f"sqlite:///{tmp_path}/file.db", poolclass=FairQueuePool, pool_logging_name="orders", echo_pool="debug"
        )
        engine.connect().close()
    assert {record.name for record in caplog.records} == {"sqlalchemy.pool.FairQueuePool.orders"}
