"""A worker of livekit-agents that does what roompool's does here, and no more: joins each room, says a recording, hears
the caller. Runs in the environment of `deploy/locks/agents.txt`, never in roompool's own.

    RECORDING=speech.pcm HOW_OFTEN=once|always LOAD_LIMIT=0.7 HTTP_PORT=8081 python worker.py start

RECORDING is PCM16, 24 kHz, mono. LOAD_LIMIT is the load from which it takes no more; the framework's own is 0.7 with
`start` and inf, none, with `dev`. By the environment, because the framework's processes load this file again.
"""

import asyncio
import os
import sys
from pathlib import Path

from livekit import rtc
from livekit.agents import AutoSubscribe, JobContext, WorkerOptions, cli

RATE_HZ = 24_000
FRAME_MS = 50
"""Of what is said and of what is heard, as the framework's own sessions hear (1.8.9). In frames of 20 ms a call that
speaks took 10.8 % of a core, not 8.4 and 9.3 (4 calls, a busy machine, 2026-11-28)."""

FRAME_BYTES = RATE_HZ * FRAME_MS // 1000 * 2
QUEUE_MS = 200  # as the framework's own output has it

PCM = Path(os.environ["RECORDING"]).read_bytes()
IS_ENDLESS = os.environ["HOW_OFTEN"] == "always"


async def entrypoint(job: JobContext) -> None:
    await job.connect(auto_subscribe=AutoSubscribe.AUDIO_ONLY)
    source = rtc.AudioSource(RATE_HZ, 1, queue_size_ms=QUEUE_MS)
    track = rtc.LocalAudioTrack.create_audio_track("agent-voice", source)
    options = rtc.TrackPublishOptions(source=rtc.TrackSource.SOURCE_MICROPHONE)
    await job.room.local_participant.publish_track(track, options)
    async with asyncio.TaskGroup() as group:
        group.create_task(speak(source), name="speak")
        group.create_task(listen(job), name="listen")


async def speak(source: rtc.AudioSource) -> None:
    while True:
        for start in range(0, len(PCM) - FRAME_BYTES + 1, FRAME_BYTES):
            frame = rtc.AudioFrame(PCM[start : start + FRAME_BYTES], RATE_HZ, 1, FRAME_BYTES // 2)
            await source.capture_frame(frame)
        if not IS_ENDLESS:
            return


async def listen(job: JobContext) -> None:
    caller = await job.wait_for_participant()
    stream = rtc.AudioStream.from_participant(
        participant=caller,
        track_source=rtc.TrackSource.SOURCE_MICROPHONE,
        sample_rate=RATE_HZ,
        num_channels=1,
        frame_size_ms=FRAME_MS,
    )
    async for _ in stream:
        pass


if __name__ == "__main__":
    sys.stdout = sys.stderr  # where it logs; whoever started it reads the other
    cli.run_app(
        WorkerOptions(
            entrypoint_fnc=entrypoint,
            port=int(os.environ["HTTP_PORT"]),
            load_threshold=float(os.environ["LOAD_LIMIT"]),
        )
    )
