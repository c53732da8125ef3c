"""`--no-skips`: what was not run is not green."""

import subprocess
import sys
from pathlib import Path

import pytest

FILE = """
import pytest

@pytest.mark.skip(reason="no time")
def test_left_out():
    pass

@pytest.mark.xfail(strict=False)
def test_known_to_fail():
    assert False
"""


@pytest.mark.parametrize(
    ("options", "exit_code", "summary"),
    [
        ([], 0, "1 skipped, 1 xfailed"),
        (["--no-skips"], 1, "1 xfailed, 1 error"),
        (["--no-skips", "-n", "1"], 1, "1 xfailed, 1 error"),
    ],
    ids=["not asked", "asked", "asked of several processes"],
)
def test_a_skipped_test_fails_the_run_only_when_asked(
    tmp_path: Path, options: list[str], exit_code: int, summary: str
) -> None:
    """The skipped test is named with its reason; an expected failure is no skip."""
    (tmp_path / "test_it.py").write_text(FILE)
    argv = [sys.executable, "-m", "pytest", "-p", "tests.skips", "-p", "no:cacheprovider", "-c", "/dev/null", *options]
    done = subprocess.run([*argv, str(tmp_path)], capture_output=True, text=True, check=False, timeout=60)
    assert done.returncode == exit_code, done.stdout
    assert ("SKIPPED WITHOUT LEAVE" in done.stdout) == bool(exit_code)
    assert summary in done.stdout.splitlines()[-1]
