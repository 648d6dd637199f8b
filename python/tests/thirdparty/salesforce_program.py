"""A program for Salesforce, written for aiosfstream-ng. Its arguments are the instance and the name of a scenario."""

import asyncio
import json
import sys

import aiobayeux.compat

aiobayeux.compat.install("aiocometd_ng")

import aiosfstream_ng  # noqa: E402
import aiosfstream_ng.auth  # noqa: E402
from aiosfstream_ng import ReplayMarker, ReplayOption, SalesforceStreamingClient  # noqa: E402

instance, scenario = sys.argv[1:]
#: Instead of Salesforce's own.
aiosfstream_ng.auth.TOKEN_URL = instance + "/services/oauth2/token"
login = {
    "consumer_key": "key",
    "consumer_secret": "secret",
    "username": "ann@example.com",
    "password": "password+token",
}


def show(*values):
    print(json.dumps(values), flush=True)


async def outages():
    """Goes on through a lost session and an expired token, and stores a marker for each message."""
    markers = {}
    async with SalesforceStreamingClient(**login, replay=markers) as client:
        show("open", client.connection_type.value, isinstance(client, aiobayeux.Client))
        await client.subscribe("/topic/Orders")
        show("subscribed", sorted(client.subscriptions))
        async for message in client:
            show("message", message["data"]["event"]["replayId"], markers["/topic/Orders"])
            if message["data"]["event"]["replayId"] == 14:
                break
    show("closed", client.closed)


async def fallback():
    """Has a marker that is too old."""
    markers = {"/topic/Orders": ReplayMarker("2020-01-01T00:00:00.000Z", 7)}
    async with SalesforceStreamingClient(**login, replay=markers, replay_fallback=ReplayOption.ALL_EVENTS) as client:
        await client.subscribe("/topic/Orders")
        show("subscribed", sorted(client.subscriptions))


async def no_fallback():
    """The same, but it has to handle the error by itself."""
    markers = {"/topic/Orders": ReplayMarker("2020-01-01T00:00:00.000Z", 7)}
    async with SalesforceStreamingClient(**login, replay=markers) as client:
        try:
            await client.subscribe("/topic/Orders")
        except aiosfstream_ng.exceptions.ServerError as error:
            show("refused", type(error).__module__, error.error_code, error.error_message)


async def wrong_password():
    """Cannot log in."""
    client = SalesforceStreamingClient(**{**login, "password": "wrong"})
    try:
        await client.open()
    except aiosfstream_ng.exceptions.AuthenticationError as error:
        show("failed", str(error.args[0]), client.closed)


asyncio.run(globals()[scenario]())
