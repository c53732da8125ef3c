"""Settings that cannot be."""

import pytest

from tests.e2e.site import PATIENCE_S, Site, new_room

pytestmark = [pytest.mark.livekit, pytest.mark.timeout(180), pytest.mark.asyncio(loop_scope="session")]

SECRET = "a value that no message may repeat"


@pytest.mark.parametrize(
    ("verb", "env"),
    [
        pytest.param(
            "worker",
            {
                "LIVEKIT_URL": "livekit.example.org",
                "LIVEKIT_API_SECRET": "",
                "ASSEMBLYAI_API_KEY": f" {SECRET} ",
                "REDIS_URL": "http://127.0.0.1",
                "ROOMPOOL_CAPACITY": "many",
                "ROOMPOOL_GRACE_S": "-1",
            },
            id="worker",
        ),
        pytest.param(
            "webhook",
            {"LIVEKIT_API_KEY": "", "LIVEKIT_API_SECRET": "", "REDIS_URL": "nowhere", "ROOMPOOL_WEBHOOK_KEYS": SECRET},
            id="webhook",
        ),
    ],
)
async def test_wrong_settings_are_told_all_at_once(calm: Site, verb: str, env: dict[str, str]) -> None:
    """One line for each variable, with its name and a cure, none with its value; exit status 2."""
    child = await calm.stack.run(new_room(f"misconfigured-{verb}"), [verb], env=env)
    assert await child.wait_ended(timeout_s=PATIENCE_S) == 2
    told = [line.text for line in child.lines()]
    assert sorted(line.partition(":")[0] for line in told) == sorted(env)
    assert all("Cure: " in line for line in told)
    assert SECRET not in "".join(told)
