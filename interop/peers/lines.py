"""The driver of a client for asyncio: commands come as JSON lines, and so do answers and messages go.
src/driven.rs is the other side.
"""

import asyncio
import json
import sys


def write(line):
    sys.stdout.write(json.dumps(line) + "\n")
    sys.stdout.flush()


class User:
    """A user, whose methods are the verbs that all clients with aiocometd's interface have in common. `open` makes the client
    and the task `receiving`.
    """

    def __init__(self, number):
        self.number = number
        self.client = None
        self.receiving = None

    def deliver(self, message):
        write({"user": self.number, "channel": message["channel"], "data": message.get("data")})

    def tell(self, error):
        write({"user": self.number, "reported": repr(error)})

    async def subscribe(self, command):
        await self.client.subscribe(command["channel"])

    async def unsubscribe(self, command):
        await self.client.unsubscribe(command["channel"])

    async def publish(self, command):
        await self.client.publish(command["channel"], command["data"])

    async def close(self, command):
        if self.client is not None:
            await self.client.close()
            if self.receiving is not None:
                self.receiving.cancel()


def drive(new_user, server_error):
    """Carries out commands until the input ends. `server_error` is the exception of the client that has an `error_code`."""
    asyncio.run(_drive(new_user, server_error))


async def _drive(new_user, server_error):
    async def carry_out(command):
        try:
            user = users.setdefault(command["user"], new_user(command["user"]))
            write({"id": command["id"], "ok": await getattr(user, command["do"])(command)})
        except server_error as error:
            write({"id": command["id"], "error": {"code": error.error_code, "text": repr(error)}})
        except Exception as error:
            write({"id": command["id"], "error": {"code": None, "text": repr(error)}})

    reader = asyncio.StreamReader(limit=64 * 1024 * 1024)
    loop = asyncio.get_running_loop()
    await loop.connect_read_pipe(lambda: asyncio.StreamReaderProtocol(reader), sys.stdin)
    print("READY", flush=True)
    users, tasks = {}, set()
    while line := await reader.readline():
        task = asyncio.create_task(carry_out(json.loads(line)))
        tasks.add(task)
        task.add_done_callback(tasks.discard)
