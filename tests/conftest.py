"""What every test may ask for, and what the run as a whole insists on."""

pytest_plugins = ["tests.skips", "tests.ending", "tests.peers.servers", "tests.peers.stacks", "tests.peers.browsers"]
