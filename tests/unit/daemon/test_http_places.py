"""Who gets a place for a large answer while others keep theirs."""

import asyncio

from poolhouse.daemon.http.places import Places


def test_an_address_takes_half_of_the_places_and_does_not_stand_in_front_of_others() -> None:
    async def scenario() -> None:
        places, end, has_place = Places(4), asyncio.Event(), list[str]()

        async def answer(address: str) -> None:
            async with places.taken(address):
                has_place.append(address)
                await end.wait()

        asked = [asyncio.create_task(answer("192.0.2.1")) for _ in range(50)]
        await asyncio.sleep(0)
        asked.append(asyncio.create_task(answer("10.0.0.1")))
        await asyncio.sleep(0)
        assert has_place == ["192.0.2.1", "192.0.2.1", "10.0.0.1"]
        asked[0].cancel()  # Its reader has gone: the next of the same address takes its place.
        asked[1].cancel()
        await asyncio.gather(*asked[:2], return_exceptions=True)
        await asyncio.sleep(0)
        assert has_place == ["192.0.2.1", "192.0.2.1", "10.0.0.1", "192.0.2.1", "192.0.2.1"]
        end.set()
        await asyncio.gather(*asked[2:])
        assert len(has_place) == 51
        assert not places._of, "nothing is kept of addresses that ask for nothing"

    asyncio.run(scenario())
