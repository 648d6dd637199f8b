"""Programs for aiocometd's interface. They run with CPython 3.8 or later and with whatever package has that interface.

``python programs.py`` reads ``{"package": NAME, "urls": {PROGRAM: URL}}`` from its input, runs the programs one after the
other, and prints ``{PROGRAM: [LINE, ...]}``.
"""

import asyncio
import importlib
import inspect
import json
import sys
import traceback
from decimal import Decimal

PROGRAMS = {}
#: How long a program may take on a slow machine.
PATIENCE = 60.0


def program(function):
    """Marks a program."""
    PROGRAMS[function.__name__] = function
    return function


def use(package):
    """Makes the package importable as ``aiocometd``."""
    if package == "aiobayeux":
        import aiobayeux.compat

        aiobayeux.compat.install("aiocometd")
    elif package != "aiocometd":
        sys.modules["aiocometd"] = importlib.import_module(package)
        for name in ("client", "constants", "exceptions", "extensions", "typing"):
            sys.modules["aiocometd." + name] = importlib.import_module(package + "." + name)


def plain(message):
    """A message without what differs from session to session."""
    if not isinstance(message, dict):
        return message
    return {key: "..." if key in ("id", "clientId") else value for key, value in sorted(message.items())}


def name(channel):
    """A channel as text, also if it is an item of an enum."""
    return getattr(channel, "value", channel)


def text(value):
    return json.dumps(plain(value), sort_keys=True, default=repr)


async def failure(awaitable):
    """What a call raises, in full."""
    from aiocometd.exceptions import ServerError

    try:
        result = await awaitable
    except ServerError as error:
        parts = error.error, error.error_code, error.error_message, error.error_args
        return f"{type(error).__name__}({error.message!r}, {text(error.response)}) {parts}"
    except Exception as error:
        return f"{type(error).__name__}: {error}"
    return f"returned {text(result)}"


async def kind(awaitable):
    """The class of what a call raises, and those of the package that it inherits from."""
    try:
        await awaitable
    except Exception as error:
        return [base.__name__ for base in type(error).__mro__ if base.__module__.split(".")[0] != "builtins"]
    return "nothing"


async def until(condition):
    while not condition():
        await asyncio.sleep(0.01)


def both_types():
    from aiocometd import ConnectionType

    return [ConnectionType.WEBSOCKET, ConnectionType.LONG_POLLING]


# With a real server.


@program
async def quickstart(url, out):
    from aiocometd import Client

    for connection_type in [*both_types(), None]:
        client = Client(url, connection_type)
        out(client.closed, client.connection_type, client.subscriptions, client.pending_count)
        await client.open()
        out(client.closed, client.connection_type)
        await client.subscribe("/chat/demo")
        out(client.subscriptions)
        response = await client.publish("/chat/demo", {"user": "ann", "chat": "hello"})
        out("response", text(response))
        out("message", text(await client.receive()))
        await client.unsubscribe("/chat/demo")
        out(client.subscriptions)
        await client.close()
        out(client.closed)


@program
async def context_manager_and_iteration(url, out):
    from aiocometd import Client

    for connection_type in both_types():
        async with Client(url, connection_type) as client:
            await client.subscribe("/numbers/*")
            for number in range(5):
                await client.publish("/numbers/some", number)
            count = 0
            async for message in client:
                out(text(message))
                count += 1
                if count == 5:
                    break
        out(client.closed)


@program
async def iteration_ends_when_closed(url, out):
    from aiocometd import Client

    client = Client(url)
    await client.open()
    await client.subscribe("/a")
    for number in range(3):
        await client.publish("/a", number)
    await until(lambda: client.pending_count == 3)
    await client.close()
    out(client.closed, client.pending_count, client.has_pending_messages)
    async for message in client:
        out(text(message))
    out(client.pending_count, client.has_pending_messages)
    out(await failure(client.receive()))


@program
async def chat_of_one(url, out):
    from aiocometd import Client

    for connection_type in both_types():
        async with Client(url, connection_type) as client:
            await client.subscribe("/chat/demo")
            await client.subscribe("/members/demo")
            await client.publish("/service/members", {"user": "ann", "room": "/chat/demo"})
            await client.publish("/chat/demo", {"user": "ann", "membership": "join", "chat": "ann has joined"})
            messages = [await client.receive(), await client.receive()]
            for message in sorted(messages, key=lambda message: message["channel"]):
                out(text(message))


@program
async def chat_of_two(url, out):
    from aiocometd import Client

    for types in [both_types(), both_types()[::-1]]:
        async with Client(url, types[0]) as ann, Client(url, types[1]) as bob:
            await ann.subscribe("/chat/two")
            await bob.subscribe("/chat/two")
            await ann.publish("/chat/two", {"user": "ann", "chat": "hi"})
            out("ann", text(await ann.receive()))
            out("bob", text(await bob.receive()))
            await bob.publish("/chat/two", {"user": "bob", "chat": "oh, hi"})
            out("ann", text(await ann.receive()))
            out("bob", text(await bob.receive()))


@program
async def several_subscriptions(url, out):
    from aiocometd import Client

    async with Client(url) as client:
        for channel in ["/a", "/b/*", "/c/**", "/a"]:
            await client.subscribe(channel)
            out(sorted(client.subscriptions))
        await client.publish("/a", 1)
        await client.publish("/b/x", 2)
        await client.publish("/b/x/y", 3)
        await client.publish("/c/x/y", 4)
        for _ in range(3):
            out(text(await client.receive()))
        await client.unsubscribe("/b/*")
        out(sorted(client.subscriptions))
        await client.publish("/b/x", 5)
        await client.publish("/a", 6)
        out(text(await client.receive()))


@program
async def service_channel(url, out):
    from aiocometd import Client

    # Over long-polling the answer of a service may overtake the reply, on another connection.
    async with Client(url, both_types()[0]) as client:
        out(await failure(client.publish("/service/echo", {"a": 1})))
        out(await failure(client.publish("/service/nobody", {"a": 1})))


@program
async def all_kinds_of_data(url, out):
    from aiocometd import Client

    values = [
        {"a": [1, 2.5, True, None, "x"], "b": {"c": {}}},
        [],
        {},
        'text with \u00e9, \u4e2d, \U0001f600, " and \\',
        "",
        0,
        -1,
        2**63,
        1e300,
        0.1,
        True,
        False,
        [[[[[]]]]],
        {"": ""},
        {"key": "\u2028\u0000"},
        "x" * 100000,
    ]
    for connection_type in both_types():
        async with Client(url, connection_type) as client:
            await client.subscribe("/data")
            for value in values:
                await client.publish("/data", value)
                data = (await client.receive())["data"]
                out(type(data).__name__, data == value, repr(data)[:60])


@program
async def calls_when_closed(url, out):
    from aiocometd import Client

    client = Client(url)
    for call in (client.subscribe("/a"), client.unsubscribe("/a"), client.publish("/a", {}), client.receive()):
        out(await failure(call))
    await client.close()
    out(client.closed)
    async with client:
        out(await failure(client.open()))
    for call in (client.subscribe("/a"), client.unsubscribe("/a"), client.publish("/a", {}), client.receive()):
        out(await failure(call))
    await client.close()
    out(client.closed)
    async for message in client:
        out(message)
    out("done")


@program
async def an_error_in_the_context(url, out):
    from aiocometd import Client

    try:
        async with Client(url) as client:
            raise KeyError("mine")
    except KeyError as error:
        out(repr(error), client.closed)


@program
async def extensions(url, out):
    from aiocometd import AuthExtension, Client, Extension

    calls = []

    class Noting(Extension):
        def __init__(self, name):
            self.name = name

        def note(self, way, payload, headers):
            for message in payload:
                if message["channel"] in ("/meta/subscribe", "/ext"):
                    kind = "reply" if "successful" in message else "event" if way == "incoming" else "request"
                    calls.append((self.name, way, name(message["channel"]), kind, isinstance(payload, list)))

        async def outgoing(self, payload, headers):
            self.note("outgoing", payload, headers)
            assert isinstance(headers, dict)

        async def incoming(self, payload, headers=None):
            self.note("incoming", payload, headers)

    class Changing(Noting):
        async def outgoing(self, payload, headers):
            await super().outgoing(payload, headers)
            for message in payload:
                if message["channel"] == "/ext":
                    message["data"]["seen"].append(self.name)

        async def incoming(self, payload, headers=None):
            await super().incoming(payload, headers)
            for message in payload:
                if message["channel"] == "/ext" and "data" in message and "successful" not in message:
                    message["data"]["back"] = [*message["data"].get("back", []), self.name]

    class Auth(Changing, AuthExtension):
        pass

    for connection_type in both_types():
        client = Client(url, connection_type, extensions=[Changing("one"), Changing("two")], auth=Auth("auth"))
        async with client:
            await client.subscribe("/ext")
            await client.publish("/ext", {"seen": []})
            out(text((await client.receive())["data"]))
        for call in sorted(set(calls), key=calls.index):
            if call[1] == "outgoing":
                out(call)
        del calls[:]


@program
async def extensions_see_meta_messages(url, out):
    from aiocometd import Client, Extension
    from aiocometd.constants import MetaChannel

    class Noting(Extension):
        def __init__(self):
            self.sent, self.received = set(), set()

        async def outgoing(self, payload, headers):
            self.sent.update(message["channel"] for message in payload)
            for message in payload:
                if message["channel"] == MetaChannel.HANDSHAKE:
                    message.setdefault("ext", {})["token"] = "secret"

        async def incoming(self, payload, headers=None):
            self.received.update(message["channel"] for message in payload)

    noting = Noting()
    async with Client(url, extensions=[noting]) as client:
        await client.subscribe("/a")
        await client.publish("/a", 1)
        await client.receive()
        await client.unsubscribe("/a")
    out(sorted(map(name, noting.sent)))
    out(sorted(map(name, noting.received)))
    try:
        Extension()
    except TypeError as error:
        out(type(error).__name__)


@program
async def json_functions(url, out):
    from aiocometd import Client

    counts = {"dumps": 0, "loads": 0}

    def dumps(value):
        counts["dumps"] += 1
        return json.dumps(value, default=str)

    def loads(value):
        counts["loads"] += 1
        return json.loads(value, parse_float=Decimal)

    for connection_type in both_types():
        async with Client(url, connection_type, json_dumps=dumps, json_loads=loads) as client:
            await client.subscribe("/a")
            await client.publish("/a", {"amount": Decimal("1.5"), "rate": 1.10})
            out((await client.receive())["data"])
        out(counts["dumps"] > 0, counts["loads"] > 0)


@program
async def subclass(url, out):
    from aiocometd import Client

    class Mine(Client):
        def __init__(self, url, **options):
            self.calls = []
            super().__init__(url, **options)

        async def open(self):
            self.calls.append("open")
            await super().open()

        async def close(self):
            self.calls.append("close")
            await super().close()

        async def subscribe(self, channel):
            self.calls.append("subscribe")
            await super().subscribe(channel)

        async def unsubscribe(self, channel):
            self.calls.append("unsubscribe")
            await super().unsubscribe(channel)

        async def publish(self, channel, data):
            self.calls.append("publish")
            return await super().publish(channel, dict(data, by="mine"))

        async def receive(self):
            self.calls.append("receive")
            return await super().receive()

        async def __aiter__(self):
            async for message in super().__aiter__():
                yield message["data"]

    async with Mine(url) as client:
        out(isinstance(client, Mine))
        await client.subscribe("/a")
        await client.publish("/a", {"x": 1})
        async for data in client:
            out(text(data))
            break
        await client.unsubscribe("/a")
    out(client.calls)


@program
async def attributes(url, out):
    from aiocometd import Client

    client = Client("http://127.0.0.1:1/nowhere", connection_timeout=1)
    out(client.url, client.connection_timeout, client.ssl, client.extensions, client.auth)
    client.url = url
    client.connection_timeout = 20
    client.ssl = False
    client.extensions = []
    client.auth = None
    async with client:
        out(client.url == url, client.connection_timeout, client.ssl, client.extensions, client.auth)
        out(client.closed)


@program
async def read_only_properties(url, out):
    from aiocometd import Client

    client = Client(url)
    for attribute in ("closed", "subscriptions", "connection_type", "pending_count", "has_pending_messages"):
        try:
            setattr(client, attribute, 1)
        except AttributeError:
            out(attribute, "AttributeError")


@program
async def many_messages_in_order(url, out):
    from aiocometd import Client

    for connection_type in both_types():
        async with Client(url, connection_type) as ann, Client(url, connection_type, max_pending_count=0) as bob:
            await bob.subscribe("/order")
            for number in range(300):
                await ann.publish("/order", number)
            out([(await bob.receive())["data"] for _ in range(300)] == list(range(300)))


@program
async def calls_at_once(url, out):
    from aiocometd import Client

    async with Client(url) as client:
        await asyncio.gather(*(client.subscribe(f"/at/once/{number}") for number in range(20)))
        out(len(client.subscriptions))
        responses = await asyncio.gather(*(client.publish("/at/once/1", number) for number in range(20)))
        out([response["successful"] for response in responses])
        out(sorted([(await client.receive())["data"] for _ in range(20)]))
        await asyncio.gather(*(client.unsubscribe(f"/at/once/{number}") for number in range(20)))
        out(client.subscriptions)


@program
async def a_receive_that_waits(url, out):
    from aiocometd import Client

    async with Client(url) as client:
        await client.subscribe("/a")
        try:
            await asyncio.wait_for(client.receive(), 0.2)
        except asyncio.TimeoutError:
            out("timeout")
        task = asyncio.ensure_future(client.receive())
        await asyncio.sleep(0.05)
        out(task.done())
        await client.publish("/a", 1)
        out(text(await task))
        task = asyncio.ensure_future(client.receive())
        await asyncio.sleep(0.05)
        task.cancel()
        try:
            await task
        except asyncio.CancelledError:
            out("cancelled")
        out(client.closed)


# Without a network.


@program
async def names(url, out):
    import aiocometd
    from aiocometd import constants, exceptions, extensions, typing

    for name in ("Client", "ConnectionType", "Extension", "AuthExtension"):
        out(name, hasattr(aiocometd, name))
    out([(item.name, item.value) for item in constants.ConnectionType])
    out([(item.name, item.value, item == item.value) for item in constants.MetaChannel])
    out([item.name for item in constants.TransportState])
    out(constants.DEFAULT_CONNECTION_TYPE, constants.META_CHANNEL_PREFIX, constants.SERVICE_CHANNEL_PREFIX)
    for name in (
        "AiocometdException",
        "TransportError",
        "TransportInvalidOperation",
        "TransportTimeoutError",
        "TransportConnectionClosed",
        "ServerError",
        "ClientError",
        "ClientInvalidOperation",
    ):
        out([base.__name__ for base in getattr(exceptions, name).__mro__])
    for name in ("Extension", "AuthExtension"):
        found = getattr(extensions, name)
        out([base.__name__ for base in found.__mro__], sorted(found.__abstractmethods__))
    for name in (
        "ConnectionTypeSpec",
        "SSLValidationMode",
        "JsonObject",
        "JsonDumper",
        "JsonLoader",
        "Payload",
        "Headers",
        "CoroFunction",
    ):
        out(name, hasattr(typing, name))


@program
async def signatures(url, out):
    from aiocometd import AuthExtension, Client, Extension

    first = "url connection_types connection_timeout ssl max_pending_count extensions auth json_dumps json_loads loop"
    parameters = inspect.signature(Client).parameters
    for name in first.split():
        default = parameters[name].default
        out(name, parameters[name].kind.name, getattr(default, "__qualname__", default))
    for name in ("open", "close", "subscribe", "unsubscribe", "publish", "receive"):
        function = getattr(Client, name)
        out(name, list(inspect.signature(function).parameters), asyncio.iscoroutinefunction(function))
    out(inspect.isasyncgenfunction(Client.__aiter__))
    for owner, name in ((Extension, "outgoing"), (Extension, "incoming"), (AuthExtension, "authenticate")):
        function = getattr(owner, name)
        out(name, list(inspect.signature(function).parameters), asyncio.iscoroutinefunction(function))


@program
async def representation(url, out):
    from aiocometd import Client, ConnectionType

    loop = asyncio.get_event_loop()
    shown = repr(loop)
    client = Client("http://example.com/cometd", ConnectionType.LONG_POLLING, connection_timeout=3, loop=loop)
    import reprlib

    out(repr(client).replace(reprlib.repr(loop), "LOOP").replace(shown, "LOOP"))


@program
async def server_errors(url, out):
    from aiocometd.exceptions import ServerError

    for error in (
        "403:chat,ann:denied",
        "403::denied",
        "403:denied",
        "403",
        "denied",
        "",
        ":",
        "::",
        "4031:a:b",
        "40:a:b",
        "403:a:b:c",
        "403:a,b,c,:",
        "403 ::x",
        " 403::x",
        None,
    ):
        found = ServerError("Text.", {"channel": "/a", "successful": False, "error": error})
        out(repr(error), found.error, found.error_code, found.error_message, found.error_args)
    for response in ({}, None):
        found = ServerError("Text.", response)
        out(found.message, found.response, found.error, found.error_code, found.error_message, found.error_args)
    out(found.args, str(found), repr(found))


# With a scripted server; test_differential.py has the scripts.


@program
async def handshake_refused(url, out):
    from aiocometd import Client

    for connection_type in both_types()[1:]:
        client = Client(url, connection_type)
        out(await failure(client.open()))
        out(client.closed)


@program
async def no_common_connection_type(url, out):
    from aiocometd import Client

    client = Client(url)
    out(await failure(client.open()))
    out(client.closed)


@program
async def calls_refused(url, out):
    from aiocometd import Client

    async with Client(url, both_types()[1]) as client:
        await calls_that_are_refused(client, out)


@program
async def calls_refused_over_a_websocket(url, out):
    from aiocometd import Client

    async with Client(url, both_types()[0]) as client:
        await calls_that_are_refused(client, out)


async def calls_that_are_refused(client, out):
    for call in (
        client.subscribe("/denied/a"),
        client.publish("/denied/a", 1),
        client.publish("/service/denied", 1),
    ):
        out(await failure(call))
    await client.subscribe("/fine")
    out(client.subscriptions)
    out(await failure(client.unsubscribe("/fine")))
    out(client.closed)


@program
async def nobody_listens(url, out):
    from aiocometd import Client

    for connection_type in both_types():
        client = Client("http://127.0.0.1:1/cometd", connection_type)
        out(await kind(client.open()))
        out(client.closed)


@program
async def advice_none(url, out):
    from aiocometd import Client

    client = Client(url, both_types()[1])
    await client.open()
    await client.subscribe("/a")
    out(text(await client.receive()))
    out(await failure(client.receive()))
    out(client.closed)
    out(await failure(client.receive()))
    out(await failure(client.publish("/a", 1)))


@program
async def lost_connection(url, out):
    from aiocometd import Client

    client = Client(url, both_types()[1], connection_timeout=0.5)
    await client.open()
    for _ in range(2):
        out(await failure(client.receive()))
        out(client.closed)
    await client.close()
    out(client.closed)


@program
async def refused_message(url, out):
    from aiocometd import Client

    async with Client(url, both_types()[1]) as client:
        await client.subscribe("/a")
        out(text(await client.receive()))
        out(await failure(client.receive()))
        out(text(await client.receive()))
        out(client.closed)


@program
async def authentication(url, out):
    from aiocometd import AuthExtension, Client

    class Auth(AuthExtension):
        token, calls = "old", 0

        async def outgoing(self, payload, headers):
            headers["Authorization"] = "Bearer " + self.token

        async def incoming(self, payload, headers=None):
            pass

        async def authenticate(self):
            self.calls += 1
            self.token = "new"

    auth = Auth()
    async with Client(url, both_types()[1], auth=auth) as client:
        out(auth.calls)
        await client.subscribe("/a")
        out(text(await client.publish("/a", 1)))
    out(auth.calls)


@program
async def authentication_fails(url, out):
    from aiocometd import AuthExtension, Client

    class Broken(AuthExtension):
        async def outgoing(self, payload, headers):
            headers["Authorization"] = "Bearer old"

        async def incoming(self, payload, headers=None):
            pass

        async def authenticate(self):
            raise LookupError("no more tokens")

    client = Client(url, both_types()[1], auth=Broken())
    out(await failure(client.open()))
    out(client.closed)


@program
async def authentication_is_not_enough(url, out):
    from aiocometd import AuthExtension, Client

    class Useless(AuthExtension):
        calls = 0

        async def outgoing(self, payload, headers):
            headers["Authorization"] = "Bearer old"

        async def incoming(self, payload, headers=None):
            pass

        async def authenticate(self):
            self.calls += 1

    auth = Useless()
    client = Client(url, both_types()[1], auth=auth)
    out(await failure(client.open()))
    out(client.closed, auth.calls)


@program
async def service_answers(url, out):
    from aiocometd import Client

    async with Client(url, both_types()[1]) as client:
        out(text(await client.publish("/service/ask", 1)))
        out(text(await client.receive()))


@program
async def session_lost(url, out):
    from aiocometd import Client

    async with Client(url, both_types()[1]) as client:
        await client.subscribe("/a")
        await client.subscribe("/b")
        out(text(await client.receive()))
        out(sorted(client.subscriptions))


def main():
    task = json.load(sys.stdin)
    use(task["package"])
    outputs = {}
    for name, url in task["urls"].items():
        lines = outputs[name] = []

        def out(*values, lines=lines):
            lines.append(" ".join(map(str, values)))

        async def run(name=name, url=url, out=out):
            await asyncio.wait_for(PROGRAMS[name](url, out), PATIENCE)

        try:
            asyncio.run(run())
        except BaseException as error:
            out("".join(traceback.format_exception(type(error), error, error.__traceback__)))
    json.dump(outputs, sys.stdout)


if __name__ == "__main__":
    main()
