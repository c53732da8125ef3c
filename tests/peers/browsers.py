"""The browser on this machine."""

import shutil
from pathlib import Path

import pytest

_NAMES = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable", "chrome")


@pytest.fixture(scope="session")
def chromium() -> Path:
    """The Chromium on PATH; the test is skipped, with the cure, where there is none."""
    for name in _NAMES:
        if found := shutil.which(name):
            return Path(found)
    pytest.skip("no Chromium on PATH; to run the browser tests: apt-get install chromium, or brew install chromium")


def microphone_flags(speech: Path | None = None) -> list[str]:
    """What to start Chromium with so that a page hears a microphone and may play sound without a click.

    Args:
        speech: A 16-bit PCM WAV that the microphone says once; None lets it beep.
    """
    flags = [
        "--no-sandbox",  # tests run as root in containers
        "--use-fake-ui-for-media-stream",
        "--use-fake-device-for-media-stream",
        "--autoplay-policy=no-user-gesture-required",
        "--disable-features=WebRtcHideLocalIpsWithMdns",  # names under .local are not resolved on loopback
        "--allow-loopback-in-peer-connection",
    ]
    return [*flags, f"--use-file-for-fake-audio-capture={speech}%noloop"] if speech else flags
