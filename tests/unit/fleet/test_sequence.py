import random

import pytest

from poolhouse.fleet.sequence import LARGEST_STEP, REORDER_WINDOW, Sequence


def told(numbers):
    sequence = Sequence(numbers[0])
    news = [sequence.is_new(number) for number in numbers]
    sequence.settle()
    return sequence, news


def test_numbers_in_order_lose_nothing():
    sequence, news = told(range(7, 107))
    assert (sequence.expected, sequence.lost, all(news)) == (100, 0, True)


@pytest.mark.parametrize("gap", [1, 2, REORDER_WINDOW - 1, REORDER_WINDOW, REORDER_WINDOW + 1, 1000])
def test_a_gap_is_lost_once_it_is_out_of_the_window(gap):
    numbers = [1, 2, 3, *range(4 + gap, 60 + gap)]
    sequence, _ = told(numbers)
    assert (sequence.lost, sequence.expected) == (gap, numbers[-1])


def test_what_is_late_within_the_window_is_not_lost():
    numbers = list(range(100))
    rng = random.Random(5)
    shuffled = [0, *sorted(numbers[1:], key=lambda number: number + rng.random() * (REORDER_WINDOW - 1))]
    sequence, news = told(shuffled)
    assert (sequence.expected, sequence.lost, all(news)) == (100, 0, True)


def test_a_repetition_is_told_from_what_is_new():
    sequence = Sequence(2)
    assert [sequence.is_new(number) for number in (2, 2, 4, 3, 3, 4)] == [True, False, True, True, False, False]
    assert sequence.lost == 0


def test_a_missing_number_is_not_lost_before_the_window_has_passed():
    sequence = Sequence(2)
    for number in range(3, 2 + REORDER_WINDOW):
        sequence.is_new(number)
    assert sequence.lost == 0
    sequence.is_new(2 + REORDER_WINDOW)
    assert sequence.lost == 1


def test_random_losses_are_counted_exactly():
    rng = random.Random(3)
    numbers = [number for number in range(5000) if number in (0, 4999) or rng.random() > 0.2]
    sequence, _ = told(numbers)
    assert sequence.lost == 5000 - len(numbers)


def test_a_step_that_no_loss_explains_is_a_new_numbering():
    sequence, _ = told([1, 2, 3 + LARGEST_STEP, 4 + LARGEST_STEP])
    assert (sequence.expected, sequence.lost) == (4, 0)


def test_what_was_sent_before_the_first_that_came_is_new_and_not_expected():
    sequence, news = told([5, 4, 6, 3])
    assert (news, sequence.expected, sequence.lost) == ([True] * 4, 2, 0)


def test_numbers_that_were_sent_another_way_are_not_missing_and_are_new_when_they_come():
    sequence = Sequence(1)
    assert sequence.is_new(1)
    assert sequence.is_new(5, is_lossy=False)
    assert [sequence.is_new(number) for number in (3, 3, 5)] == [True, False, False]
    for number in range(6, 40):
        assert sequence.is_new(number)
    assert (sequence.lost, sequence.expected) == (0, 35)


def test_what_was_open_before_a_step_over_tcp_is_lost_in_its_time():
    sequence = Sequence(1)
    for number in (1, 2, 4):
        assert sequence.is_new(number)
    assert sequence.is_new(40, is_lossy=False)
    assert (sequence.lost, sequence.expected) == (1, 4)
    assert sequence.is_new(1 << 30, is_lossy=False)
    assert sequence.lost == 1


@pytest.mark.parametrize("seed", range(20))
def test_each_missing_number_between_datagrams_by_udp_is_lost_once(seed):
    """Whatever comes by TCP in between; it is in order here."""
    rng = random.Random(seed)
    sequence, missing, number = Sequence(1), 0, 0
    for _ in range(300):
        skipped = rng.choice((0, 0, 0, 1, 3, 20))
        is_lossy = rng.random() < 0.6
        number += 1 + skipped
        missing += skipped if is_lossy else 0
        assert sequence.is_new(number, is_lossy=is_lossy)
    sequence.settle()
    assert sequence.lost == missing
