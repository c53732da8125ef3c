"""The two jobs, and which queue entries are no job."""

import json

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pool.contract import JOB_PARTICIPANT_JOINED, JOB_ROOM_FINISHED, Arrived, Finished, NotAJob, dump_job, job_payload
from pool.jobs import JOBS, Job, SetAside, participant_joined, room_finished, why_set_aside

ARRIVED = Arrived(room="r", sid="RM_1", created_unix_ms=1, participant_sid="PA_1", joined_unix_ms=2)


class Asked:
    """A carrier that notes what it was asked."""

    def __init__(self) -> None:
        self.asked: list[str] = []

    async def wake(self) -> None:
        self.asked.append("wake")

    async def room_finished(self, room: str) -> None:
        self.asked.append(room)


async def test_a_join_wakes_the_carrier_whatever_room_it_names() -> None:
    """The registry decides which room is next."""
    carrier = Asked()
    await participant_joined({"carrier": carrier}, job_payload(ARRIVED))
    assert carrier.asked == ["wake"]


async def test_an_end_is_told_with_its_room() -> None:
    """Only the owner can do anything about it, so it must know which."""
    carrier = Asked()
    await room_finished({"carrier": carrier}, job_payload(Finished(room="{a}*\n", sid="RM_1")))
    assert carrier.asked == ["{a}*\n"]


@pytest.mark.parametrize("job", JOBS.values(), ids=JOBS.keys())
async def test_a_payload_that_is_none_does_nothing(job: Job) -> None:
    """It raises before the carrier hears of it."""
    carrier = Asked()
    with pytest.raises(NotAJob):
        await job({"carrier": carrier}, {"v": 99})
    assert carrier.asked == []


def test_every_job_of_the_contract_has_a_function() -> None:
    """What is sent is known to who receives."""
    assert set(JOBS) == {JOB_PARTICIPANT_JOINED, JOB_ROOM_FINISHED}


def test_what_we_send_is_a_job() -> None:
    """The sender's form passes the receiver's check."""
    job: dict[str, object] = {
        "t": None,
        "f": JOB_PARTICIPANT_JOINED,
        "a": [job_payload(ARRIVED)],
        "k": {},
        "et": 1_800_000_000_000,
    }
    assert why_set_aside(dump_job(job), JOBS) is None


@settings(deadline=None)  # the machine may be busy
@given(st.binary(max_size=200))
def test_no_bytes_break_the_check(raw: bytes) -> None:
    """It answers, it never raises."""
    assert why_set_aside(raw, JOBS) is SetAside.MALFORMED


words = st.sampled_from(["", "v", "room", "participant_joined", "{*}", "\x00"])
anything = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | words,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(words, inner, max_size=3),
    max_leaves=6,
)


@settings(deadline=None)  # the machine may be busy
@given(
    st.fixed_dictionaries(
        {},
        optional={
            "f": st.just(JOB_PARTICIPANT_JOINED) | anything,
            "a": st.just([job_payload(ARRIVED)]) | anything,
            "k": st.just({}) | anything,
            "t": st.none() | anything,
            "et": st.just(1) | anything,
        },
    )
)
def test_what_passes_the_check_is_what_arq_and_the_job_can_use(job: dict[str, object]) -> None:
    """A job with any field missing or of any other kind is set aside; one that passes has them all."""
    if why_set_aside(json.dumps(job).encode(), JOBS) is None:
        assert job["f"] == JOB_PARTICIPANT_JOINED
        assert job["k"] == {}
        assert job["t"] is None or isinstance(job["t"], int)
        assert isinstance(job["et"], int)
        assert isinstance(job["a"], list)
        assert len(job["a"]) == 1
