"""Looking at a datagram's parts without the decoder under test."""


def parts_of(datagram: bytes) -> list[tuple[int, int]]:
    """Kind and offset of each part of a well-formed datagram."""
    at, parts = 0, []
    while at < len(datagram):
        parts.append((int.from_bytes(datagram[at : at + 2]), at))
        at += int.from_bytes(datagram[at + 2 : at + 4])
    assert at == len(datagram)
    return parts
