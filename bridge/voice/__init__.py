"""The voice: one link, many dialects. A second vendor is one more file here and one more line in DIALECTS."""

from collections.abc import AsyncGenerator, Mapping
from typing import Protocol

from bridge.spec import VoiceSpec
from bridge.voice import loopback
from bridge.voice.assemblyai import AssemblyAI
from bridge.voice.events import Ready, VoiceEvent


class Voice(Protocol):
    """One voice session that is ready: over a socket (`link.py`), or in this process (`loopback.py`)."""

    ready: Ready

    async def send_audio(self, pcm: bytes | memoryview) -> None: ...
    async def instruct(self, voice: VoiceSpec) -> None: ...
    def events(self) -> AsyncGenerator[VoiceEvent, None]: ...
    async def farewell(self) -> bool: ...
    async def abort(self) -> None: ...


class Dialect(Protocol):
    """A vendor's protocol, sans-I/O. One object a voice session."""

    def headers(self, key: str) -> Mapping[str, str]: ...
    def hello(self, spec: VoiceSpec, voice: str) -> bytes: ...
    def instruct(self, prompt: str) -> bytes: ...
    def audio(self, pcm: bytes | memoryview) -> bytes: ...
    def farewell(self) -> bytes: ...
    def decode(self, message: bytes) -> VoiceEvent | None: ...


DIALECTS: Mapping[str, type[Dialect]] = {"assemblyai": AssemblyAI}

NAMES = (*DIALECTS, loopback.DIALECT)
"""What ROOMPOOL_VOICE_DIALECT may be."""
