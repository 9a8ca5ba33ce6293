"""`pytest --hyperpush-conformance`: as a user of ours runs it, in a folder of their own."""

from __future__ import annotations

import subprocess
import sys
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from pathlib import Path

from tests.pure_files import ROOT

WELL = f"""
import sys
sys.path.insert(0, {str(ROOT)!r})
from tests.examples.extensions.power_law import PowerLaw

class Lossy(PowerLaw):
    def __call__(self, labels, agents, generator):
        return [rows[1:] for rows in super().__call__(labels, agents, generator)]

def test_of_my_own():
    raise AssertionError("not asked for")

"""


def conformance(folder: Path, module: str, *more: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "pytest", "-p", "no:cacheprovider", "--rootdir", str(folder), *more]
    return subprocess.run(
        [*command, "--hyperpush-conformance", module],
        cwd=folder,
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )


def test_parts_are_checked_in_place_of_tests(tmp_path: Path) -> None:
    (tmp_path / "mine.py").write_text(
        WELL + 'CONFORMANCE = {"partition": [PowerLaw, lambda: PowerLaw("2")]}\n'
    )
    found = conformance(tmp_path, "mine", "-v")
    assert found.returncode == 0, found.stdout + found.stderr
    assert "8 passed" in found.stdout
    assert "PowerLaw: every row goes to exactly one agent PASSED" in found.stdout
    assert "partition 2: equal generators give equal shares PASSED" in found.stdout


def test_what_is_wrong_is_said_in_a_line(tmp_path: Path) -> None:
    (tmp_path / "mine.py").write_text(WELL + 'CONFORMANCE = {"partition": [Lossy]}\n')
    found = conformance(tmp_path, "mine")
    assert found.returncode == 1, found.stdout + found.stderr
    assert "ten classes: rows are lost, or given twice" in found.stdout
    assert "1 failed, 3 passed" in found.stdout or "2 failed, 2 passed" in found.stdout


@pytest.mark.parametrize(
    ("content", "told"),
    [
        (None, "--hyperpush-conformance mine: No module named 'mine'"),
        ("1 / 0\n", "--hyperpush-conformance mine: ZeroDivisionError: division by zero"),
        ('CONFORMANCE = {"partition": print}\n', "CONFORMANCE['partition'] is no list of what makes parts"),
        ("x = 1\n", 'says nothing to check; write CONFORMANCE = {"personalization": [MyPersonalization]}'),
        (
            'CONFORMANCE = {"colour": []}\n',
            "CONFORMANCE has 'colour'; give some of personalization",
        ),
    ],
)
def test_what_cannot_be_checked_is_said(content: str | None, told: str, tmp_path: Path) -> None:
    if content is not None:
        (tmp_path / "mine.py").write_text(content)
    found = conformance(tmp_path, "mine")
    assert found.returncode == 4
    assert told in found.stdout + found.stderr
