"""What is told of the sites of a pool."""

from poolhouse.meter.signs import Looks
from poolhouse.sites.readings import site_readings
from poolhouse.sites.seen import Seen, State
from poolhouse.sites.site import Site
from poolhouse.sites.words import site_of


def site(line: int, *uses: float) -> Site:
    code = compile("\n" * (line - 1) + "pass", "/srv/app/views.py", "exec")
    made = Site((code, 2))
    for use in uses:
        made.ended(use)
    made.fold()
    return made


def test_connections_that_are_out_count_among_the_connection_seconds() -> None:
    busy, idle = site(3, 1.0, 2.0), site(5)
    told = site_readings([busy, idle, site(7)], [(busy, 90.0), (busy, 95.0), (idle, 80.0)], 100.0)
    assert [(each.site, each.open, each.oldest_s, each.returned, each.held_s) for each in told] == [
        ("app/views.py:5 in <module>", 1, 20.0, 0, 20.0),
        ("app/views.py:3 in <module>", 2, 10.0, 2, 18.0),
    ]


def test_what_was_told_never_falls() -> None:
    one = site(3)
    assert site_readings([one], [(one, 90.0)], 100.0)[0].held_s == 10.0
    one.waits.append(0.5)
    assert site_readings([one], [], 100.0)[0][5:7] == (10.0, 0.5), "it has come back and is not folded yet"
    one.waits.append(0.25)
    one.collected.add()
    assert site_readings([one], [], 100.0)[0][4:7] == (1, 10.0, 0.75)


def test_sites_of_the_same_words_are_one_and_those_without_room_are_the_rest() -> None:
    sites = [site(line, float(line)) for line in range(1, 11)]
    place = compile("pass", "/srv/app/a.py", "exec"), 0, {}
    for seen in (Seen(State.BUSY), Seen(State.IDLE, place), Seen(State.IDLE, place)):
        sites[2].looks.count(seen)
    told = site_readings([*sites, site(10, 0.5)], [], 0.0, most=3)
    assert [(each.site, each.held_s) for each in told] == [
        ("app/views.py:10 in <module>", 10.5),
        ("app/views.py:9 in <module>", 9.0),
        ("app/views.py:8 in <module>", 8.0),
        ("other", 28.0),
    ]
    assert told[3].looks == Looks(busy=1, idle=2)
    assert told[3].idle_line == "app/a.py:1 in <module>"
    assert told[0].use is not None
    assert told[0].use.count == 2


def test_the_idle_line_is_where_the_holders_were_lately() -> None:
    """A program that has run for days, and now holds its connections at another line, is told by that one."""
    one = site(3)
    before, now = (Seen(State.IDLE, (compile("pass", f"/srv/app/{name}.py", "exec"), 0, {})) for name in "ab")

    def told_after(seen: Seen, looks: int) -> str:
        for _ in range(looks):
            one.looks.count(seen)
        (told,) = site_readings([one], [], 0.0)
        return told.idle_line

    assert {told_after(before, 20) for _ in range(1_000)} == {"app/a.py:1 in <module>"}
    # Three reports are the window of a verdict.
    assert [told_after(now, 20) for _ in range(3)][-1] == "app/b.py:1 in <module>"
    assert {told_after(now, 20) for _ in range(7)} == {"app/b.py:1 in <module>"}
    assert told_after(before, 20) == "app/b.py:1 in <module>", "a single interval changes nothing"
    assert {told_after(before, 0) for _ in range(1_000)} == {"app/b.py:1 in <module>"}, (
        "until there is another one"
    )


def test_a_line_in_words_has_no_value_of_the_program() -> None:
    code = compile("password = 'geheim'", "C:\\srv\\app\\views.py", "exec")
    assert site_of(code, 2) == "app/views.py:1 in <module>"
