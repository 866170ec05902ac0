import inspect

from poolhouse import code_flags


def test_the_flags_are_those_of_inspect():
    ours = {name: value for name, value in vars(code_flags).items() if name.startswith("CO_")}
    assert ours
    assert ours == {name: getattr(inspect, name) for name in ours}
