"""Finding the pools of a program that runs already."""

from poolhouse.attach.late import instances


class Pool:
    """Stands for a library's."""


class Small(Pool):
    """One of another class."""


class Proxy:
    """Claims another class, by code of the application."""

    @property  # type: ignore[misc]
    def __class__(self) -> type:
        raise AssertionError("asked for its class")


def test_instances_of_a_class_and_of_those_below_it_are_found() -> None:
    pools = [Pool(), Small()]
    assert instances([1, *pools, Pool, None], {Pool: "handler"}) == [(pool, "handler") for pool in pools]


def test_an_object_that_claims_a_class_is_not_asked() -> None:
    assert instances([Proxy()], {Pool: "handler"}) == []
