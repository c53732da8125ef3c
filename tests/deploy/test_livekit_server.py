"""The launcher of livekit-server."""

import asyncio

import pytest
from aiohttp import web
from livekit import api

from deploy.local.livekit_server import ExternalLiveKit, LiveKitServer

pytestmark = pytest.mark.livekit


async def test_it_takes_our_keys_and_keeps_its_address_over_a_restart(livekit: LiveKitServer) -> None:
    """Its own random keys open its API, before and after a crash; rooms do not survive one."""
    async with LiveKitServer() as server:
        address = server.url
        assert await _rooms_after_making_one(server) == ["room"]
        await server.restart()
        assert server.url == address
        async with api.LiveKitAPI(server.url, server.api_key, server.api_secret) as client:
            assert list((await client.room.list_rooms(api.ListRoomsRequest())).rooms) == []
    assert livekit.keys != server.keys


async def test_it_posts_signed_webhooks_to_the_addresses_given() -> None:
    """A room made through its API is announced to our URL with a signature of our key."""
    seen: asyncio.Queue[tuple[bytes, str]] = asyncio.Queue(maxsize=16)

    async def receive(request: web.Request) -> web.Response:
        seen.put_nowait((await request.read(), request.headers["Authorization"]))
        return web.Response()

    receiver = web.Application()
    receiver.router.add_post("/livekit/webhook", receive)
    runner = web.AppRunner(receiver)
    await runner.setup()
    try:
        site = web.TCPSite(runner, "127.0.0.1", 0)
        await site.start()
        async with LiveKitServer(webhook_urls=[f"{site.name}/livekit/webhook"]) as server:
            await _rooms_after_making_one(server)
            body, token = await asyncio.wait_for(seen.get(), 10)
            event = api.WebhookReceiver(api.TokenVerifier(server.api_key, server.api_secret)).receive(
                body.decode(), token
            )
    finally:
        await runner.cleanup()
    assert (event.event, event.room.name) == ("room_started", "room")


def test_an_external_server_needs_its_keys() -> None:
    """LIVEKIT_URL alone is refused with the names of what is missing; without it there is no external server."""
    assert ExternalLiveKit.from_env({}) is None
    with pytest.raises(ValueError, match="LIVEKIT_API_SECRET"):
        ExternalLiveKit.from_env({"LIVEKIT_URL": "ws://localhost:7880", "LIVEKIT_API_KEY": "key"})


async def _rooms_after_making_one(server: LiveKitServer) -> list[str]:
    async with api.LiveKitAPI(server.url, server.api_key, server.api_secret) as client:
        await client.room.create_room(api.CreateRoomRequest(name="room"))
        return [room.name for room in (await client.room.list_rooms(api.ListRoomsRequest())).rooms]
