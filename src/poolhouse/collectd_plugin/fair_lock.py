"""A lock that a thread which works in steps gives up to whoever waits."""

import threading


class FairLock:
    """A lock for ``with``; whoever waits gets it before a thread that releases it and wants it again.

    A plain lock goes to the thread that asks first once it is free: usually that which has just released it, since
    one that waits has yet to wake up. Receivers then wait for all steps of a long work instead of one.
    """

    def __init__(self) -> None:
        #: Held by the thread that is next, until it has the other.
        self._turn = threading.Lock()
        self._lock = threading.Lock()

    def __enter__(self) -> None:
        with self._turn:
            self._lock.acquire()

    def __exit__(self, *_: object) -> None:
        self._lock.release()
