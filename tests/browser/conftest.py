"""A Chromium with a microphone that plays a file, and the talk page as the real receiver serves it."""

import contextlib
import shutil
from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager
from pathlib import Path

import pytest
from playwright.async_api import Browser, Page, async_playwright

from deploy.local.livekit_server import LiveKitServer
from pool.base.serve import serve
from tests.webhook.receiver import Ledger
from webhook.app import create_app
from webhook.settings import WebhookSettings
from webhook.talk import PageOptions

SPEECH = Path(__file__).parents[2] / "bridge" / "caller" / "speech" / "hello.wav"

FLAGS = (
    "--use-fake-device-for-media-stream",
    f"--use-file-for-fake-audio-capture={SPEECH}",
    "--autoplay-policy=no-user-gesture-required",
    "--allow-loopback-in-peer-connection",
    "--disable-features=WebRtcHideLocalIpsWithMdns",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--no-first-run",
)

MICROPHONE_ALLOWED = "--use-fake-ui-for-media-stream"
MICROPHONE_REFUSED = "--deny-permission-prompts"

AUDIBLE = 0.01
"""Root mean square, full scale 1: -40 dBFS. A tone has 0.2, speech about 0.1."""

Open = Callable[..., AbstractAsyncContextManager[Browser]]
Serve = Callable[..., AbstractAsyncContextManager[str]]


@pytest.fixture
def open_browser() -> Open:
    """Start Chromium with one more flag; skips the test where there is none."""
    chromium = shutil.which("chromium") or shutil.which("google-chrome") or shutil.which("chrome")
    if chromium is None:
        pytest.skip("no Chromium on PATH; Debian: apt-get install chromium")

    @contextlib.asynccontextmanager
    async def opened(flag: str = MICROPHONE_ALLOWED) -> AsyncIterator[Browser]:
        async with async_playwright() as playwright:
            browser = await playwright.chromium.launch(
                executable_path=chromium, headless=True, chromium_sandbox=False, args=[*FLAGS, flag]
            )
            try:
                yield browser
            finally:
                await browser.close()

    return opened


@pytest.fixture
async def page(open_browser: Open) -> AsyncIterator[Page]:
    """An empty page of a browser that gives its microphone to whoever asks."""
    async with open_browser(MICROPHONE_ALLOWED) as browser:
        page = await browser.new_page(viewport={"width": 1000, "height": 860})
        page.set_default_timeout(15_000)
        yield page


@pytest.fixture
def serve_page(livekit: LiveKitServer) -> Serve:
    """Run a receiver with the talk page, in front of the run's LiveKit or another address; yields the page's URL."""

    @contextlib.asynccontextmanager
    async def served(livekit_url: str = "") -> AsyncIterator[str]:
        page = PageOptions(livekit_url or livekit.url, livekit.api_key, livekit.api_secret)
        settings = WebhookSettings(livekit_api_key=livekit.api_key, livekit_api_secret=livekit.api_secret)
        app = create_app(settings, Ledger(), page=page)
        async with serve(app, host="127.0.0.1", port=0, name="webhook") as port:
            yield f"http://127.0.0.1:{port}/"

    return served
