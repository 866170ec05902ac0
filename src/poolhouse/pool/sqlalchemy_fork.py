"""How a forked child leaves alone the connections of a `FairQueuePool` that belong to its parent."""

from typing import Any

from sqlalchemy import exc

from poolhouse.pool.words import logger

#: Objects that a child inherited: neither used nor closed, and kept from the garbage collector.
_inherited: list[Any] = []


def keep(inherited: Any) -> None:
    """Keep an object of the parent's from being collected, which might close its connection."""
    _inherited.append(inherited)


def disown(record: Any) -> None:
    """Leave a record to the parent, and detach its connection from its user in this process.

    Otherwise the end of its use here, or its collection, would roll back the parent's transaction.
    """
    keep((record, record.dbapi_connection))
    fairy = None if record.fairy_ref is None else record.fairy_ref()
    record.fairy_ref = record.dbapi_connection = None
    if fairy is not None:
        fairy.dbapi_connection = Inherited()


class Inherited:
    """Replaces a connection of the parent in a child: ending its use does nothing, using it is an error."""

    def __init__(self) -> None:
        self._has_warned = False

    def rollback(self) -> None:
        """Do nothing; SQLAlchemy calls this once or twice when a connection is returned."""
        if not self._has_warned:
            self._has_warned = True
            logger.warning(
                "a connection taken before this process was forked belongs to the parent and is left alone"
            )

    def close(self) -> None:
        """Do nothing: there is nothing to close."""

    def __getattr__(self, name: str) -> Any:
        raise exc.InvalidRequestError(
            "this connection was taken before this process was forked, and belongs to the parent: take a new one"
        )
