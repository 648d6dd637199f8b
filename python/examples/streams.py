"""Two streams with queues of their own, a batch, and a question to a service: ``python streams.py [URL]``."""

import asyncio
import sys

from aiobayeux import Client, Stream


async def first(stream: Stream) -> object:
    async for payload in stream:
        return payload
    return None


async def main(url: str) -> None:
    async with Client(url) as client:
        async with client.stream("/trades/*", overflow="drop_oldest") as trades, client.stream("/news") as news:
            async with client.batch() as batch:
                batch.publish("/trades/ABC", {"price": 12.5})
                batch.publish("/news", "opened")
            print(await asyncio.gather(first(trades), first(news)))
        print(await client.request("/service/echo", {"question": 1}))


asyncio.run(main(sys.argv[1] if len(sys.argv) > 1 else "http://127.0.0.1:8080/cometd"))
