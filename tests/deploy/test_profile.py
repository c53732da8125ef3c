"""`./dev profile`: CPU by thread, and functions by own time, from what Linux and py-spy say."""

import os
import threading
import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from deploy.local.profile.options import Options
from deploy.local.profile.stacks import parse
from deploy.local.profile.threads import (
    ENDED,
    MAIN,
    NoSuchProcess,
    Snapshot,
    Ticks,
    group_name,
    parse_stat,
    read,
    shares,
)
from deploy.local.profile.told import Report, as_json, as_text

STAT = "({name}) S 1 77 77 0 -1 4194624 1 0 0 0 {user} {system} 0 0 20 0 1 0 99 0 0"


@given(st.text(alphabet="ab ()0-", max_size=15), st.integers(0, 10**9), st.integers(0, 10**9))
def test_a_thread_may_have_any_name(name: str, user: int, system: int) -> None:
    """Blanks and brackets in it do not move the fields behind it."""
    assert parse_stat("77 " + STAT.format(name=name, user=user, system=system)) == Ticks(name, user, system)


@pytest.mark.parametrize(
    ("name", "group"),
    [("tokio-rt-worker", "tokio-rt-worker"), ("asyncio_0", "asyncio"), ("rtc-12", "rtc"), ("42", "42"), ("", "")],
)
def test_siblings_share_a_name(name: str, group: str) -> None:
    """Threads of one pool differ by a number at the end."""
    assert group_name(name) == group


def test_threads_are_added_up_by_name_over_the_time_between() -> None:
    """One that began in between counts whole; the process knows the time of one that ended."""
    before = Snapshot(
        10.0, 1, Ticks("python", 100, 50), {1: Ticks("python", 90, 40), 2: Ticks("io_0", 5, 5), 3: Ticks("io_1", 5, 5)}
    )
    after = Snapshot(
        12.0,
        1,
        Ticks("python", 160, 72),
        {1: Ticks("python", 110, 44), 2: Ticks("io_0", 25, 5), 4: Ticks("io_2", 10, 0)},
    )
    found = {share.name: share for share in shares(before, after, ticks_per_s=100)}
    assert (found[MAIN].user_percent, found[MAIN].system_percent, found[MAIN].threads) == (10.0, 2.0, 1)
    assert (found["io"].user_percent, found["io"].threads) == (15.0, 2)
    assert (found[ENDED].percent, found[ENDED].threads) == (14.0, 1)
    assert [share.name for share in shares(before, after, ticks_per_s=100)] == ["io", ENDED, MAIN]


@pytest.mark.skipif(not os.path.isdir("/proc/self/task"), reason="needs Linux")
def test_a_process_is_looked_at_thread_by_thread() -> None:
    """Our own, with its main thread, and one more that has burnt some time."""
    done = threading.Event()
    thread = threading.Thread(target=done.wait)
    thread.start()
    try:
        snapshot = read(os.getpid(), now_s=time.monotonic())
        assert {os.getpid(), thread.native_id} <= set(snapshot.threads)
        assert snapshot.whole.both > 0
    finally:
        done.set()
        thread.join()


def test_a_process_that_is_not_there_is_told() -> None:
    """No process has a number so great."""
    with pytest.raises(NoSuchProcess):
        read(2**30, now_s=0.0)


RAW = """\
thread (0x1);run (app/main.py:10);Ear.pass_on (bridge/ear.py:52) 30
thread (0x1);run (app/main.py:10);Ear.pass_on (bridge/ear.py:60);pthread_cond_signal (libc.so.6) 10
thread (0x1);EpollSelector.select (selectors.py:468);epoll_wait (libc.so.6) 500
thread (0x1);Runner.run (asyncio/runners.py:118);epoll_pwait (libc.so.6) 40
thread (0x2);0x7f51ac4a3f16 (libc.so.6) 10
not a line of it
"""


def test_own_time_is_the_innermost_function_of_python_and_of_native_code() -> None:
    """Lines of one function are one; what only waits is counted apart."""
    profile = parse(RAW)
    assert (profile.samples, profile.waiting) == (50, 540)
    assert [(one.name, one.place, one.percent) for one in profile.python[:1]] == [
        ("Ear.pass_on", "bridge/ear.py", 80.0)
    ]
    assert {one.name: one.percent for one in profile.native} == {"pthread_cond_signal": 20.0, "0x7f51ac4a3f16": 20.0}


@given(st.text())
def test_whatever_py_spy_writes_is_read(raw: str) -> None:
    """Shares are never more than all."""
    assert sum(one.percent for one in parse(raw).python) <= 100.000001


def test_a_machine_without_py_spy_shows_its_threads_all_the_same() -> None:
    """And says why there are no functions."""
    options = Options(calls=2, seconds=1.0, speaking=True, as_json=False)
    now = Snapshot(1.0, 1, Ticks("python", 50, 0), {1: Ticks("python", 50, 0)})
    then = Snapshot(0.0, 1, Ticks("python", 0, 0), {1: Ticks("python", 0, 0)})
    report = Report(options=options, threads=shares(then, now, ticks_per_s=100), problem="py-spy: not permitted")
    text = as_text(report)
    assert "50.0 % of a core, 25.00 % a call" in text
    assert MAIN in text
    assert "py-spy: not permitted" in text
    assert '"percent_a_call": 25.0' in as_json(report)
