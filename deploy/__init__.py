"""Ways to run roompool: on this machine (`deploy.local`), and the hashed locks that fix what is installed."""
