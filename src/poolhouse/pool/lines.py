"""Which line of the application holds a connection of our pools when a library or helper takes it.

Usually the application takes it, and the caller's line is recorded at no cost. The first checkout, and each that
takes the slow path, checks what the caller is. If it is a library, such as Django's database layer, or a helper of
the application (a generator that `contextlib` runs, an ``__enter__``), the line is found as for SQLAlchemy's pools
(`poolhouse.sites.table`), for each checkout from then on.
"""

from types import CodeType, FrameType

from poolhouse.sites.modules import Kind, modules_of
from poolhouse.sites.stack import beyond, is_comprehension, is_helper
from poolhouse.sites.words import CallSite

#: How many frames lie between `SiteTable.find` and the pool's caller: `Lines.of`, `BasePool._line_of`, the method.
_CALLER = 3


class Lines:
    """Finds the lines of one pool. Any thread may use it.

    Attributes:
        is_sought: Whether code other than the application takes connections, so each checkout must be examined.
        helpers: The line of the helper through which a line takes connections, by the identity of that line's
            code and its instruction.
    """

    __slots__ = ("_plain", "_table", "helpers", "is_sought")

    def __init__(self) -> None:
        self.is_sought = False
        self.helpers: dict[tuple[int, int], CallSite] = {}
        #: The last caller found to be the application: its frames need no second look.
        self._plain: CodeType | None = None
        self._table: object = None

    def of(self, frame: FrameType) -> CallSite:
        """The line that holds what `frame`, a method of the pool, is taking.

        Only `BasePool._line_of` may call this, since the depth of the frame is fixed.
        """
        code, instruction = frame.f_code, frame.f_lasti
        if not self.is_sought:
            if code is self._plain:
                return code, instruction
            if asks_for_itself(frame):
                self._plain = code
                return code, instruction
            self.is_sought = True
        from poolhouse.sites.table import SiteTable

        table = self._table
        if not isinstance(table, SiteTable):
            self._table = table = SiteTable()
        site = table.find(_CALLER)
        if site.place is None:
            return code, instruction
        if site.helper is not None:
            self.helpers[id(site.place[0]), site.place[1]] = site.helper
        return site.place


def asks_for_itself(frame: FrameType) -> bool:
    """Whether a pool's caller is itself the line that holds the connection."""
    modules = modules_of()
    if modules.kind_of(frame) is not Kind.APPLICATION:
        # The caller is a block of a pool with an overridden `getconn`, which finds the line itself.
        return str(frame.f_globals.get("__name__")).startswith("poolhouse.pool.")
    if is_comprehension(frame):
        return False
    return not is_helper(frame) or beyond(frame, modules, ()) is frame
