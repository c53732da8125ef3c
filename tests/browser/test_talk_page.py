"""The talk page in a real Chromium, served by the receiver, in a room of the real LiveKit with an agent that plays."""

import asyncio
import os
import secrets
from pathlib import Path
from urllib.parse import urlsplit

import pytest
from playwright.async_api import Page, expect

from deploy.local.livekit_server import LiveKitServer
from deploy.local.ports import free_port
from tests.bridge.caller.tone_agent import ToneAgent, tone
from tests.browser.conftest import AUDIBLE, MICROPHONE_REFUSED, Open, Serve

pytestmark = [pytest.mark.browser, pytest.mark.livekit]

PHONE = {"width": 360, "height": 740}


@pytest.fixture
def room() -> str:
    return f"talk-{secrets.token_hex(4)}"


@pytest.fixture
def agent(livekit: LiveKitServer, room: str) -> ToneAgent:
    return ToneAgent(livekit.url, key=livekit.api_key, secret=livekit.api_secret, room=room)


async def picture(page: Page, name: str) -> None:
    """Keep a screenshot where ROOMPOOL_TEST_PICTURES says, for a person to look at."""
    if folder := os.environ.get("ROOMPOOL_TEST_PICTURES"):
        await page.screenshot(path=Path(folder) / f"{name}.png")


async def test_the_page_hears_the_agent_and_says_when(
    page: Page, serve_page: Serve, room: str, agent: ToneAgent
) -> None:
    """A click, and the agent is joined, seen, heard above silence, alone, and shown with its state and times."""
    complaints: list[str] = []
    hosts: set[str | None] = set()
    page.on("console", lambda message: complaints.append(message.text) if message.type == "error" else None)
    page.on("pageerror", lambda error: complaints.append(str(error)))
    page.on("request", lambda request: hosts.add(urlsplit(request.url).hostname))

    async with serve_page() as url, agent:
        await page.goto(f"{url}?room={room}")
        await picture(page, "before")
        await page.get_by_role("button", name="Talk").click()
        await agent.until_subscribed()
        await agent.show("speaking")
        await agent.play(tone(1.0))
        await page.wait_for_function(f"() => roompool.peak_level > {AUDIBLE} && roompool.own_peak_level > {AUDIBLE}")
        await expect(page.get_by_role("status")).to_have_text("Speaking")
        async with asyncio.TaskGroup() as group:
            group.create_task(agent.play(tone(1.0)))
            await asyncio.sleep(0.5)  # in the middle of the tone, for the picture's sake
            await picture(page, "speaking")
        measured = await page.evaluate("roompool")

    assert (measured["room"], measured["agents_max"], measured["problem"]) == (room, 1, None)
    assert 0 < measured["connected_ms"] <= measured["agent_seen_ms"] <= measured["heard_ms"]
    assert complaints == []
    assert hosts == {"127.0.0.1"}


async def test_the_agent_hears_the_page_until_it_hangs_up(
    page: Page, serve_page: Serve, room: str, agent: ToneAgent
) -> None:
    """The microphone is published; hanging up leaves the room at once, and one may talk again."""
    joined: asyncio.Queue[str] = asyncio.Queue()
    left: asyncio.Queue[str] = asyncio.Queue()
    agent.room.on("track_subscribed", lambda _track, publication, _who: joined.put_nowait(publication.name))
    agent.room.on("participant_disconnected", lambda who: left.put_nowait(who.identity))

    async with serve_page() as url, agent, asyncio.timeout(30):
        await page.goto(f"{url}?room={room}")
        await page.get_by_role("button", name="Talk").click()
        await joined.get()
        await page.get_by_role("button", name="Hang up").click()
        assert await left.get() == await page.evaluate("roompool.identity")
        await expect(page.get_by_role("button", name="Talk again")).to_be_focused()
        await picture(page, "ended")
        await page.get_by_role("button", name="Talk again").click()
        await joined.get()


async def test_an_agent_that_leaves_and_one_that_takes_over_are_shown(
    page: Page, serve_page: Serve, room: str, livekit: LiveKitServer, agent: ToneAgent
) -> None:
    """The page stays in the call across a take-over, as a caller would."""
    async with serve_page() as url:
        async with agent:
            await page.goto(f"{url}?room={room}")
            await page.get_by_role("button", name="Talk").click()
            await agent.show("listening")
            await expect(page.get_by_role("status")).to_have_text("Listening")
        await expect(page.get_by_role("status")).to_have_text("Agent left")
        async with ToneAgent(livekit.url, key=livekit.api_key, secret=livekit.api_secret, room=room) as successor:
            await successor.show("listening")
            await expect(page.get_by_role("status")).to_have_text("Listening")
            assert await page.evaluate("roompool.agents_max") == 1


async def test_an_agent_that_does_not_come_is_a_reason_to_ask_why(page: Page, serve_page: Serve, room: str) -> None:
    """After the limit the page says which command knows more, and goes on waiting."""
    async with serve_page() as url:
        await page.set_viewport_size({"width": PHONE["width"], "height": PHONE["height"]})
        await page.goto(f"{url}?room={room}")
        await page.evaluate("document.body.dataset.agentLateMs = 300")
        await page.get_by_role("button", name="Talk").click()
        await expect(page.get_by_role("alert")).to_contain_text(f"roompool why {room}")
        await expect(page.get_by_role("button", name="Hang up")).to_be_visible()
        await picture(page, "phone")
        assert await page.evaluate("document.documentElement.scrollWidth") == PHONE["width"]


async def test_a_livekit_that_is_not_there_is_named(page: Page, serve_page: Serve) -> None:
    """The address that was tried is in the message, and one may try again."""
    nowhere = f"ws://127.0.0.1:{free_port()}"
    async with serve_page(nowhere) as url:
        await page.goto(url)
        await page.get_by_role("button", name="Talk").click()
        await expect(page.get_by_role("alert")).to_contain_text(nowhere)
        await expect(page.get_by_role("button", name="Talk")).to_be_enabled()


async def test_a_room_that_the_receiver_refuses_is_explained(page: Page, serve_page: Serve) -> None:
    """The receiver's own words are shown, as text and not as markup."""
    async with serve_page() as url:
        await page.goto(f"{url}?room=<b>no</b>")
        await page.get_by_role("button", name="Talk").click()
        await expect(page.get_by_role("alert")).to_contain_text("a room is 1 to 64 letters")


async def test_a_receiver_that_is_gone_is_explained(page: Page, serve_page: Serve) -> None:
    """The page outlives the server it came from."""
    async with serve_page() as url:
        await page.goto(url)
    await page.get_by_role("button", name="Talk").click()
    await expect(page.get_by_role("alert")).to_contain_text("does not answer")


async def test_a_refused_microphone_is_explained(open_browser: Open, serve_page: Serve) -> None:
    """Before anything is joined."""
    async with open_browser(MICROPHONE_REFUSED) as browser, serve_page() as url:
        page = await browser.new_page()
        await page.goto(url)
        await page.get_by_role("button", name="Talk").click()
        await expect(page.get_by_role("alert")).to_contain_text("not allowed")
        assert await page.evaluate("roompool.connected_ms") is None


async def test_a_simulated_voice_is_said_to_be_one(page: Page, serve_page: Serve, room: str, agent: ToneAgent) -> None:
    """Where the token says so, the page does, in so many words."""
    async with serve_page() as url, agent:

        async def add_simulated(route: object) -> None:
            answer = await route.fetch()  # type: ignore[attr-defined]
            ticket = {**await answer.json(), "simulated": True}
            await route.fulfill(response=answer, json=ticket)  # type: ignore[attr-defined]

        await page.route("**/token*", add_simulated)
        await page.emulate_media(color_scheme="dark")
        await page.goto(f"{url}?room={room}")
        await page.get_by_role("button", name="Talk").click()
        await agent.show("listening")
        await expect(page.get_by_text("simulator")).to_be_visible()
        await expect(page.get_by_role("status")).to_have_text("Listening")
        await picture(page, "dark")
