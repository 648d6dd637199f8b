"""Follows a channel for as long as it takes, and says what happens to the connection: ``python watch.py URL CHANNEL``."""

import asyncio
import logging
import sys

from aiobayeux import Client, Event, Retry
from aiobayeux.exceptions import ServerError, TransportTimeoutError


def note(event: Event) -> None:
    print("event:", event.name, flush=True)


async def main(url: str, channel: str) -> None:
    retry = Retry(min_delay=0.5, max_delay=60)
    async with Client(url, retry=retry, retry_open=True, open_timeout=None, on_event=note) as client:
        await client.subscribe(channel)
        while not client.closed:
            try:
                async for message in client:
                    print("message:", message["data"], flush=True)
            except TransportTimeoutError:
                print("the connection is lost; it is being restored", flush=True)
            except ServerError as error:
                print("the server:", error, flush=True)


logging.basicConfig(level=logging.WARNING)
asyncio.run(main(*sys.argv[1:]))
