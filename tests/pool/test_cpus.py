"""How many carriers a worker has when nobody says."""

from pathlib import Path

import pytest

from pool import cpus


@pytest.mark.parametrize(
    ("affinity", "quota", "carriers"),
    [
        (1, None, 1),
        (2, None, 2),
        (64, None, 4),
        (64, 2.0, 2),
        (64, 2.9, 2),
        (64, 0.25, 1),
        (2, 8.0, 2),
        (64, 100.0, 4),
    ],
)
def test_one_for_each_whole_cpu(affinity: int, quota: float | None, carriers: int) -> None:
    """Of those the scheduler and the control group grant; one at least, four at most."""
    assert cpus.default_carriers(affinity=affinity, quota=quota) == carriers


@pytest.mark.parametrize(
    ("text", "quota"),
    [("200000 100000\n", 2.0), ("50000 100000", 0.5), ("max 100000\n", None), ("", None), ("1 0", None), ("x y", None)],
)
def test_the_quota_of_version_2(text: str, quota: float | None) -> None:
    """Time and period, or no limit; nonsense is no limit."""
    assert cpus.quota_v2(text) == quota


@pytest.mark.parametrize(
    ("quota_us", "period_us", "quota"),
    [("150000\n", "100000\n", 1.5), ("-1\n", "100000\n", None), ("", "", None)],
)
def test_the_quota_of_version_1(quota_us: str, period_us: str, quota: float | None) -> None:
    """-1 is no limit."""
    assert cpus.quota_v1(quota_us, period_us) == quota


def write(root: Path, **files: str) -> None:
    for name, text in files.items():
        path = root / name.replace("__", "/").replace("_dot_", ".")
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)


def test_the_smallest_of_all_groups_above_counts(tmp_path: Path) -> None:
    """A pod's limit may stand on the group of the pod or on that of the container."""
    write(tmp_path, pod__cpu_dot_max="300000 100000", pod__box__cpu_dot_max="max 100000")
    (tmp_path / "own").write_text("0::/pod/box\n")
    assert cpus.quota(cgroups=tmp_path, own=tmp_path / "own") == 3.0


def test_inside_a_container_the_own_group_is_the_root(tmp_path: Path) -> None:
    """Whose name is `/`, or one of the host that is not to be found here."""
    write(tmp_path, cpu_dot_max="150000 100000")
    for path in ("/", "/kubepods/burstable/pod-1/2"):
        (tmp_path / "own").write_text(f"0::{path}\n")
        assert cpus.quota(cgroups=tmp_path, own=tmp_path / "own") == 1.5


@pytest.mark.parametrize("folder", ["cpu", "cpu,cpuacct"])
def test_version_1_has_a_tree_of_its_own(tmp_path: Path, folder: str) -> None:
    """Under either of its names."""
    box = tmp_path / folder / "box"
    box.mkdir(parents=True)
    (box / "cpu.cfs_quota_us").write_text("200000\n")
    (box / "cpu.cfs_period_us").write_text("100000\n")
    (tmp_path / "own").write_text("5:memory:/box\n4:cpu,cpuacct:/box\n")
    assert cpus.quota(cgroups=tmp_path, own=tmp_path / "own") == 2.0


def test_where_nobody_limits_there_is_no_quota(tmp_path: Path) -> None:
    """No control groups at all, or none with a limit."""
    assert cpus.quota(cgroups=tmp_path, own=tmp_path / "own") is None
    (tmp_path / "own").write_text("0::/../odd\nnonsense\n")
    assert cpus.quota(cgroups=tmp_path, own=tmp_path / "own") is None


def test_this_machine_answers() -> None:
    """With what it has."""
    assert cpus.affinity() >= 1
    assert cpus.quota() is None or cpus.quota() > 0  # type: ignore[operator]
