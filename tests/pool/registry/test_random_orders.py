"""Room state under random orders of every verb, by several carriers, over lives of a name, with loss of Redis' data."""

from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from pool.registry import Again, Gone, Rested
from tests.pool.registry.story import CARRIERS, ROOMS, Story
from tests.pool.registry.world import World

room = st.sampled_from(ROOMS)
carrier = st.integers(0, CARRIERS - 1)
place = st.integers(0, 2)
age = st.sampled_from([0, 0, 0, 0, 1, 2])  # how many lives ago: mostly the present one

VERBS: dict[str, tuple[int, dict[str, st.SearchStrategy[Any]]]] = {
    "open_life": (2, {"room": room, "as_old": st.booleans()}),
    "arrive": (12, {"room": room, "age": age, "place": place}),
    "leave": (3, {"room": room, "age": age, "place": place}),
    "finish": (1, {"room": room, "age": age}),
    "claim": (12, {"index": carrier}),
    "renew": (12, {"index": carrier, "sees": st.sets(place)}),
    "release": (
        4,
        {
            "index": carrier,
            "pick": place,
            "how": st.sampled_from(["again", "failed", "excused", "rested", "gone"]),
            "served": st.sets(place),
        },
    ),
    "crash": (1, {"index": carrier}),
    "act_with_a_stale_fence": (
        3,
        {
            "number": st.integers(0, 99),
            "how": st.sampled_from([Again(failed=True), Again(failed=False), Rested({}), Gone({})]),
        },
    ),
    "pass_time": (8, {"ms": st.integers(1, 4000), "sweep": st.booleans()}),
    "be_silent": (2, {"ms": st.integers(1501, 8000), "everybody_claims": st.booleans()}),
    "lose_data": (1, {"everybody_claims": st.booleans()}),
    "retry": (1, {"room": room}),
}
"""What may happen, how often beside the others, and with what."""

Step = tuple[str, dict[str, Any]]


def step_of(verb: str) -> st.SearchStrategy[Step]:
    return st.tuples(st.just(verb), st.fixed_dictionaries(VERBS[verb][1]))


STEPS: st.SearchStrategy[Step] = st.sampled_from(
    [verb for verb, (weight, _) in VERBS.items() for _ in range(weight)]
).flatmap(step_of)


STORIES = st.sampled_from([3, 10, 40, 60, 80]).flatmap(lambda length: st.lists(STEPS, min_size=length, max_size=length))


@pytest.mark.timeout(420)  # seconds when all is well; a failure is shrunk for up to five minutes
@settings(
    max_examples=40,
    deadline=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow, HealthCheck.data_too_large],
)
@given(steps=STORIES)
async def test_random_orders_of_every_verb(world: World, steps: list[Step]) -> None:
    """Whatever happens in whatever order, the rules of ownership hold."""
    story = Story(World(world.redis, world.prefix))
    await story.begin()
    for verb, how in steps:
        done = getattr(story, verb)(**how)
        if done is not None:
            await done
        await story.rules_hold()
    await story.ending()
