"""A core that is kept free for what is measured."""

import os
import threading
from collections.abc import Iterator

import pytest

from deploy.local.bench.cores import a_core_apart, on_core

pytestmark = pytest.mark.skipif(
    not hasattr(os, "sched_getaffinity") or len(os.sched_getaffinity(0)) < 2, reason="it takes Linux and two cores"
)


@pytest.fixture
def thread() -> Iterator[int]:
    """Another thread of this process, by its id in Linux."""
    ended = threading.Event()
    running = threading.Thread(target=ended.wait)
    running.start()
    assert running.native_id is not None
    yield running.native_id
    ended.set()
    running.join()


def test_every_thread_keeps_off_it_and_comes_back(thread: int) -> None:
    """Also when the block ends with an exception."""
    before = os.sched_getaffinity(0)
    with pytest.raises(RuntimeError), a_core_apart() as core:
        for one in (0, thread):
            assert os.sched_getaffinity(one) == before - {core}
        with on_core(core):
            assert os.sched_getaffinity(0) == {core}
            assert os.sched_getaffinity(thread) == before - {core}
        assert os.sched_getaffinity(0) == before - {core}
        raise RuntimeError
    assert os.sched_getaffinity(0) == os.sched_getaffinity(thread) == before
