"""A gate and its AuthFile, which is read again when it changes."""

from collections.abc import Callable
from typing import NamedTuple

from poolhouse.admission.console_gate import ConsoleGate
from poolhouse.admission.gate import Gate
from poolhouse.admission.sources import source_of_user
from poolhouse.configuration.key_files import KeyFile
from poolhouse.errors import SettingError
from poolhouse.fleet.fleet import Fleet
from poolhouse.fleet.freshness import WINDOW, Freshness
from poolhouse.fleet.intake import Way
from poolhouse.fleet.seals import Question, Seals
from poolhouse.wire.aes import load_keystream, require_keystream
from poolhouse.wire.challenge import question_part
from poolhouse.wire.seal import LEVELS, Level, Payload, Policy, Reason, merely_signed, sign

#: Length of the secrets for `Door.join` and `Fleet`, in bytes.
SECRET_BYTES = 32
#: Seconds after the start in which questions to processes about their reports are not logged: all are asked.
SETTLING = 2 * WINDOW


_UDP = Way.UDP


class Demand(NamedTuple):
    """A listener's demands on reports over UDP, from its settings."""

    #: The path of the AuthFile; ``None`` without one.
    authfile: str | None = None
    level: Level = "none"
    #: Whether encrypted datagrams must be signed too (`poolhouse.wire.seal.Policy`).
    strict: bool = True
    #: The user's names for the two settings.
    authfile_setting: str = "AuthFile"
    level_setting: str = "SecurityLevel"

    @property
    def words(self) -> str:
        """The demands in a few words."""
        if self.authfile is None:
            return "signatures are not checked, and nothing is decrypted"
        if self.level == "none":
            return f"none demanded, signatures checked by {self.authfile}"
        encrypted = {"sign": "signed", "encrypt": "encrypted"}[self.level]
        also = "" if self.strict else ", what is encrypted need not be signed"
        return f"only {encrypted} ones, by {self.authfile}{also}"


def parse_level(text: str, setting: str) -> Level:
    """A security level, in any case.

    >>> parse_level("Sign", "SecurityLevel")
    'sign'

    Raises:
        SettingError: If there is no such level.
    """
    for level in LEVELS:
        if text.lower() == level:
            return level
    raise SettingError(setting, f"expected none, sign or encrypt, not {text!r}")


class Door:
    """Guards the way from a UDP port to the fleet; for one caller at a time.

    Attributes:
        consoles: The same for a port of consoles, with the same users.
    """

    def __init__(self, demand: Demand) -> None:
        """Read the AuthFile.

        Args:
            demand: The demands, which must name an AuthFile.

        Raises:
            SettingError: If there is no AuthFile, if it cannot be read, or if nothing is installed that can
                decrypt although encryption is demanded.
        """
        if demand.authfile is None:
            raise SettingError(demand.level_setting, f"{demand.level} needs {demand.authfile_setting} too")
        keystream = require_keystream(demand.level_setting) if demand.level == "encrypt" else load_keystream()
        self._file = KeyFile(demand.authfile, demand.authfile_setting)
        policy = Policy(demand.level, self._file.keys, demand.strict, keystream)
        self._gate = Gate(policy)
        self.consoles = ConsoleGate(policy)
        self._settled_at = 0.0

    @property
    def warnings(self) -> tuple[str, ...]:
        """Sentences about problems of the present AuthFile."""
        return self._file.warnings

    @property
    def refused(self) -> dict[Reason, int]:
        """How many datagrams were refused, or left out in part, by reason."""
        return self._gate.refused

    def join(self, fleet: Fleet, secret: bytes, now: float, wall_time: float) -> None:
        """Guard a fleet from now on, replacing another door if there was one.

        Args:
            fleet: The fleet.
            secret: `SECRET_BYTES` random bytes.
            now: The fleet's time.
            wall_time: The time of day.
        """
        self._settled_at = now + SETTLING
        if fleet.seals is None:
            fleet.seals = Seals(Freshness(secret, now, wall_time), self._gate.refused)
        else:
            self._gate.refused = fleet.seals.refused

    def admit(self, datagram: bytes, sender: str) -> list[Payload]:
        """The accepted parts of a datagram; see `Gate.admit`."""
        return self._gate.admit(datagram, sender)

    def receive(
        self,
        fleet: Fleet,
        datagram: bytes,
        sender: str,
        now: float,
        wall_time: float,
        note: Callable[[bytes, str | None], object] | None = None,
        source: str = "",
    ) -> bytes | None:
        """Pass the accepted parts of a datagram to the fleet.

        Args:
            fleet: The guarded fleet.
            datagram: The datagram as it arrived over UDP.
            sender: The sender's address, for the log.
            now: The fleet's time.
            wall_time: The time of day.
            note: Called with each datagram inside, and why the fleet refused it, or ``None``.
            source: The source whose share of the fleet it counts towards, if no user has sealed it.

        Returns:
            The answer to send, shorter than the datagram; ``None`` for none.
        """
        signed = merely_signed(datagram, self._gate.policy) if note is None else None
        if signed is not None:  # The usual case, for speed.
            origin = source_of_user(signed.user)
            if fleet.receive(signed.parts, now, wall_time, _UDP, signed, origin) is None:
                return None
            return self._answer(fleet, sender, len(datagram), now)
        payloads = self._gate.admit(datagram, sender)
        if not payloads:
            fleet.refuse()
        is_refused = False
        for payload in payloads:
            sealed = payload if payload.user else None
            origin = source_of_user(payload.user) if payload.user else source
            refusal = fleet.receive(payload.parts, now, wall_time, _UDP, sealed, origin)
            is_refused |= refusal is not None
            if note is not None:
                note(payload.parts, refusal)
        return self._answer(fleet, sender, len(datagram), now) if is_refused else None

    def _answer(self, fleet: Fleet, sender: str, most: int, now: float) -> bytes | None:
        """The answer to what the fleet has refused, shorter than `most`; ``None`` for none."""
        seals = fleet.seals
        if seals is None or seals.reason is None:
            return None
        if seals.reason is not Reason.STALE or now > self._settled_at:
            self._gate.note(seals.reason, sender)
        question, seals.reason, seals.question = seals.question, None, None
        return None if question is None else self._signed(question, most)

    def _signed(self, question: Question, most: int) -> bytes | None:
        """A question as a datagram shorter than `most`; ``None`` if it would not be."""
        user, place = question.sealed.user, question.sealed.place
        password = self._file.keys.passwords(user)[place]
        datagram = sign(question_part(question.nonce), user, password)
        return datagram if len(datagram) < most else None

    def look(self, now: float) -> list[str]:
        """Check whether the AuthFile has changed; returns sentences for the log. Call this about once a second.

        Args:
            now: Monotonic seconds.
        """
        said = self._file.refresh(now)
        gates = self._gate, self.consoles.gate
        for gate in gates:
            gate.policy = gate.policy._replace(keys=self._file.keys)
        of_consoles = [f"of consoles, {sentence}" for sentence in self.consoles.gate.sentences(now)]
        return said + self._gate.sentences(now) + of_consoles


def open_door(demand: Demand) -> Door | None:
    """The door of a listener; ``None`` if nothing is demanded and nothing can be checked.

    Raises:
        SettingError: If the demands cannot be met; see `Door`.
    """
    return None if demand.authfile is None and demand.level == "none" else Door(demand)
