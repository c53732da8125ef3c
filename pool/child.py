"""One carrier as its parent has it: a process, and both ends of the pipes that the parent holds."""

import asyncio
import contextlib
import errno
import os
import signal
import sys
import time
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Self

from pool.carrier_protocol import (
    MAX_LINE_BYTES,
    CarrierArgs,
    Order,
    ParentSettings,
    Refusal,
    Report,
    decode,
    write_or_drop,
)

PROGRAM = Path(__file__).with_name("carrier_main.py")

LAST_WORDS_S = 0.2
"""For reports that a dead carrier has left in its pipe; they are there or they never come."""


@dataclass(slots=True)
class Child:
    """A carrier that was started.

    Attributes:
        slot: Its place among the carriers of the worker, kept by its successors.
        started_at, reported_at: By the loop's clock; the latter None while it has said nothing.
        retiring_at: When it was last asked to make place.
        stuck_looks: How often in a row it was found to stand still.
        is_introduced: Its settings were taken note of.
    """

    id: str
    slot: int
    started_at: float
    process: asyncio.subprocess.Process
    orders_fd: int
    reports_fd: int
    settings: ParentSettings | None = None
    refusal: Refusal | None = None
    report: Report | None = None
    reported_at: float | None = None
    retiring_at: float | None = None
    stuck_looks: int = 0
    is_introduced: bool = False

    @classmethod
    async def start(cls, args: CarrierArgs, slot: int, *, env: Mapping[str, str]) -> Self:
        """Start it as a fresh process, never as a fork of one that has loaded anything.

        Only from the main thread: the kernel ends a carrier with the *thread* that started it.

        Raises:
            OSError: there is no process, pipe or thread to be had.
        """
        with contextlib.ExitStack() as theirs, contextlib.ExitStack() as ours:
            orders, orders_fd = os.pipe()
            theirs.callback(os.close, orders)
            ours.callback(os.close, orders_fd)
            reports_fd, reports = os.pipe()
            theirs.callback(os.close, reports)
            ours.callback(os.close, reports_fd)
            os.set_blocking(orders_fd, False)
            args = replace(args, orders_fd=orders, reports_fd=reports)
            try:
                process = await asyncio.create_subprocess_exec(
                    *(sys.executable, "-P", str(PROGRAM), *args.argv),
                    stdin=asyncio.subprocess.DEVNULL,
                    env=env,
                    pass_fds=(orders, reports),
                )
            except RuntimeError as error:  # no thread is left to wait for it in; it leaves, as its orders end here
                raise BlockingIOError(errno.EAGAIN, str(error)) from error
            ours.pop_all()
        return cls(args.carrier, slot, asyncio.get_running_loop().time(), process, orders_fd, reports_fd)

    @property
    def pid(self) -> int:
        return self.process.pid

    @property
    def is_running(self) -> bool:
        return self.process.returncode is None

    @property
    def is_ready(self) -> bool:
        """Whether it said so last."""
        return self.report is not None and self.report.is_ready

    def order(self, order: Order) -> bool:
        """Tell it. False: it is gone, or has not read for long."""
        return self.is_running and write_or_drop(self.orders_fd, f"{order.value}\n".encode())

    def kill(self) -> None:
        """End it at once."""
        if self.is_running:
            with contextlib.suppress(ProcessLookupError):
                os.kill(self.pid, signal.SIGKILL)

    async def read(self, heard: asyncio.Event) -> None:
        """Task: keep what it says; `heard` is set after each message. Ends with the pipe."""
        stream = asyncio.StreamReader(limit=MAX_LINE_BYTES)
        loop = asyncio.get_running_loop()
        pipe = os.fdopen(self.reports_fd, "rb", buffering=0)
        transport, _ = await loop.connect_read_pipe(lambda: asyncio.StreamReaderProtocol(stream), pipe)
        try:
            while line := await stream.readline():
                self._hear(line)
                heard.set()
        finally:
            transport.close()

    async def ended(self) -> int:
        """Wait until the process is gone; its status, minus the signal's number when one ended it."""
        status = await self.process.wait()
        os.close(self.orders_fd)
        return status

    def _hear(self, line: bytes) -> None:
        match decode(line):
            case ParentSettings() as settings:
                self.settings = settings
            case Refusal() as refusal:
                self.refusal = refusal
            case Report() as report:
                self.report = report
                self.reported_at = asyncio.get_running_loop().time()
            case None:
                pass  # cut off by its death


def environment_of_carriers(metrics_dir: Path) -> dict[str, str]:
    """Ours, and where a carrier leaves its series for the parent to merge."""
    return {**os.environ, "PROMETHEUS_MULTIPROC_DIR": str(metrics_dir)}


def unix_ms() -> int:
    """Now, as it is stored."""
    return int(time.time() * 1000)
