"""`roompool worker`: carry calls."""

from typing import Annotated

import typer


def worker(
    ops_host: Annotated[str, typer.Option(help="Where probes and metrics are answered.")] = "127.0.0.1",
    ops_port: Annotated[int, typer.Option(help="Their port; 0 takes a free one.", min=0, max=65535)] = 0,
) -> None:
    """Carry calls: claim rooms that wait for an agent, join them, and talk.

    SIGTERM takes no more rooms and lets calls end by themselves for ROOMPOOL_GRACE_S seconds; a second one ends them.

    Example: REDIS_URL=redis://127.0.0.1:6379/0 LIVEKIT_URL=ws://127.0.0.1:7880 roompool worker --ops-port 9090
    """
    # Brings the native library: half a second that `--help` and wrong settings should not wait for.
    from pool.base.settings import load
    from pool.settings import PoolSettings

    settings = load(PoolSettings)

    from pool.worker import WorkerOptions, run_worker

    run_worker(settings, WorkerOptions(ops_host=ops_host, ops_port=ops_port))
