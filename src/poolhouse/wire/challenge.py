"""The aggregator's question to a process whose sealed report may be a replay, and the process's answer.

The question is a datagram of one part, signed with the password that sealed the report. The process appends a part
with the question's nonce to its next reports, inside the signature: an attacker who only captured a report cannot
sign that. A question is shorter than the report that caused it, so it amplifies nothing.
"""

from poolhouse.errors import PacketError
from poolhouse.wire.parts import ANSWER, HEADER, QUESTION

#: Bytes of a nonce, and of the part that repeats it.
NONCE_BYTES = 16
ANSWER_BYTES = HEADER.size + NONCE_BYTES

_ANSWER_HEAD = HEADER.pack(ANSWER, ANSWER_BYTES)
_QUESTION_HEAD = HEADER.pack(QUESTION, ANSWER_BYTES)


def question_part(nonce: bytes) -> bytes:
    """The question as an unsigned part."""
    return _QUESTION_HEAD + nonce


def nonce_of(question: bytes) -> bytes:
    """The nonce in a question's part.

    Raises:
        PacketError: If the part is not a question.
    """
    if len(question) != ANSWER_BYTES or question[: HEADER.size] != _QUESTION_HEAD:
        raise PacketError("not a question")
    return question[HEADER.size :]


def with_answer(parts: bytes, nonce: bytes) -> bytes:
    """The parts of a report, followed by the answer."""
    return parts + _ANSWER_HEAD + nonce


def answer_in(parts: bytes) -> bytes | None:
    """The nonce in the last part; ``None`` if that part is not an answer."""
    return parts[-NONCE_BYTES:] if parts[-ANSWER_BYTES:-NONCE_BYTES] == _ANSWER_HEAD else None
