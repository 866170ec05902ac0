"""What the child of a fork does with the connections of a `FairQueuePool` that are its parent's: nothing."""

from typing import Any

from sqlalchemy import exc

from poolhouse.pool.words import logger

#: What a child inherited: neither used nor closed, since it is the parent's, and kept from being collected.
_inherited: list[Any] = []


def keep(inherited: Any) -> None:
    """Leave something to the parent: keep it from being collected, which might close it."""
    _inherited.append(inherited)


def disown(record: Any) -> None:
    """Leave a record to the parent, and take its connection from whoever has it in this process.

    Else the end of its use here, or its collection, would roll back what the parent has begun.
    """
    keep((record, record.dbapi_connection))
    fairy = None if record.fairy_ref is None else record.fairy_ref()
    record.fairy_ref = record.dbapi_connection = None
    if fairy is not None:
        fairy.dbapi_connection = Inherited()


class Inherited:
    """Stands, in a child, for a connection of the parent's: to end its use does nothing, to use it is an error."""

    def __init__(self) -> None:
        self._has_warned = False

    def rollback(self) -> None:
        """What SQLAlchemy does with a connection that is given back; once or twice."""
        if not self._has_warned:
            self._has_warned = True
            logger.warning(
                "a connection that was taken before this process was forked is the parent's, and is left alone"
            )

    def close(self) -> None:
        """There is nothing to close."""

    def __getattr__(self, name: str) -> Any:
        raise exc.InvalidRequestError(
            "this connection was taken before this process was forked, and belongs to the parent: take a new one"
        )
