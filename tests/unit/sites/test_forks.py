"""The line that forked a process."""

import os

from poolhouse.sites import forks


def test_a_child_knows_the_line_that_forked_it_and_its_parent_none() -> None:
    ends = os.pipe()
    child = os.fork()
    if not child:
        line = forks.line()
        os.write(ends[1], b"none" if line is None else f"{line[0].co_name}".encode())
        os._exit(0)
    os.waitpid(child, 0)
    assert (
        os.read(ends[0], 1_000).decode() == test_a_child_knows_the_line_that_forked_it_and_its_parent_none.__name__
    )
    assert forks.line() is None
    for end in ends:
        os.close(end)
