"""Join one room by hand: no Redis, no webhook, no pool. `python -m bridge --room demo`."""

import argparse
import asyncio
import logging
import os
import signal
import sys
from collections.abc import Callable, Mapping
from contextlib import AbstractAsyncContextManager, nullcontext
from dataclasses import replace

import structlog
from pydantic import ValidationError

from bridge.settings import HandSettings, problems_of
from bridge.spec import Ending, Outcome, Said, Stop

log = structlog.get_logger()

EXAMPLE = """example:
  LIVEKIT_URL=ws://127.0.0.1:7880 LIVEKIT_API_KEY=devkey LIVEKIT_API_SECRET=... ASSEMBLYAI_API_KEY=... \\
    python -m bridge --room demo

The room may also be given as ROOM_NAME. The agent waits for callers for --wait seconds and leaves when they have left.
The settings are in the README; they are read from the environment and from .env."""


ORDERLY = frozenset(
    {
        Ending.CALLER_LEFT,
        Ending.NOBODY_THERE,
        Ending.AGENT_HUNG_UP,
        Ending.HUNG_UP,
        Ending.LIMIT_REACHED,
        Ending.REMOVED,
        Ending.ROOM_OVER,
        Ending.STOPPED,
    }
)
"""Endings that are nobody's failure."""


class Always:
    """The permit of somebody who joins by hand: nobody else decides."""

    def __init__(self, mint: Callable[[], str]) -> None:
        self._mint = mint

    def token(self) -> str:
        """A fresh one."""
        return self._mint()

    def may_speak(self) -> bool:
        """Always."""
        return True

    def may_join(self) -> bool:
        """Always."""
        return True

    def turn_to_join(self) -> AbstractAsyncContextManager[None]:
        """At once: nobody else joins here."""
        return nullcontext()

    async def confirm(self) -> bool:
        """Always."""
        return True

    def connected(self) -> None:
        """Nothing follows from it."""

    def disconnected(self) -> None:
        """Nothing follows from it."""


class Log:
    """A journal that goes to the log."""

    def event(self, name: str, **facts: int | float | str) -> None:
        """One line a step."""
        log.info(name, **facts)

    def callers(self, present: Mapping[str, int]) -> None:
        """How many, not who."""
        log.info("callers", present=len(present))

    def turn(self, said: Said) -> None:
        """Nobody will carry this call on; what was said is not logged."""

    def quiet(self, is_quiet: bool) -> None:
        """Nothing waits for it."""


def main() -> None:
    """Read the command line and the settings, carry one call, and exit 0 unless it failed."""
    parser = argparse.ArgumentParser(
        "python -m bridge", description=__doc__, epilog=EXAMPLE, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--room", help="the room to join; default: ROOM_NAME, or voice-agent-demo")
    parser.add_argument("--wait", type=float, default=600.0, help="seconds to wait for a first caller (default: 600)")
    arguments = parser.parse_args()
    logging.basicConfig(level=logging.WARNING, stream=sys.stderr)
    logging.getLogger("livekit").setLevel(logging.CRITICAL)  # the SDK repeats a refused token
    structlog.configure(
        wrapper_class=structlog.make_filtering_bound_logger(logging.INFO),
        logger_factory=structlog.PrintLoggerFactory(sys.stderr),
    )
    try:
        settings = HandSettings(_env_file=".env")
    except ValidationError as error:
        sys.stderr.writelines(f"{line}\n" for line in problems_of(HandSettings, error))
        raise SystemExit(2) from None
    outcome = asyncio.run(call(settings, arguments.room or settings.room_name, arguments.wait))
    log.info("call_ended", ending=outcome.ending.value, code=outcome.code, call_ms=outcome.call_ms)
    sys.stderr.flush()
    # Leaving through the interpreter's own shutdown can abort in the SDK's native threads (seen).
    os._exit(0 if outcome.ending in ORDERLY else 1)


async def call(settings: HandSettings, room: str, wait_s: float) -> Outcome:
    """Carry one call in `room`; Ctrl-C and SIGTERM end it politely."""
    # These bring LiveKit's libraries, which wrong settings should not wait for.
    from bridge.session import carry
    from bridge.tokens import agent_token

    stop = Stop()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGINT, signal.SIGTERM):
        loop.add_signal_handler(number, stop.ask, Ending.STOPPED)

    def mint() -> str:
        return agent_token(
            settings.livekit_api_key,
            settings.livekit_api_secret.get_secret_value(),
            room=room,
            identity=settings.agent_identity,
            name=settings.agent_name,
            attributes={},
        )

    spec = replace(settings.session_spec(room), is_awaited=False, nobody_s=wait_s)
    async with asyncio.TaskGroup() as farewells:
        return await carry(spec, permit=Always(mint), journal=Log(), stop=stop, farewells=farewells)


if __name__ == "__main__":
    main()
