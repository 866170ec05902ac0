"""A question of the aggregator to a process whose sealed report may be an old one, and the answer.

The question is a datagram of one part, signed with the password that sealed the report. The process repeats its
nonce in a part behind those of its next reports, inside what is signed: an attacker who captured a report cannot
have signed that. A question is shorter than the report that caused it.
"""

from poolhouse.errors import PacketError
from poolhouse.wire.parts import ANSWER, HEADER, QUESTION

#: Bytes of a nonce, and of the part that repeats it.
NONCE_BYTES = 16
ANSWER_BYTES = HEADER.size + NONCE_BYTES

_ANSWER_HEAD = HEADER.pack(ANSWER, ANSWER_BYTES)
_QUESTION_HEAD = HEADER.pack(QUESTION, ANSWER_BYTES)


def question_part(nonce: bytes) -> bytes:
    """The question's part, to be signed."""
    return _QUESTION_HEAD + nonce


def nonce_of(question: bytes) -> bytes:
    """The nonce in a question's part.

    Raises:
        PacketError: If it is none.
    """
    if len(question) != ANSWER_BYTES or question[: HEADER.size] != _QUESTION_HEAD:
        raise PacketError("not a question")
    return question[HEADER.size :]


def with_answer(parts: bytes, nonce: bytes) -> bytes:
    """The parts of a report, and the answer behind them."""
    return parts + _ANSWER_HEAD + nonce


def answer_in(parts: bytes) -> bytes | None:
    """The nonce that the last part repeats; ``None`` if it is no answer."""
    return parts[-NONCE_BYTES:] if parts[-ANSWER_BYTES:-NONCE_BYTES] == _ANSWER_HEAD else None
