"""The object behind a proxy.

Libraries hand out engines and pools behind proxies (wrapt's, werkzeug's ``LocalProxy``). A proxy claims the class
of its object, but it may refuse weak references, and it may be collected while the object lives. A mock claims a
class too, but has no object.
"""

from typing import Any, TypeVar, cast

T = TypeVar("T")


def behind(thing: Any, kind: type[T], method: str) -> T | None:
    """`thing` itself if it is of this class, else the object behind it that is; ``None`` if neither is.

    Args:
        thing: Anything.
        kind: The class.
        method: The name of a method of that class. A proxy passes on bound methods, which refer to their object.

    >>> class Proxy:
    ...     def __init__(self, other): self.other = other
    ...     def __getattr__(self, name): return getattr(self.other, name)
    >>> behind(Proxy("text"), str, "upper"), behind("text", str, "upper"), behind(5, str, "upper")
    ('text', 'text', None)
    """
    for found in (thing, getattr(getattr(thing, method, None), "__self__", None)):
        if issubclass(type(found), kind):
            return cast("T", found)
    return None


def unproxied(thing: Any, method: str) -> Any:
    """`thing` itself, or the object behind it whose class it claims.

    Args:
        thing: Anything.
        method: The name of a method of that object; if `thing` lacks it, `thing` is returned.
    """
    found: Any = getattr(getattr(thing, method, None), "__self__", None)
    is_claimed = found is not None and not isinstance(thing, type) and isinstance(thing, type(found))
    return found if is_claimed else thing
