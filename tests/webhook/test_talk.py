"""`webhook.talk`: the demo's page and its tokens, and that neither is there unless asked for."""

import re
import time
from collections.abc import AsyncIterator
from pathlib import Path

import jwt
import pytest

from tests.webhook.deliveries import KEY, SECRET, body_of, message
from tests.webhook.receiver import Ledger, Receiving, receiving
from webhook.app import PATH
from webhook.talk import PageOptions


@pytest.fixture
async def receiver(tmp_path: Path) -> AsyncIterator[Receiving]:
    (tmp_path / "index.html").write_text("<title>talk</title>")
    page = PageOptions(livekit_url="ws://127.0.0.1:7880", api_key=KEY, api_secret=SECRET, directory=tmp_path)
    async with receiving(Ledger(), page=page) as running:
        yield running


async def test_the_page_is_served_beside_the_webhook(receiver: Receiving) -> None:
    """And the webhook still is what it was."""
    page = await receiver.client.get("/")
    assert (page.status_code, page.text) == (200, "<title>talk</title>")
    assert (await receiver.post(body_of(message("room_finished")))).status_code == 200


@pytest.mark.parametrize(
    ("method", "path", "status"),
    [
        ("GET", PATH, 405),
        ("PUT", PATH, 405),
        ("POST", "/token", 405),
        ("GET", "/nothing", 404),
        ("GET", PATH + "/", 404),
    ],
)
async def test_a_wrong_method_or_path_is_called_so(receiver: Receiving, method: str, path: str, status: int) -> None:
    """The page's files do not hide what the webhook would answer without them."""
    assert (await receiver.client.request(method, path)).status_code == status


async def test_a_token_lets_its_holder_talk_in_one_room(receiver: Receiving) -> None:
    """It is signed with the deployment's key, names one room, and ends in ten minutes."""
    answer = await receiver.client.get("/token", params={"room": "my-room_1.x"})
    assert answer.headers["cache-control"] == "no-store"
    given = answer.json()
    claims = jwt.decode(given["token"], SECRET, algorithms=["HS256"], issuer=KEY)
    assert (given["url"], given["room"], claims["sub"]) == ("ws://127.0.0.1:7880", "my-room_1.x", given["identity"])
    assert claims["video"] == {
        "roomJoin": True,
        "room": "my-room_1.x",
        "canPublish": True,
        "canSubscribe": True,
        "canPublishData": True,
    }
    assert 590 < claims["exp"] - time.time() <= 600


async def test_without_a_room_one_is_made_up(receiver: Receiving) -> None:
    """Two visitors get two rooms and two identities."""
    one, two = [(await receiver.client.get("/token")).json() for _ in range(2)]
    assert one["room"] != two["room"]
    assert one["identity"] != two["identity"]
    assert re.fullmatch(r"talk-[0-9a-f]{6}", one["room"])


@pytest.mark.parametrize("room", ["a b", "x" * 65, "../x", "a\n", "ä", "{x}", "*"])
async def test_a_strange_room_is_refused(receiver: Receiving, room: str) -> None:
    """With a word on what a room may be called."""
    answer = await receiver.client.get("/token", params={"room": room})
    assert (answer.status_code, list(answer.json())) == (400, ["error"])


async def test_a_name_pointed_at_this_machine_gets_no_token(receiver: Receiving) -> None:
    """A page from elsewhere cannot reach the tokens by a name of its own that resolves to loopback."""
    assert (await receiver.client.get("/token", headers={"host": "evil.example"})).status_code == 403


@pytest.mark.parametrize("path", ["/../app.py", "/%2e%2e/app.py", "/..%2fapp.py", "/nothing.js"])
async def test_only_files_of_the_page_are_served(receiver: Receiving, path: str) -> None:
    """Nothing beside its folder."""
    assert (await receiver.client.get(path)).status_code == 404


@pytest.mark.parametrize("path", ["/", "/token"])
async def test_without_being_asked_for_there_is_no_page(path: str) -> None:
    """A receiver hands out no tokens."""
    async with receiving(Ledger()) as receiver:
        assert (await receiver.client.get(path)).status_code == 404
