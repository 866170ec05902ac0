"""How poolhouse treats a pool of an application that does not mention poolhouse.

`poolhouse.attach.finder` calls these functions with each pool, or the engine that owns one, once it is made. The
application's own settings take precedence: ``plugin=collectd`` and `poolhouse.instrument` come later than the
engine, so its pool is measured only from its first use on, and only if it is not measured by then.
"""

import sys
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from poolhouse.errors import SettingError
from poolhouse.instrumentation import uwsgi
from poolhouse.instrumentation.guard import report
from poolhouse.instrumentation.installation import version_problem
from poolhouse.report import reporter
from poolhouse.report.log import log
from poolhouse.safely import DEBUG, ERROR, Log
from poolhouse.sites.modules import modules_of
from poolhouse.sites.stack import line_in_words

if TYPE_CHECKING:
    from sqlalchemy.engine import Engine
    from sqlalchemy.pool import Pool

_logger = Log("poolhouse.attach")

#: The kinds of mistakes that this process has already logged.
_told: set[str] = set()

#: The methods of a pool that a `Pending` replaces.
_METHODS = ("connect", "recreate")


def pool_made(pool: Any) -> None:
    """Watch a pool that belongs to no engine, as `poolhouse.watch` would; a wrong destination is logged."""
    from poolhouse.instrumentation.watching import watch_in

    uwsgi.warn_once()
    try:
        watch_in(pool, reporter.automatic_stream)
    except SettingError as error:
        _tell_setting(error)


def engine_made(engine: "Engine") -> None:
    """Measure the pool of an engine from its first use on, unless it is measured by then.

    Args:
        engine: An engine of SQLAlchemy that has its pool.
    """
    uwsgi.warn_once()
    expect(engine, line_in_words(sys._getframe(1), modules_of()))


def expect(engine: "Engine", made_at: str) -> None:
    """Prepare an engine to be measured from its pool's first use on.

    Args:
        engine: The engine.
        made_at: The line of the application that made it, in words; empty if not known.
    """
    pool = engine.pool
    pending = pending_of(pool)
    if pending is not None:
        pending.engines.append(engine)  # Several engines may share a pool.
    elif _is_watched(pool):
        begin([engine], made_at)
    else:
        Pending([engine], made_at).stand_in(pool)
        if _is_in_use(pool):  # The program is already running: show what it holds at once.
            begin([engine], made_at)


def begin(engines: "list[Engine]", made_at: str) -> None:
    """Measure those engines that are not measured yet. Never raises an `Exception`."""
    import sqlalchemy

    problem = version_problem(sqlalchemy.__version__)
    if problem is not None:
        log(DEBUG, "%s", problem, logger=_logger)
        return
    from poolhouse.instrumentation.engines import root_engine
    from poolhouse.instrumentation.watch import watch

    try:
        stream = reporter.automatic_stream()
        for engine in engines:
            watch(root_engine(engine), stream, made_at=made_at)
    except SettingError as error:
        _tell_setting(error)
    except Exception:
        report("attach")


class Pending:
    """Replaces two methods of a pool until the first use of the pool, or of one that replaces it.

    Attributes:
        engines: The engines that have the pool.
    """

    def __init__(self, engines: "list[Engine]", made_at: str) -> None:
        self.engines = engines
        self._made_at = made_at
        #: The pool's own attributes of these names; ``None`` for a method of its class.
        self._own: dict[str, Any] = {}
        self._is_over = False

    def stand_in(self, pool: "Pool") -> None:
        """Set the replacements on the pool's instance."""
        attributes = vars(pool)
        connect, recreate = pool.connect, pool.recreate
        self._own = {name: attributes.get(name) for name in _METHODS}
        stand_ins: dict[str, Any] = {
            "connect": self._first_connect(pool, connect),
            "recreate": self._successor(pool, recreate),
        }
        for stand_in in stand_ins.values():
            stand_in._pending = self
        attributes.update(stand_ins)

    def give_way(self, pool: "Pool") -> None:
        """Restore the pool's methods, except where the application has replaced ours since."""
        self._is_over = True
        self._leave(pool)

    def _leave(self, pool: "Pool") -> None:
        attributes = vars(pool)
        for name in _METHODS:
            if getattr(attributes.get(name), "_pending", None) is self:
                if self._own[name] is None:
                    attributes.pop(name, None)
                else:
                    attributes[name] = self._own[name]

    def _first_connect(self, pool: "Pool", connect: Callable[..., Any]) -> Callable[..., Any]:
        def first_connect(*args: Any, **kwargs: Any) -> Any:
            is_ours = getattr(vars(pool).get("connect"), "_pending", None) is self
            if not self._is_over:
                self.give_way(pool)
                begin(self.engines, self._made_at)
            # If the application has wrapped this function, the pool's would lead back here.
            return pool.connect(*args, **kwargs) if is_ours else connect(*args, **kwargs)

        return first_connect

    def _successor(self, pool: "Pool", recreate: "Callable[..., Pool]") -> "Callable[..., Pool]":
        def first_recreate(*args: Any, **kwargs: Any) -> "Pool":
            successor = recreate(*args, **kwargs)
            try:
                if successor is not pool:
                    self._leave(successor)  # A copy of the pool also has the replacements of its methods.
                if not self._is_over and pending_of(successor) is None:
                    Pending(self.engines, self._made_at).stand_in(successor)
            except Exception:
                report("attach")
            return successor

        return first_recreate


def pending_of(pool: Any) -> Pending | None:
    """The `Pending` of a pool; ``None`` if it has none."""
    found = getattr(vars(pool).get("connect"), "_pending", None)
    return found if isinstance(found, Pending) else None


def _is_in_use(pool: Any) -> bool:
    """Whether a pool has connections, in use or idle."""
    from poolhouse.instrumentation.engines import held_records

    count = getattr(pool, "checkedout", None)
    out = count() if callable(count) else 0
    return bool(out) or any(record.dbapi_connection is not None for record in held_records(pool))


def _is_watched(pool: Any) -> bool:
    watching = sys.modules.get("poolhouse.instrumentation.watch")  # If not imported, no pool is watched.
    return watching is not None and watching.is_watched(pool)


def _tell_setting(error: SettingError) -> None:
    """Log a wrong setting of the environment, once in this process."""
    if str(error) not in _told:
        _told.add(str(error))
        log(ERROR, "poolhouse reports no pools: %s", error, logger=_logger)
