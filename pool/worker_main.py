"""The program of a worker's parent, which `roompool worker` becomes once it has read its options.

A process of its own because a parent lives long and does little: what reads a command line is larger than all it needs.

    python -P pool/worker_main.py PROCESSES OPS_HOST OPS_PORT        PROCESSES 0: one a CPU
"""

import os
import sys
from pathlib import Path
from typing import NoReturn

if __name__ == "__main__" and str(Path(__file__).resolve().parents[1]) not in sys.path:
    sys.path.insert(0, str(Path(__file__).resolve().parents[1]))  # started from a checkout that is not installed

from pool.base.absent_modules import leave_out_rich


def become_worker(*, processes: int | None, ops_host: str, ops_port: int) -> NoReturn:
    """Turn this process into a worker; its pid stays. What is open and not to be inherited is closed."""
    argv = [str(processes or 0), ops_host, str(ops_port)]
    sys.stdout.flush()
    sys.stderr.flush()
    os.execv(sys.executable, [sys.executable, "-P", str(Path(__file__).resolve()), *argv])


def main(argv: list[str]) -> None:
    """Be a worker, and end with its status."""
    processes, ops_host, ops_port = argv
    leave_out_rich()

    from pool.base.entry import launch
    from pool.supervisor import SupervisorOptions, run_supervisor

    options = SupervisorOptions(int(processes) or None, ops_host, int(ops_port))
    launch(lambda: sys.exit(run_supervisor(options)))


if __name__ == "__main__":
    main(sys.argv[1:])
