"""aiocometd (its fork for today's Python), driven over JSON lines; src/driven.rs is the other side."""

import asyncio
import json
import sys

import aiocometd_noloop as aiocometd
from aiocometd_noloop.exceptions import AiocometdException, ServerError, TransportTimeoutError


def write(line):
    sys.stdout.write(json.dumps(line) + "\n")
    sys.stdout.flush()


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


class User:
    def __init__(self, number):
        self.number = number
        self.client = None
        self.receiving = None
        self.slow = False

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
                write({"user": self.number, "channel": message["channel"], "data": message.get("data")})
            except TransportTimeoutError as error:
                # It goes on trying.
                self.tell(error)
            except AiocometdException as error:
                self.tell(error)
                return

    def tell(self, error):
        write({"user": self.number, "reported": repr(error)})

    async def subscribe(self, command):
        await self.client.subscribe(command["channel"])

    async def unsubscribe(self, command):
        await self.client.unsubscribe(command["channel"])

    async def publish(self, command):
        await self.client.publish(command["channel"], command["data"])

    async def batch(self, command):
        for message in command["messages"]:
            await self.publish(message)

    async def connected(self, command):
        return not self.client.closed

    async def close(self, command):
        if self.client is not None:
            await self.client.close()
            if self.receiving is not None:
                self.receiving.cancel()


async def carry_out(users, command):
    try:
        user = users.setdefault(command["user"], User(command["user"]))
        write({"id": command["id"], "ok": await getattr(user, command["do"])(command)})
    except ServerError as error:
        write({"id": command["id"], "error": {"code": error.error_code, "text": repr(error)}})
    except Exception as error:
        write({"id": command["id"], "error": {"code": None, "text": repr(error)}})


async def main():
    reader = asyncio.StreamReader(limit=64 * 1024 * 1024)
    loop = asyncio.get_running_loop()
    await loop.connect_read_pipe(lambda: asyncio.StreamReaderProtocol(reader), sys.stdin)
    print("READY", flush=True)
    users, tasks = {}, set()
    while line := await reader.readline():
        task = asyncio.create_task(carry_out(users, json.loads(line)))
        tasks.add(task)
        task.add_done_callback(tasks.discard)


asyncio.run(main())
