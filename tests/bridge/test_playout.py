"""The queue between the voice and the room: exact to the sample, bounded, and deaf to what was flushed."""

import itertools

from hypothesis import given
from hypothesis import strategies as st

from bridge.playout import FRAME_MS, MAX_QUEUED_MS, STEP_MS, Playout
from bridge.spec import BYTES_PER_MS

STEP_BYTES = STEP_MS * BYTES_PER_MS


def drain(playout: Playout) -> list[bytes]:
    """Everything that can be taken."""
    frames = []
    while (frame := playout.take()) is not None:
        frames.append(frame)
    return frames


@given(speech=st.binary(min_size=1, max_size=5000), cuts=st.lists(st.integers(0, 5000), max_size=12))
def test_speech_cut_anywhere_gives_the_same_samples(speech: bytes, cuts: list[int]) -> None:
    """Cut even within a sample, a reply comes out whole and in order, padded to a step with silence."""
    playout = Playout()
    edges = sorted({0, len(speech), *(cut for cut in cuts if cut < len(speech))})
    for start, end in itertools.pairwise(edges):
        playout.push("r", speech[start:end])
    playout.finish()
    frames = drain(playout)
    padding = -len(speech) % STEP_BYTES
    assert speech + bytes(padding) == b"".join(frames)
    assert all(len(frame) % STEP_BYTES == 0 and len(frame) <= FRAME_MS * BYTES_PER_MS for frame in frames)


def test_half_a_sample_does_not_shift_the_next_reply() -> None:
    """A peer that ends a reply within a sample spoils that sample only."""
    playout = Playout()
    playout.push("a", b"\x01")
    playout.push("b", b"\x02" * STEP_BYTES)
    assert b"".join(drain(playout))[STEP_BYTES:] == b"\x02" * STEP_BYTES


def test_late_audio_of_a_flushed_reply_is_dropped() -> None:
    """The caller cut in; what the network still carries of that reply is not heard."""
    playout = Playout()
    playout.push("a", bytes(STEP_BYTES))
    playout.flush(ahead_ms=0)
    assert not playout.push("a", bytes(STEP_BYTES))
    assert playout.push("b", bytes(STEP_BYTES))


def test_a_flush_tells_how_much_was_heard() -> None:
    """Heard is what was handed over less what the source still held; a second flush says the same."""
    playout = Playout()
    playout.push("a", bytes(20 * STEP_BYTES))
    while playout.queued_ms > 100:
        playout.take()
    assert [playout.flush(ahead_ms=40), playout.flush(ahead_ms=0)] == [60, 60]


def test_how_much_was_heard_of_a_reply_can_be_asked_before_and_after_its_flush() -> None:
    """The voice tells of an interruption before or after the speech that caused it."""
    playout = Playout()
    playout.push("a", bytes(10 * STEP_BYTES))
    drain(playout)
    assert playout.heard_ms("a", ahead_ms=40) == 60
    playout.flush(ahead_ms=40, open_reply="b")
    playout.push("c", bytes(STEP_BYTES))
    assert [playout.heard_ms(reply, ahead_ms=0) for reply in ("a", "b", "never")] == [60, 0, 0]


def test_a_flush_never_reports_less_than_nothing() -> None:
    """The source's own estimate may exceed what was handed over."""
    playout = Playout()
    playout.push("a", bytes(STEP_BYTES))
    playout.take()
    assert playout.flush(ahead_ms=500) == 0


def test_a_peer_that_sends_without_end_is_cut() -> None:
    """Beyond a minute of unheard speech the newest is dropped, and counted."""
    playout = Playout()
    second = bytes(1000 * BYTES_PER_MS)
    accepted = [playout.push("a", second) for _ in range(MAX_QUEUED_MS // 1000 + 5)]
    assert (sum(accepted), playout.dropped_ms) == (MAX_QUEUED_MS // 1000, 5000)
