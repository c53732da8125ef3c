"""The series of a whole worker: those of its carriers merged, living and dead, and the parent's own.

A carrier writes its series into files of a folder that the parent made (prometheus-client's multiprocess mode); what
is counted outlives the carrier, what is measured ends with it.
"""

import contextlib
import fcntl
import os
import shutil
import struct
import tempfile
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

import structlog
from prometheus_client import CollectorRegistry, Counter, Gauge, Metric
from prometheus_client.mmap_dict import MmapedDict
from prometheus_client.multiprocess import MultiProcessCollector
from prometheus_client.registry import Collector

from pool.base.errors import SettingsInvalid
from pool.series_files import FIRST_BYTES, reserve

log = structlog.get_logger()

_OF_THE_DEAD = "dead"
_PREFIX = "roompool-series-"
_UNLOCKED_PREFIX = "roompool-unlocked-"
_LOCK = "lock"
_UNTYPED: Any = MultiProcessCollector  # neither this nor its files are typed
_FILE: Any = MmapedDict


class CarrierSeries(Collector):
    """What the carriers of one worker have written into a folder."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    def collect(self) -> Iterable[Metric]:
        files = [str(file) for file in self._folder.glob("*.db") if file.stat().st_size]  # empty: just being made
        merged: Iterable[Metric] = _UNTYPED.merge(files)
        return merged

    def mark_dead(self, pid: int) -> None:
        """Forget what a dead carrier measured, and add what it counted to the counts of those before it.

        So the folder does not grow with every restart, and a pid may be used again.
        """
        for file in self._folder.glob(f"*_{pid}.db"):
            kind = file.name.partition("_")[0]
            try:
                if kind in ("counter", "histogram"):
                    _add(file, self._folder / f"{kind}_{_OF_THE_DEAD}.db")
                file.unlink()
            except (OSError, ValueError, RuntimeError, struct.error) as error:  # counts are not worth a worker
                log.warning("series_lost", file=file.name, error=type(error).__name__)


class ParentSeries:
    """What the parent itself measures and counts."""

    def __init__(self, registry: CollectorRegistry) -> None:
        self.carriers = Gauge(
            "roompool_carriers", "Carriers of this worker, by how they are.", ["state"], registry=registry
        )
        self.resident_bytes = Gauge(
            "roompool_carriers_resident_bytes", "Memory that the carriers occupy, shared pages counted in each.",
            registry=registry,
        )  # fmt: skip
        self.restarts = Counter(
            "roompool_carrier_restarts_total", "Carriers started again after they died.", registry=registry
        )
        self.recycles = Counter(
            "roompool_carrier_recycles_total", "Idle carriers replaced by fresh ones.", registry=registry
        )
        self.panics = Counter("roompool_sdk_panics_total", "Carriers ended by LiveKit's SDK.", registry=registry)
        self.reaps = Counter(
            "roompool_reaps_total", "Dead carriers whose rooms were freed at once, or were not, by how it went.",
            ["outcome"], registry=registry,
        )  # fmt: skip


@contextlib.contextmanager
def series_folder() -> Iterator[Path]:
    """A folder for the carriers' series, which is removed with all that is in it, at the latest by another worker.

    Raises:
        SettingsInvalid: there is no place for temporary files.
    """
    try:
        place = Path(tempfile.gettempdir())
        _remove_left_over(place)
        made = Path(tempfile.mkdtemp(prefix=_UNLOCKED_PREFIX, dir=place))
        lock = (made / _LOCK).open("w")
        fcntl.flock(lock, fcntl.LOCK_EX)
        folder = made.rename(place / made.name.replace(_UNLOCKED_PREFIX, _PREFIX))
    except OSError as error:
        raise SettingsInvalid(
            [f"no temporary folder to be had: {error.strerror}. Cure: set TMPDIR to one that can be written."]
        ) from error
    with lock:
        try:
            yield folder
        finally:
            shutil.rmtree(folder, ignore_errors=True)
            _remove_left_over(place)


def _remove_left_over(place: Path) -> None:
    """Remove the folders of parents that were killed: those whose lock nobody holds any more."""
    for folder in place.glob(f"{_PREFIX}*"):
        with contextlib.suppress(OSError):
            if folder.lstat().st_uid != os.getuid():
                continue
            with (folder / _LOCK).open("r+") as lock:
                fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
                shutil.rmtree(folder)


def _used(file: Path) -> int:
    """How many bytes of a file hold series, by its own word and no more than there are; 0 without the file."""
    try:
        with file.open("rb") as raw:
            used: int = struct.unpack("i", raw.read(4))[0]
        return min(used, file.stat().st_size)
    except FileNotFoundError:
        return 0


def _add(file: Path, to: Path) -> None:
    reserve(to, max(FIRST_BYTES, _used(to) + _used(file)))
    total = _FILE(str(to))
    try:
        for key, value, _, _ in _FILE.read_all_values_from_file(str(file)):
            total.write_value(key, total.read_value(key)[0] + value, 0.0)
    finally:
        total.close()
