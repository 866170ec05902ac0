"""The addresses of a host, without waiting for a name server that does not answer."""

import asyncio
from collections.abc import Callable, Sequence
from contextlib import suppress
from functools import partial
from threading import Thread
from typing import Any

from poolhouse.addresses import as_ip
from poolhouse.feed.sockets import lookup


class Lookup:
    """One host's addresses, looked up again each time.

    A separate thread, one at a time, looks a name up, which may take half a minute. The event loop's own threads
    would hold up the end of the process.
    """

    def __init__(self, host: str) -> None:
        """Look up nothing yet.

        Args:
            host: A name or an address; an address stands for itself.
        """
        self._host = host
        self._found: asyncio.Future[list[str]] | None = None

    async def addresses(self, patience: float) -> list[str]:
        """Every address of the host, each once, in the system's order.

        Args:
            patience: Seconds to wait; if they run out, the next call waits for the same answer.

        Raises:
            TimeoutError: If no name server answers in time.
            OSError: If the name has no address, or no thread can look it up.
            MemoryError: If there is no memory for it.
        """
        if as_ip(self._host) is not None:
            return [self._host]
        if self._found is None:
            self._found = self._begin()
        async with asyncio.timeout(patience):
            try:
                return await asyncio.shield(self._found)
            finally:
                if self._found.done():
                    self._found = None

    def _begin(self) -> "asyncio.Future[list[str]]":
        loop = asyncio.get_running_loop()
        found: asyncio.Future[list[str]] = loop.create_future()

        def settle(tell: Callable[[], object]) -> None:
            # The loop may have ended in the meantime.
            with suppress(RuntimeError):
                loop.call_soon_threadsafe(tell)

        def run() -> None:
            try:
                addresses = self._look_up()
            except Exception as error:  # Without an answer, every later call would wait for this one.
                settle(partial(found.set_exception, error))
            else:
                settle(partial(found.set_result, addresses))

        try:
            Thread(target=run, name="lookup", daemon=True).start()
        except RuntimeError as error:  # The thread limit is reached.
            raise OSError(str(error)) from None
        return found

    def _look_up(self) -> list[str]:
        # The addresses are the same for UDP and TCP.
        return [_written(endpoint.address) for endpoint in lookup(self._host, 0)]


def _written(address: Sequence[Any]) -> str:
    # A zone (fe80::1%eth0) is a number after the address.
    zone = address[3] if len(address) > 3 else 0
    return f"{address[0]}%{zone}" if zone else str(address[0])
