"""`python -m webhook`: the same as `roompool webhook`."""

from pool.base.entry import launch_verb
from webhook.commands import webhook

if __name__ == "__main__":
    launch_verb(webhook, prog_name="python -m webhook")
