"""The series of a worker: what carriers wrote into files, living and dead."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from pool.series import CarrierSeries, series_folder

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
        CarrierSeries(tmp_path).bury(carried(tmp_path))
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
    CarrierSeries(tmp_path).bury(7)
    pid = carried(tmp_path)
    CarrierSeries(tmp_path).bury(pid)
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
