from poolhouse.fleet.events import GATHERED_SECONDS, EventLog


def test_events_are_told_oldest_first_and_the_oldest_go():
    log = EventLog(2)
    for second, program in enumerate(("a", "b", "c")):
        log.add(float(second), "appeared", "web1", program, "1:aa")
    assert [(event.wall_time, event.program) for event in log.events()] == [(1.0, "b"), (2.0, "c")]


def test_alike_events_within_seconds_are_one_line():
    log = EventLog(10)
    for second in (0.0, 1.0, 2.0, GATHERED_SECONDS + 1):
        log.add(second, "appeared", "web1", "nova", f"{second:g}")
    log.add(2.0, "goodbye", "web1", "nova", "x")
    assert [event.text for event in log.events()] == ["0, and 2 more", f"{GATHERED_SECONDS + 1:g}", "x"]


def test_what_a_line_would_join_is_forgotten_with_the_line():
    log = EventLog(1)
    for program in range(1000):
        log.add(0.0, "appeared", "web1", str(program), "")
    assert len(log._newest) == 1


def test_a_log_of_no_length_keeps_nothing():
    log = EventLog(0)
    log.add(0.0, "appeared", "web1", "nova", "")
    assert log.events() == ()
