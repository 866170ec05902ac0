"""Engines and pools that are not what they say they are: proxies and mocks."""

from typing import Any
from unittest.mock import AsyncMock, MagicMock, Mock

import pytest
from sqlalchemy import create_engine
from sqlalchemy.engine import Engine

from poolhouse.instrumentation.engines import root_engine
from poolhouse.instrumentation.proxies import behind, unproxied
from poolhouse.instrumentation.psycopg_pool import watch


class Proxy:
    """As wrapt's: it claims the class of what it stands for, and is equal to it."""

    def __init__(self, wrapped: Any) -> None:
        object.__setattr__(self, "_wrapped", wrapped)

    __class__ = property(lambda self: type(self._wrapped))  # type: ignore[assignment]

    def __getattr__(self, name: str) -> Any:
        return getattr(self._wrapped, name)

    def __hash__(self) -> int:
        return hash(self._wrapped)

    def __eq__(self, other: object) -> bool:
        return bool(self._wrapped == other)


class SlottedProxy(Proxy):
    """As werkzeug's `LocalProxy`: nothing can refer to it weakly."""

    __slots__ = ("_wrapped",)


class Holder:
    """A pool that an application has made: it has no proxy, and a function for a method."""

    def __init__(self) -> None:
        self.get_stats = {"pool_size": 1}.copy


@pytest.mark.parametrize("proxy", [Proxy, SlottedProxy, lambda engine: Proxy(SlottedProxy(engine))])
def test_an_engine_is_found_behind_its_proxies(proxy: Any) -> None:
    engine = create_engine("sqlite://")
    assert root_engine(proxy(engine)) is engine
    assert root_engine(proxy(engine.execution_options(isolation_level="AUTOCOMMIT"))) is engine


def test_an_option_engine_of_an_option_engine_leads_to_the_engine() -> None:
    engine = create_engine("sqlite://")
    option = engine.execution_options(a=1).execution_options(b=2)
    assert root_engine(option) is engine


@pytest.mark.parametrize(
    "mock", [MagicMock(), Mock(), AsyncMock(), MagicMock(spec=Engine), MagicMock(spec=create_engine("sqlite://"))]
)
def test_a_mock_is_refused_at_once(mock: Any) -> None:
    with pytest.raises(TypeError, match="expected an engine of SQLAlchemy, not "):
        root_engine(mock)


@pytest.mark.parametrize("mock", [MagicMock(), Mock(), AsyncMock()])
def test_a_mocked_pool_is_refused_at_once(mock: Any) -> None:
    with pytest.raises(TypeError, match=r"expected a pool with get_stats\(\), not "):
        watch(mock)


def test_what_claims_no_other_class_is_taken_as_it_is() -> None:
    pool = Holder()
    assert unproxied(pool, "get_stats") is pool
    assert unproxied(Proxy(pool), "get_stats") is not pool  # A function knows no pool: the proxy stays.
    assert unproxied(SlottedProxy(create_engine("sqlite://")), "connect").url.database is None
    assert behind(object(), Engine, "connect") is None
