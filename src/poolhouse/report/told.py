"""Which changes of a destination are worth a line of the log. Keeps no time."""

from poolhouse.report.route import State

#: The most further reasons of one outage that are told.
MOST_REASONS = 4


class Told:
    """What was told of one destination.

    Each change of its state is told once. In an outage, so is each further reason that trying again will not
    remove: at first the node had only ended, and now it demands a login.

    >>> told = Told()
    >>> told.is_news(State.UNREACHED, ConnectionRefusedError()), told.is_news(State.UNREACHED, TimeoutError())
    (True, False)
    """

    __slots__ = ("_reasons", "state")

    def __init__(self) -> None:
        self.state = State.UNTRIED
        self._reasons: set[str] = set()

    def is_news(self, state: State, error: Exception | None) -> bool:
        """Whether a line is due. The answer is remembered as told.

        Args:
            state: The destination's state.
            error: The last error; ``None`` if there is none.
        """
        if state is State.UNTRIED:  # A name was looked up again, and what it leads to is not known yet.
            return False
        reason = str(error)
        if state is self.state:
            is_another = state is State.UNREACHED and is_lasting(error) and reason not in self._reasons
            if not is_another or len(self._reasons) > MOST_REASONS:
                return False
        else:
            self._reasons.clear()
        self.state = state
        self._reasons.add(reason)
        return True


def is_lasting(error: Exception | None) -> bool:
    """Whether somebody has to mend something: the node answers, and refuses us or is not trusted.

    >>> is_lasting(TimeoutError()), is_lasting(ValueError("it demands a login"))
    (False, True)
    """
    if isinstance(error, OSError):
        return type(error).__module__ == "ssl"  # Which only a process with TLS loads.
    return error is not None
