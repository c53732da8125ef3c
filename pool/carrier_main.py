"""The program of one carrier, as its parent starts it. Nothing but the standard library is loaded before it is held to
its parent and its signals are blocked: every thread that a library starts later must inherit that.

    python -P pool/carrier_main.py ID WORKER WORKER_STARTED_UNIX_MS PARENT_PID ORDERS_FD REPORTS_FD
"""

import ctypes
import os
import signal
import sys
import threading
from pathlib import Path
from typing import NoReturn

if __name__ == "__main__" and str(Path(__file__).resolve().parents[1]) not in sys.path:
    sys.path.insert(0, str(Path(__file__).resolve().parents[1]))  # started from a checkout that is not installed

from pool.base.absent_modules import leave_out_rich
from pool.carrier_protocol import (
    EXIT_PANIC,
    EXIT_PARENT_GONE,
    EXIT_SETTINGS,
    CarrierArgs,
    Order,
    Orders,
    Refusal,
    encode,
    write_or_drop,
)
from pool.series_files import reserve_for_this_process

SERIES_CURE = "make room in TMPDIR, where /metrics gathers them; calls go on without"

_PR_SET_PDEATHSIG = 1  # <sys/prctl.h>


def main(argv: list[str]) -> NoReturn:
    """Live as one carrier; the process ends in here."""
    args = CarrierArgs.parse(argv)
    hold_to(args.parent_pid)
    orders = Orders()
    hear_signals(orders)
    hear_parent(args.orders_fd, orders)
    os.set_blocking(args.reports_fd, False)
    leave_out_rich()
    has_series = reserve_for_this_process()  # before anything loads prometheus-client

    from pool.base import logs
    from pool.base.environment import environment
    from pool.base.errors import SettingsInvalid

    try:
        logs.configure(variables=environment())

        from pool.base.settings import load
        from pool.settings import PoolSettings

        settings = load(PoolSettings)
    except SettingsInvalid as error:
        write_or_drop(args.reports_fd, encode(Refusal(error.problems)))
        os._exit(EXIT_SETTINGS)

    if not has_series:
        import structlog

        structlog.get_logger().warning("series_left_out", carrier=args.carrier, cure=SERIES_CURE)

    from pool.carrier_run import run_carrier

    run_carrier(settings, args, orders)


def hold_to(parent_pid: int) -> None:
    """End with the parent, however it ends. Elsewhere than on Linux the closed pipe of orders does it."""
    if sys.platform == "linux":
        libc = ctypes.CDLL(None, use_errno=True)
        if libc.prctl(_PR_SET_PDEATHSIG, int(signal.SIGKILL), 0, 0, 0) != 0:
            raise OSError(ctypes.get_errno(), "prctl(PR_SET_PDEATHSIG) was refused")
    if os.getppid() != parent_pid:  # it ended between the fork and the line above: no signal will ever come
        os._exit(EXIT_PARENT_GONE)


def hear_signals(orders: Orders) -> None:
    """Take SIGTERM in a thread of its own, where its sender can be seen; be deaf to SIGINT.

    A terminal sends Ctrl-C to parent and carriers alike, and the parent passes it on as an order. A SIGTERM that comes
    from this very process is how LiveKit's SDK ends a process whose native part has panicked: whatever is left of
    that would hang, so there is nothing to wait for. Every other SIGTERM drains this carrier.
    """
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGTERM})

    def hear() -> None:
        while True:
            if _sender_of_term() == os.getpid():
                os._exit(EXIT_PANIC)  # the parent says so in the log
            orders.put(Order.DRAIN)

    threading.Thread(target=hear, name="signals", daemon=True).start()


def hear_parent(orders_fd: int, orders: Orders) -> None:
    """Take the parent's orders in a thread of its own: it notices the parent's end also when the loop stands still."""

    def hear() -> None:
        with os.fdopen(orders_fd, "rb") as lines:
            for line in lines:
                orders.put(Order(line.strip().decode()))
        os._exit(EXIT_PARENT_GONE)

    threading.Thread(target=hear, name="orders", daemon=True).start()


def _sender_of_term() -> int:
    """Wait for SIGTERM; the pid of whoever sent it, 0 where that cannot be known."""
    if sys.platform == "darwin":
        signal.sigwait({signal.SIGTERM})
        return 0
    return signal.sigwaitinfo({signal.SIGTERM}).si_pid


if __name__ == "__main__":
    main(sys.argv[1:])
