"""`roompool worker`: carry calls."""

from typing import Annotated

import typer

from pool.worker_main import become_worker


def worker(
    processes: Annotated[
        int | None,
        typer.Option(help="Carriers, each a process of its own; by default one a CPU, at most 4.", min=1, max=64),
    ] = None,
    ops_host: Annotated[str, typer.Option(help="Where probes and metrics are answered.")] = "127.0.0.1",
    ops_port: Annotated[int, typer.Option(help="Their port; 0 takes a free one.", min=0, max=65535)] = 0,
) -> None:
    """Carry calls: claim rooms that wait for an agent, join them, and talk.

    SIGTERM takes no more rooms. Calls that have not ended after ROOMPOOL_HANDOVER_AFTER_S seconds are handed to other
    workers, and what is left after ROOMPOOL_GRACE_S is ended; a second SIGTERM ends it at once.

    Example: REDIS_URL=redis://127.0.0.1:6379/0 LIVEKIT_URL=ws://127.0.0.1:7880 roompool worker --ops-port 9090
    """
    become_worker(processes=processes, ops_host=ops_host, ops_port=ops_port)
