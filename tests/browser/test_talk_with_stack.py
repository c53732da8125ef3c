"""A person's whole way: the page of a running deployment, a click, the agent's voice, a hang-up. All of it real but the
voice peer, which is the simulator, and the page says so.
"""

import asyncio
import secrets

import httpx2
import pytest
from livekit import api
from playwright.async_api import Page, expect

from deploy.local import signs
from deploy.local.stack import Stack
from tests.browser.conftest import AUDIBLE
from tests.peers.stacks import StackFactory

pytestmark = [pytest.mark.browser, pytest.mark.livekit, pytest.mark.timeout(120)]

PAGE = {"ROOMPOOL_TALK_PAGE": "1", "ROOMPOOL_TALK_PAGE_SIMULATED": "1"}
PATIENCE_S = 30.0


async def test_a_person_talks_to_the_agent_and_hangs_up(page: Page, stack_factory: StackFactory) -> None:
    """The agent comes, is heard and hears; when the page hangs up it leaves, because the caller has."""
    room = f"talk-{secrets.token_hex(3)}"
    page.set_default_timeout(PATIENCE_S * 1000)
    async with stack_factory(workers=2, webhook_env=PAGE) as stack:
        await page.goto(f"{stack.webhook_base_url}?room={room}")
        await page.get_by_role("button", name="Talk").click()
        await page.wait_for_function(f"() => roompool.heard_ms !== null && roompool.peak_level > {AUDIBLE}")
        await expect(page.get_by_text("simulator")).to_be_visible()
        await until_voice_hears_somebody(stack)

        await page.get_by_role("button", name="Hang up").click()
        ended = await signs.first_said(stack.workers, "call_ended", timeout_s=PATIENCE_S, room=room)
        measured = await page.evaluate("roompool")
        left = await agents_in(stack, room)

    assert ended is not None
    assert ended[1].facts["ending"] == "caller_left"
    assert left == []
    assert (measured["simulated"], measured["agents_max"], measured["problem"]) == (True, 1, None)
    assert 0 < measured["connected_ms"] <= measured["agent_seen_ms"] <= measured["heard_ms"]


async def until_voice_hears_somebody(stack: Stack) -> None:
    """Wait until the simulator has taken up speech: the microphone's sound went all the way."""
    async with asyncio.timeout(PATIENCE_S), httpx2.AsyncClient(trust_env=False) as http:
        sessions: list[dict[str, int]] = []
        while not any(session["voiced_received"] for session in sessions):
            await asyncio.sleep(0.1)
            sessions = (await http.get(f"{stack.simulator_control_url}/sessions")).json()["sessions"]


async def agents_in(stack: Stack, room: str) -> list[str]:
    """Who LiveKit says is in the room, whether it still is or not."""
    server = stack.livekit
    async with api.LiveKitAPI(server.url, server.api_key, server.api_secret) as asked:
        listed = await asked.room.list_participants(api.ListParticipantsRequest(room=room))
    return [participant.identity for participant in listed.participants]
