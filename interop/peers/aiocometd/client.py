"""aiocometd (its fork for today's Python), driven over JSON lines; src/driven.rs is the other side."""

import asyncio
import sys
from pathlib import Path

import aiocometd_noloop as aiocometd
from aiocometd_noloop.exceptions import AiocometdException, ServerError, TransportTimeoutError

sys.path.append(str(Path(__file__).resolve().parents[1]))
import lines  # noqa: E402


class Ext(aiocometd.Extension):
    """Adds to the `ext` of the handshake."""

    def __init__(self, ext):
        self.ext = ext

    async def outgoing(self, payload, headers):
        for message in payload:
            if message["channel"] == "/meta/handshake":
                message.setdefault("ext", {}).update(self.ext)

    async def incoming(self, payload, headers=None):
        pass


class User(lines.User):
    slow = False

    async def open(self, command):
        # aiohttp keeps no cookies of hosts that are numbers.
        url = command["url"].replace("127.0.0.1", "localhost")
        transport = aiocometd.ConnectionType(command["transport"])
        if command.get("plain"):
            self.client = aiocometd.Client(url, None if command["plain"]["fallback"] else transport)
            self.slow = command["plain"]["slow"]
        else:
            self.client = aiocometd.Client(url, transport, extensions=[Ext(command["ext"])])
        await self.client.open()
        self.receiving = asyncio.create_task(self.receive())

    async def receive(self):
        while True:
            try:
                message = await self.client.receive()
                if self.slow:
                    self.slow = False
                    await asyncio.sleep(3)
                self.deliver(message)
            except TransportTimeoutError as error:
                # It goes on trying.
                self.tell(error)
            except AiocometdException as error:
                self.tell(error)
                return

    async def batch(self, command):
        for message in command["messages"]:
            await self.publish(message)

    async def connected(self, command):
        return not self.client.closed


lines.drive(User, ServerError)
