"""Subscribes, publishes and receives: ``python quickstart.py [URL]``."""

import asyncio
import sys

from aiobayeux import Client


async def main(url: str) -> None:
    async with Client(url) as client:
        await client.subscribe("/chat/demo")
        await client.publish("/chat/demo", {"user": "ann", "chat": "hi"})
        async for message in client:
            print(message["channel"], message["data"])
            break


asyncio.run(main(sys.argv[1] if len(sys.argv) > 1 else "http://127.0.0.1:8080/cometd"))
