"""The voice: one link, many dialects. A second vendor is one more file here and one more line in DIALECTS."""

from collections.abc import Mapping
from typing import Protocol

from bridge.spec import VoiceSpec
from bridge.voice.assemblyai import AssemblyAI
from bridge.voice.events import VoiceEvent


class Dialect(Protocol):
    """A vendor's protocol, sans-I/O. One object a voice session."""

    def headers(self, key: str) -> Mapping[str, str]: ...
    def hello(self, spec: VoiceSpec, voice: str) -> bytes: ...
    def instruct(self, prompt: str) -> bytes: ...
    def audio(self, pcm: bytes | memoryview) -> bytes: ...
    def farewell(self) -> bytes: ...
    def decode(self, message: bytes) -> VoiceEvent | None: ...


DIALECTS: Mapping[str, type[Dialect]] = {"assemblyai": AssemblyAI}
