"""This project's package for Python, driven over JSON lines; src/driven.rs is the other side."""

import asyncio
import json
import sys

import aiobayeux
from aiobayeux.exceptions import AiocometdException, ServerError, TransportTimeoutError


def write(line):
    sys.stdout.write(json.dumps(line) + "\n")
    sys.stdout.flush()


class User:
    def __init__(self, number):
        self.number = number
        self.client = None
        self.receiving = None

    async def open(self, command):
        transport = aiobayeux.ConnectionType(command["transport"])
        # A message is 1 MiB without what is around it, which is more than is sent by default. Retries are as quick as those of
        # the program in Rust, so that sessions outlive the cuts.
        self.client = aiobayeux.Client(
            command["url"],
            transport,
            handshake_ext=command["ext"],
            max_send_size=4 * 1024 * 1024,
            retry=aiobayeux.Retry(min_delay=0.2, max_delay=2.0),
        )
        await self.client.open()
        self.receiving = asyncio.create_task(self.receive())

    async def receive(self):
        while True:
            try:
                async for message in self.client:
                    write({"user": self.number, "channel": message["channel"], "data": message.get("data")})
                return
            except TransportTimeoutError as error:
                # It goes on trying.
                self.tell(error)
            except AiocometdException as error:
                self.tell(error)
                if self.client.closed:
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
        batch = self.client.batch()
        for message in command["messages"]:
            batch.publish(message["channel"], message["data"])
        for result in await batch.send():
            if isinstance(result, Exception):
                raise result

    async def request(self, command):
        return await self.client.request(command["channel"], command["data"])

    async def connected(self, command):
        return self.client.state is aiobayeux.State.CONNECTED

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
