"""What every test may ask for, and what the run as a whole insists on."""

from hypothesis import HealthCheck, settings

# A busy machine makes the generation of examples slow, and no test of ours is about speed.
settings.register_profile("roompool", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("roompool")

pytest_plugins = [
    "tests.skips",
    "tests.ending",
    "tests.peers.servers",
    "tests.peers.redis_server",
    "tests.peers.stacks",
    "tests.peers.browsers",
]
