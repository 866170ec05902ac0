"""What the server reads of consoles over UDP: HELO, Ask, Missing, Bye."""

from poolhouse.feed.protocol.datagrams import HELO, Ask, Bye, Cookie, Missing, decode_datagram, encode_datagram
from poolhouse.feed.protocol.subscribers import Subscribers

_ADDRESSES = (("127.0.0.1", 9), ("192.0.2.1", 9), ("::1", 9, 0, 0), ("fe80::1%eth0", 9, 0, 2))
_NONCE = bytes(8)


def seeds() -> dict[str, bytes]:
    """Each word of a console."""
    return {
        "helo": HELO,
        "ask": encode_datagram(Ask(_NONCE)),
        "program": encode_datagram(Ask(_NONCE, bytes(16), "shop")),
        "missing": encode_datagram(Missing(_NONCE, bytes(16), 1, ((0, 2), (4, 4)))),
        "bye": encode_datagram(Bye(_NONCE, bytes(16))),
    }


def check(data: bytes) -> None:
    """Nothing raises, no answer is longer than its question, and nobody is served without a cookie."""
    subscribers = Subscribers(bytes(16), (), 2)
    for address in _ADDRESSES:
        answer = subscribers.handle(data, address, 1.0)
        if answer is not None:
            assert len(answer) <= len(data), "an amplifier"
            told = decode_datagram(answer)
            if isinstance(told, Cookie):
                # The same question with the cookie is one that was proved.
                subscribers.handle(data[:14] + told.cookie + data[30:], address, 2.0)
        subscribers.handle(data, address, 3.0, is_proven=True)
    assert all(one.address[0] != "192.0.2.1" or one.is_proven for one in subscribers.consoles(3.0))
    assert len(subscribers.consoles(3.0)) <= 2 * 2 + len(_ADDRESSES)
    subscribers.newcomers(4.0)
    assert not subscribers.consoles(1e6), "a console that is served for ever"
