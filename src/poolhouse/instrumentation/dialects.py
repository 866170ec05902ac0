"""connmon's dialect names: ``mysql+pymysql_connmon://…``, ``postgresql+connmon://…``, for every driver.

SQLAlchemy loads `ConnmonDialect` for such a name, which hands over to the dialect of the name without ``connmon``.
The engine has that very dialect, and a URL without our part. The settings are in the URL: ``connmon_service``,
``connmon_addr``, ``connmon_config``, ``connmon_program_name``, ``connmon_report_host`` and ``connmon_interval``.
"""

import re
from typing import TYPE_CHECKING, Any

import sqlalchemy
from sqlalchemy.engine import Dialect, Engine
from sqlalchemy.exc import ArgumentError

from poolhouse.errors import SettingError
from poolhouse.instrumentation.engines import require_version
from poolhouse.instrumentation.plugin import measure, own_settings, service_destination_of
from poolhouse.report.destination import CONNMON_PREFIX

if TYPE_CHECKING:
    from sqlalchemy.engine import URL

#: ``mysql+pymysql_connmon``, ``mysql+connmon``.
_NAME = re.compile(r"(?P<dialect>[^+]+)\+(?:(?P<driver>.+)_)?connmon")

#: Dialects that strip our part from the URL, by the dialects that they replace.
_unburdened: dict[type[Dialect], type[Dialect]] = {}


class ConnmonDialect:
    """The class that SQLAlchemy's registry finds under connmon's names."""

    @classmethod
    def get_dialect_cls(cls, url: "URL") -> type[Dialect]:
        """The dialect without ``connmon``."""
        require_version(sqlalchemy.__version__)
        plain = plain_url(url)
        return _unburdening(plain._get_entrypoint().get_dialect_cls(plain))

    @classmethod
    def get_async_dialect_cls(cls, url: "URL") -> type[Dialect]:
        """The same for `create_async_engine`."""
        require_version(sqlalchemy.__version__)
        plain = plain_url(url)
        return _unburdening(plain._get_entrypoint().get_async_dialect_cls(plain))

    @classmethod
    def engine_created(cls, engine: Engine) -> None:
        """Start measuring.

        Raises:
            sqlalchemy.exc.ArgumentError: If a setting is wrong; it names the setting.
        """
        plain = plain_url(engine.url)
        try:
            own = own_settings(engine.url, {}, (CONNMON_PREFIX,))
            destination = service_destination_of(engine.url, {})
        except SettingError as error:
            raise ArgumentError(str(error)) from None
        engine.url = plain
        # SQLAlchemy has notified this dialect; an entry point that handed over to it must be notified too.
        if (entrypoint := plain._get_entrypoint()) is not type(engine.dialect):
            entrypoint.engine_created(engine)
        measure(engine, destination, own)

    @classmethod
    def load_provisioning(cls) -> None:
        """Called by SQLAlchemy's own test suite."""


def plain_url(url: "URL") -> "URL":
    r"""The URL that the application would use without connmon.

    A backslash at the end of a parameter is removed too: devstack's files escape the ``&`` before ours with it.

    >>> from sqlalchemy.engine import make_url
    >>> plain_url(make_url(r"mysql+pymysql_connmon://db/nova?charset=utf8\\&connmon_service=default"))
    mysql+pymysql://db/nova?charset=utf8
    >>> plain_url(make_url("sqlite+connmon:///shop.db"))
    sqlite:///shop.db
    """
    match = _NAME.fullmatch(url.drivername)
    assert match is not None, "SQLAlchemy asks only for names that we have registered"
    driver = match["driver"]
    query = {key: value for key, value in url.query.items() if not key.startswith(CONNMON_PREFIX)}
    if len(query) < len(url.query):
        query = {key: _unescaped(value) for key, value in query.items()}
    return url.set(drivername=match["dialect"] + (f"+{driver}" if driver else ""), query=query)


def _unescaped(value: Any) -> Any:
    return value.rstrip("\\") if isinstance(value, str) else value


def _unburdening(dialect: type[Dialect]) -> type[Dialect]:
    """The dialect without our part of the URL that SQLAlchemy passes to it for connecting.

    `create_engine` makes the instance, lets it read the URL, and keeps it; after that, it is of the plain class.
    """
    found = _unburdened.get(dialect)
    if found is None:

        def create_connect_args(self: Any, url: "URL") -> Any:
            self.__class__ = dialect
            return self.create_connect_args(plain_url(url))

        attributes = {
            "__module__": dialect.__module__,
            "__qualname__": dialect.__qualname__,
            "create_connect_args": create_connect_args,
            # SQLAlchemy reads this from the class itself, not from its base classes.
            "supports_statement_cache": dialect.__dict__.get("supports_statement_cache", False),
        }
        found = _unburdened[dialect] = type(dialect.__name__, (dialect,), attributes)
    return found
