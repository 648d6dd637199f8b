"""This project's package for Python, driven over JSON lines; src/driven.rs is the other side."""

import asyncio
import sys
from pathlib import Path

import aiobayeux
from aiobayeux.exceptions import AiocometdException, ServerError, TransportTimeoutError

sys.path.append(str(Path(__file__).resolve().parents[1]))
import lines  # noqa: E402


class User(lines.User):
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
                    self.deliver(message)
                return
            except TransportTimeoutError as error:
                # It goes on trying.
                self.tell(error)
            except AiocometdException as error:
                self.tell(error)
                if self.client.closed:
                    return

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


lines.drive(User, ServerError)
