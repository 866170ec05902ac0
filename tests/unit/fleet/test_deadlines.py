from poolhouse.fleet.deadlines import Deadlines


class Item:
    deadline: float | None = None


def test_items_come_in_the_order_of_their_deadlines_once_these_have_passed():
    deadlines, first, second = Deadlines(), Item(), Item()
    deadlines.set(second, 2.0)
    deadlines.set(first, 1.0)
    assert deadlines.pop_passed(0.5) is None
    assert [deadlines.pop_passed(2.0), deadlines.pop_passed(2.0), deadlines.pop_passed(9.0)] == [
        first,
        second,
        None,
    ]


def test_only_an_items_newest_deadline_counts():
    deadlines, item = Deadlines(), Item()
    deadlines.set(item, 1.0)
    deadlines.set(item, 3.0)
    assert deadlines.pop_passed(2.0) is None
    assert deadlines.pop_passed(3.0) is item
    assert item.deadline is None


def test_an_item_without_a_deadline_is_passed_over():
    deadlines, item = Deadlines(), Item()
    deadlines.set(item, 1.0)
    item.deadline = None
    assert deadlines.pop_passed(2.0) is None


def test_outdated_entries_do_not_pile_up():
    deadlines, item = Deadlines(), Item()
    for second in range(100_000):
        deadlines.set(item, float(second))
    assert len(deadlines._heap) <= 2048
    assert deadlines.pop_passed(1e6) is item
