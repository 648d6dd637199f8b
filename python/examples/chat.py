"""A chat for CometD's demo, with nothing but aiocometd's interface: ``python chat.py URL ROOM NAME``.

Each line of the input is sent to the room; its end leaves the room. ``bayeux serve`` is a server for it.
"""

import asyncio
import sys
from typing import Any

from aiobayeux import Client, ConnectionType
from aiobayeux.exceptions import AiocometdException, ServerError, TransportTimeoutError


class Chat:
    """One member of a room."""

    def __init__(self, client: Client, room: str, name: str) -> None:
        self.client = client
        self.name = name
        self.messages = f"/chat/{room}"
        self.members = f"/members/{room}"

    async def say(self, text: str, **fields: Any) -> None:
        """Sends a line to all members."""
        await self.client.publish(self.messages, {"user": self.name, "chat": text, **fields})

    async def join(self) -> None:
        """Enters the room."""
        await self.client.subscribe(self.messages)
        await self.client.subscribe(self.members)
        await self.client.publish("/service/members", {"user": self.name, "room": self.messages})
        await self.say(f"{self.name} has joined", membership="join")

    async def leave(self) -> None:
        """Leaves it."""
        await self.client.unsubscribe(self.messages)
        await self.client.unsubscribe(self.members)
        await self.say(f"{self.name} has left", membership="leave")

    async def print_messages(self) -> None:
        """Prints what is said, until the client is closed."""
        while True:
            try:
                async for message in self.client:
                    if message["channel"] == self.messages:
                        data = message["data"]
                        print(f"{data['user']}: {data['chat']}", flush=True)
                    elif message["channel"] == self.members:
                        print("members:", ", ".join(sorted(message["data"])), flush=True)
                return
            except TransportTimeoutError as error:
                print(f"{error} Still trying.", file=sys.stderr)

    async def send_lines(self) -> None:
        """Sends the lines of the input, until its end."""
        loop = asyncio.get_running_loop()
        while line := await loop.run_in_executor(None, sys.stdin.readline):
            if line.strip():
                await self.say(line.strip())


async def main(url: str, room: str, name: str) -> None:
    types = [ConnectionType.WEBSOCKET, ConnectionType.LONG_POLLING]
    try:
        async with Client(url, types, connection_timeout=60) as client:
            chat = Chat(client, room, name)
            await chat.join()
            printing = asyncio.ensure_future(chat.print_messages())
            await chat.send_lines()
            await chat.leave()
        await printing
    except ServerError as error:
        sys.exit(f"the server refused: {error.error_code} {error.error_message}")
    except AiocometdException as error:
        sys.exit(f"no connection: {error}")


asyncio.run(main(*sys.argv[1:]))
