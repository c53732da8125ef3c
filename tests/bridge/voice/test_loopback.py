"""The voice without a peer keeps what every voice keeps: it is ready, replies have ids and an end, audio is whole."""

import asyncio
from contextlib import aclosing

from bridge.spec import LinkSpec, VoiceSpec
from bridge.voice.events import ReplyAudio, ReplyDone, ReplyStarted, VoiceEvent
from bridge.voice.link import open_voice
from bridge.voice.loopback import ALWAYS, ONCE, PIECE_MS, recording

GREETING_S = len(recording("greeting")) / 48_000


async def said(url: str, events: int) -> tuple[list[VoiceEvent], float]:
    """The first events of a voice session, and how long they took."""
    loop = asyncio.get_running_loop()
    async with asyncio.TaskGroup() as farewells:
        spec = LinkSpec(dialect="loopback", url=url, key="")
        voice = await open_voice(spec, VoiceSpec("prompt"), "alba", farewells=farewells)
        assert voice.ready.voice_session
        await voice.send_audio(bytes(480))
        began_at, seen = loop.time(), list[VoiceEvent]()
        async with aclosing(voice.events()) as stream:
            async for event in stream:
                seen.append(event)
                if len(seen) == events:
                    break
        took_s = loop.time() - began_at
        assert await voice.farewell()
    return seen, took_s


async def test_one_sentence_is_said_whole_and_ended() -> None:
    """Started, every sample of it in order, done."""
    pieces = -(-len(recording("greeting")) // (PIECE_MS * 48))

    seen, took_s = await said(ONCE, pieces + 2)

    assert isinstance(seen[0], ReplyStarted)
    assert isinstance(seen[-1], ReplyDone)
    audio = [event for event in seen if isinstance(event, ReplyAudio)]
    assert {event.reply for event in audio} == {seen[0].reply} == {seen[-1].reply}
    assert b"".join(event.pcm for event in audio) == recording("greeting")
    assert took_s >= GREETING_S - PIECE_MS / 1000  # no faster than it is heard


async def test_an_endless_one_goes_on_in_one_reply() -> None:
    """Whoever listens for a while hears one voice."""
    seen, _ = await said(ALWAYS, 5)

    assert [type(event) for event in seen] == [ReplyStarted, *[ReplyAudio] * 4]
