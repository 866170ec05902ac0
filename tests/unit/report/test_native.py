from poolhouse.report.native import Lock, Signal


def test_a_signal_that_was_set_before_anybody_waits_lets_one_pass() -> None:
    signal = Signal()
    assert not signal.wait(0)
    signal.set()
    signal.set()
    assert signal.wait(0)
    assert not signal.wait(0)


def test_a_lock_is_had_once() -> None:
    lock = Lock()
    assert lock.acquire(timeout=0)
    assert not lock.acquire(timeout=0)
    lock.release()
    with lock:
        assert not lock.acquire(timeout=0)
    assert lock.acquire()
