"""A verdict in one sentence, the same in the log, in an exception, and in the window."""

from collections.abc import Callable, Mapping

from poolhouse.meter.signs import Finding
from poolhouse.verdicts.verdict import Culprit, Verdict, named, parse_line


class _Facts:
    """A verdict's numbers and names, in the forms that its sentence needs."""

    def __init__(
        self,
        numbers: Mapping[str, float],
        culprit: Culprit | None,
        target: str,
        shares: tuple[tuple[str, int, int | None], ...],
    ) -> None:
        self._numbers = numbers
        self.culprit = culprit
        self.target = target or "the database"
        self.shares = shares

    def __getitem__(self, name: str) -> float:
        return self._numbers.get(name, 0.0)

    def count(self, name: str) -> str:
        return f"{self[name]:.0f}"

    def several(self, name: str, noun: str) -> str:
        """``1 connection``, ``3 connections``."""
        return f"{self.count(name)} {noun}" + "s" * (self.count(name) != "1")

    def time(self, name: str) -> str:
        return seconds(self[name])

    def share(self, name: str) -> str:
        return f"about {100 * min(max(self[name], 0.0), 1.0):.0f} %"

    @property
    def of_max(self) -> str:
        """``12 of 15 connections in use``."""
        most = f" of {self.count('max')}" if self["max"] else ""
        return f"{self.count('used')}{most} connections in use"

    @property
    def wait(self) -> str:
        waiting = round(self["waiting"])
        return f"; {wait_in_words(waiting)}" if waiting else ""

    def place(self, otherwise: str) -> str:
        """The culprit's line, with the helper in between; otherwise the given words."""
        if self.culprit is None or not self.culprit.place:
            return otherwise
        return self.culprit.place + (f" via {self.culprit.via}" if self.culprit.via else "")

    @property
    def habit(self) -> str:
        """``for 2.1 s each (before: 0.2 s)``."""
        before = f" (before: {self.time('habit_s')})" if self["habit_s"] else ""
        return f"for {self.time('hold_s')} each{before}"

    @property
    def now_at(self) -> str:
        return "" if self.culprit is None else self.culprit.now_at


def _database_down(facts: _Facts) -> str:
    reasons = {
        "refused": "refused",
        "timeout": "timed out",
        "dns": "name not found",
        "starting": "server starting or stopping",
        "lost": "cut off",
    }
    kinds = [f"{facts.count(name)} {words}" for name, words in reasons.items() if facts[name]]
    why = f" ({', '.join(kinds)})" if kinds else ""
    return f"{facts.several('failed', 'connect')} to {facts.target} failed{why}, none succeeded"


def _server_full(facts: _Facts) -> str:
    text = f"{facts.target} refused {facts.count('refused')} connects: all the connections that it allows are open"
    if facts.shares:
        told = [
            f"{program} {used}" + (f" of {most}" if most is not None else "")
            for program, used, most in facts.shares[:4]
        ]
        text += f"; open: {', '.join(told)}"
    return text


def _shared_after_fork(facts: _Facts) -> str:
    fork = facts.place("")
    forked = f", which {fork} forked," if fork else ""
    taker = f" at {facts.now_at}" if facts.now_at else ""
    return f"a child process{forked} took {facts.several('used', 'connection')} of its parent{taker}"


def _nested_checkout(facts: _Facts) -> str:
    via = f" at {facts.now_at}" if facts.now_at else ""
    return (
        f"{facts.place('a line')} holds a connection and waits for another one{via}: {facts.of_max}{facts.wait}, "
        f"oldest {facts.time('oldest_s')}"
    )


def _no_cpu(facts: _Facts) -> str:
    return f"the process gets no CPU: {facts.share('late')} of {facts.count('looks')} samples were late"


def _event_loop_blocked(facts: _Facts) -> str:
    return (
        f"{facts.place('a call')} blocked the event loop for {facts.time('stalled_s')} of the last "
        f"{facts.time('window_s')}, {facts.time('longest_s')} at a time"
    )


def _stale_connections(facts: _Facts) -> str:
    return f"{facts.several('dead', 'connection')} to {facts.target} were dead when used; new ones succeed"


def _engine_per_request(facts: _Facts) -> str:
    return (
        f"{facts.place('one line')} makes one pool after another for {facts.target}: {facts.count('pools')} "
        f"pools, {facts.count('made')} of them just now"
    )


def _slow_host(facts: _Facts) -> str:
    return (
        f"{facts.place('the program')} holds connections for {facts.time('hold_s')} there, for "
        f"{facts.time('others_s')} on the other hosts"
    )


def _leak(facts: _Facts) -> str:
    place = facts.place("a line")
    if not facts["kept"]:
        return f"{place} dropped {facts.count('collected')} connections without returning them"
    most = f" of {facts.count('max')}" if facts["max"] else ""
    return (
        f"{place} keeps {facts.count('kept')}{most} connections, oldest {facts.time('oldest_s')}; its call has "
        f"ended{facts.wait}"
    )


def _duplicate_engines(facts: _Facts) -> str:
    return f"{facts.place('one line')} made {facts.count('pools')} pools for {facts.target}"


def _row_lock(facts: _Facts) -> str:
    if not facts["idle_holders"]:
        return (
            f"{facts.share('busy')} of the holders wait inside the database and none comes back: a lock whose "
            f"holder does not report, or a statement that does not end: {facts.of_max}{facts.wait}"
        )
    at = f", idle at {facts.now_at}" if facts.now_at else ", idle"
    return (
        f"{facts.share('busy')} of the holders wait inside the database; meanwhile {facts.place('a line')} holds "
        f"a connection{at}: {facts.of_max}{facts.wait}"
    )


def _slow_statement(facts: _Facts) -> str:
    place = facts.place("every line")
    return f"{place} holds connections inside the database {facts.habit}: {facts.of_max}{facts.wait}"


def _held_idle(facts: _Facts) -> str:
    at = f" at {facts.now_at}" if facts.now_at else ""
    return (
        f"{facts.place('every line')} holds connections {facts.habit}, and is outside the database "
        f"{facts.share('idle')} of that{at}: {facts.of_max}{facts.wait}"
    )


def _pool_too_small(facts: _Facts) -> str:
    return f"{facts.of_max}{facts.wait}; held {facts.habit}, as ever: {facts.count('size')} would do"


_SENTENCES: dict[str, Callable[[_Facts], str]] = {
    "database_down": _database_down,
    "server_full": _server_full,
    "shared_after_fork": _shared_after_fork,
    "nested_checkout": _nested_checkout,
    "no_cpu": _no_cpu,
    "event_loop_blocked": _event_loop_blocked,
    "stale_connections": _stale_connections,
    "engine_per_request": _engine_per_request,
    "slow_host": _slow_host,
    "leak": _leak,
    "duplicate_engines": _duplicate_engines,
    "row_lock": _row_lock,
    "slow_statement": _slow_statement,
    "held_idle": _held_idle,
    "pool_too_small": _pool_too_small,
}


def sentence(verdict: Verdict) -> str:
    """The verdict in words, without its cause's name, program and hosts.

    >>> sentence(Verdict("leak", 0.0, "shop", evidence=(("kept", 3.0), ("max", 15.0), ("oldest_s", 9.1))))
    'a line keeps 3 of 15 connections, oldest 9 s; its call has ended'
    """
    return _say(verdict.cause, _Facts(dict(verdict.evidence), verdict.culprit, verdict.target, verdict.shares))


def reason_of(verdict: Verdict) -> str:
    """The verdict's cause and sentence, without the number of waiting callers.

    For a text that counts them itself: the verdict's count is some seconds old, and one line must not give two
    different numbers.
    """
    evidence = tuple(one for one in verdict.evidence if one[0] != "waiting")
    return f"{verdict.cause}: {sentence(verdict._replace(evidence=evidence))}"


def finding_sentence(finding: Finding, target: str = "") -> str:
    """The sentence of a finding that a process made about itself, to follow the cause's name.

    Args:
        finding: What the process found.
        target: The database of the finding's pool; empty if not known.
    """
    numbers = dict(named(finding.cause, finding.numbers))
    facts = _Facts(numbers, parse_line(finding.site, finding.line), target, ())
    return f"{finding.cause}: {_say(finding.cause, facts)}"


def _say(cause: str, facts: _Facts) -> str:
    say = _SENTENCES.get(cause)
    if say is not None:
        return say(facts)
    return facts.place("") or "this version has no words for it: connmon is older than the server"


def wait_in_words(waiting: int) -> str:
    """How many callers are waiting.

    >>> wait_in_words(0), wait_in_words(1), wait_in_words(2)
    ('0 wait', '1 waits', '2 wait')
    """
    return f"{waiting} wait" + "s" * (waiting == 1)


def seconds(number: float) -> str:
    """A duration in words.

    >>> seconds(0.043), seconds(0.52), seconds(9.1), seconds(150.0), seconds(7300.0)
    ('43 ms', '0.5 s', '9 s', '2 min', '2 h')
    """
    if number < 0.1:
        return f"{1000 * max(number, 0.0):.0f} ms"
    if number < 2:
        return f"{number:.1f} s"
    if number < 100:
        return f"{number:.0f} s"
    return f"{number / 60:.0f} min" if number < 5400 else f"{number / 3600:.0f} h"


def place_of(verdict: Verdict) -> str:
    """The verdict's place in words: ``billing on host7``, ``billing on 3 hosts, 12 of 40 processes``."""
    hosts = verdict.hosts
    where = f" on {hosts[0]}" if len(hosts) == 1 else f" on {len(hosts)} hosts" if hosts else ""
    found, of = verdict.processes
    share = f", {found} of {of} processes" if of > 1 else ""
    return f"{verdict.program}{where}{share}"
