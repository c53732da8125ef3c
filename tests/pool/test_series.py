"""The series of a worker: what carriers wrote into files, living and dead."""

import os
import resource
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from pool.series import CarrierSeries, series_folder
from pool.series_files import KINDS, reserve_for_this_process

CARRIER = """
import os
from prometheus_client import Counter, Gauge, Histogram
Gauge("in_use", "calls", multiprocess_mode="livesum").set(2)
Counter("calls", "calls", ["ending"]).labels("caller_left").inc(3)
Histogram("seconds", "s", buckets=(1.0, 2.0)).observe(1.5)
print(os.getpid())
"""


def carried(folder: Path) -> int:
    """A process that measures and counts something; its pid."""
    env = {**os.environ, "PROMETHEUS_MULTIPROC_DIR": str(folder)}
    argv = [sys.executable, "-c", CARRIER]
    return int(subprocess.run(argv, env=env, capture_output=True, text=True, check=True, timeout=60).stdout)


def values(folder: Path) -> dict[str, float]:
    """All series: name and the values of its labels, to value."""
    return {
        ",".join([sample.name, *sample.labels.values()]): sample.value
        for metric in CarrierSeries(folder).collect()
        for sample in metric.samples
    }


def test_living_carriers_add_up(tmp_path: Path) -> None:
    """What is measured, counted and distributed."""
    carried(tmp_path)
    carried(tmp_path)
    told = values(tmp_path)
    assert (told["in_use"], told["calls_total,caller_left"], told["seconds_count"], told["seconds_sum"]) == (4, 6, 2, 3)
    assert (told["seconds_bucket,1.0"], told["seconds_bucket,2.0"], told["seconds_bucket,+Inf"]) == (0, 2, 2)


def test_the_dead_still_count_but_measure_nothing(tmp_path: Path) -> None:
    """However many died: their files become one of each kind."""
    for _ in range(3):
        CarrierSeries(tmp_path).mark_dead(carried(tmp_path))
    assert sorted(file.name for file in tmp_path.glob("*.db")) == ["counter_dead.db", "histogram_dead.db"]
    carried(tmp_path)
    told = values(tmp_path)
    assert (told["in_use"], told["calls_total,caller_left"], told["seconds_bucket,2.0"]) == (2, 12, 4)


def test_a_file_that_is_just_being_made_is_left_alone(tmp_path: Path) -> None:
    """A scrape may come at any moment."""
    (tmp_path / "counter_1.db").touch()
    assert values(tmp_path) == {}


def test_a_broken_file_costs_its_counts_alone(tmp_path: Path) -> None:
    """A carrier may be killed in the middle of a write."""
    (tmp_path / "counter_7.db").write_bytes(b"\xff" * 64)
    CarrierSeries(tmp_path).mark_dead(7)
    pid = carried(tmp_path)
    CarrierSeries(tmp_path).mark_dead(pid)
    assert values(tmp_path)["calls_total,caller_left"] == 3


def test_the_folder_goes_with_its_worker(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """And a worker that begins or ends removes those of others which were killed, but none that is in use."""
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    left_over = tmp_path / "roompool-series-killed"
    left_over.mkdir()
    (left_over / "lock").touch()
    with series_folder() as used:
        with series_folder() as also_used:
            assert sorted(tmp_path.iterdir()) == sorted([used, also_used])
            left_over.mkdir()
            (left_over / "lock").touch()
        assert list(tmp_path.iterdir()) == [used]
    assert list(tmp_path.iterdir()) == []


def test_place_is_taken_before_anything_is_written(tmp_path: Path) -> None:
    """A store into a mapped page that a full disk has no place for would end a carrier, or the parent and all of its
    carriers, by SIGBUS."""
    code = f"from pool.series_files import reserve_for_this_process as reserve\nassert reserve()\n{CARRIER}"
    env = {**os.environ, "PROMETHEUS_MULTIPROC_DIR": str(tmp_path)}
    done = subprocess.run([sys.executable, "-c", code], env=env, capture_output=True, text=True, check=True, timeout=60)
    assert [file.name for file in tmp_path.iterdir() if is_sparse(file)] == []
    CarrierSeries(tmp_path).mark_dead(int(done.stdout))
    assert [file.name for file in tmp_path.iterdir()] != []
    assert [file.name for file in tmp_path.iterdir() if is_sparse(file)] == []
    assert values(tmp_path)["calls_total,caller_left"] == 3


def test_a_full_disk_costs_the_series_alone(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Of a carrier that starts, and of one that died; what was counted before stays."""
    CarrierSeries(tmp_path).mark_dead(carried(tmp_path))
    pid = carried(tmp_path)
    (tmp_path / "counter_dead.db").write_bytes((tmp_path / "counter_dead.db").read_bytes()[:4096])
    before = values(tmp_path)["calls_total,caller_left"]
    monkeypatch.setattr("pool.series_files.FIRST_BYTES", 1 << 20)
    monkeypatch.setattr("pool.series.FIRST_BYTES", 1 << 20)
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    ignored = signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    resource.setrlimit(resource.RLIMIT_FSIZE, (100_000, limits[1]))  # as a full disk: what does not fit is an error
    try:
        CarrierSeries(tmp_path).mark_dead(pid)
        environ = {"PROMETHEUS_MULTIPROC_DIR": str(tmp_path)}
        assert not reserve_for_this_process(environ)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
        signal.signal(signal.SIGXFSZ, ignored)
    assert environ == {}
    assert list(tmp_path.glob(f"*_{os.getpid()}.db")) == []
    assert (tmp_path / "counter_dead.db").stat().st_size == 4096
    assert values(tmp_path)["calls_total,caller_left"] == before == 6


def test_each_kind_of_series_has_its_place() -> None:
    """A carrier writes into no file that `KINDS` does not name."""
    code = """
import os, pathlib, sys
import bridge, pool.metrics, pool.carrier_run
names = sorted(file.name.rpartition("_")[0] for file in pathlib.Path(os.environ["PROMETHEUS_MULTIPROC_DIR"]).iterdir())
print(*names)
"""
    with series_folder() as folder:
        env = {**os.environ, "PROMETHEUS_MULTIPROC_DIR": str(folder)}
        (folder / "lock").unlink()
        done = subprocess.run([sys.executable, "-c", code], env=env, capture_output=True, text=True, timeout=60)
    assert done.stdout.split() == sorted(KINDS), done.stderr


def is_sparse(file: Path) -> bool:
    """Whether a part of it has no place on the disk."""
    facts = file.stat()
    return facts.st_blocks * 512 < facts.st_size
