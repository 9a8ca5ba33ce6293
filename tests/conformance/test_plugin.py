"""`pytest --hyperpush-conformance`: as a user of ours runs it, in a folder of their own."""

from __future__ import annotations

import os
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
        env={**os.environ, "COLUMNS": "240"},
        timeout=120,
        check=False,
    )


def test_parts_are_checked_in_place_of_tests(tmp_path: Path) -> None:
    (tmp_path / "mine.py").write_text(
        WELL + 'CONFORMANCE = {"partition": [PowerLaw, lambda: PowerLaw("2")]}\n'
    )
    found = conformance(tmp_path, "mine", "-v")
    assert found.returncode == 0, found.stdout + found.stderr
    assert "12 passed" in found.stdout
    assert "PowerLaw: every row goes to exactly one agent PASSED" in found.stdout
    assert "partition 2: equal generators give equal shares PASSED" in found.stdout
    assert "Warning" not in found.stdout + found.stderr


def test_what_is_wrong_is_said_in_a_line(tmp_path: Path) -> None:
    (tmp_path / "mine.py").write_text(WELL + 'CONFORMANCE = {"partition": [Lossy]}\n')
    found = conformance(tmp_path, "mine")
    assert found.returncode == 1, found.stdout + found.stderr
    assert "ten classes: rows are lost, or given twice" in found.stdout
    assert "2 failed, 4 passed" in found.stdout
    assert "one agent - ten classes: rows are lost, or given twice" in found.stdout, "and in the summary"


def test_of_what_is_not_there_one_failure_tells(tmp_path: Path) -> None:
    """In its first line; the other checks are skipped for that reason."""
    (tmp_path / "mine.py").write_text(
        "class NoHyper:\n"
        "    standing = False\n"
        "    def __init__(self, *, step_size, momentum): pass\n"
        "    def init(self, products): return products.models\n"
        "    def update(self, state, products, network): return state\n"
        'CONFORMANCE = {"estimator": [NoHyper]}\n'
    )
    found = conformance(tmp_path, "mine", "-rfs")
    told = "NoHyper has no hypergradients; see peer.estimators.base.HypergradientEstimator"
    failed = [line for line in found.stdout.splitlines() if line.startswith("FAILED")]
    assert failed == [f"FAILED mine.py::NoHyper: it has what is asked for - {told}"], found.stdout
    assert [told in line for line in found.stdout.splitlines() if line.startswith("SKIPPED")] == [True]
    assert "1 failed, 7 skipped" in found.stdout
    assert len(found.stdout.splitlines()) < 20, "no insides of pytest"


MINE = """
class Mine:
    standing = False
    def __init__(self, *, step_size, momentum, text=""): pass
    def init(self, products): return {}
    def update(self, state, products, network): return {}
    def hypergradients(self, state, products): return {}
CONFORMANCE = {{"estimator": [Mine]}}
"""


@pytest.mark.parametrize(
    ("returned", "told", "place"),
    [
        (
            ("products.models[0]", "state", "products.hypergradients(state)"),
            "with the state that init gave, adjoints have the shape (20,), wanted (4, 20)",
            "at mine.py:7, in hypergradients",
        ),
        (
            ("products.models", "state.no_such_thing", "products.hypergradients(state)"),
            "AttributeError: 'Tensor' object has no attribute 'no_such_thing'",
            "at mine.py:6, in update",
        ),
        (
            ("products.models", "state", "state"),
            "hypergradients gave one Tensor of shape (4, 20) after init, wanted a tuple",
            None,
        ),
    ],
)
def test_whatever_is_raised_is_said_in_a_line_with_its_place(
    returned: tuple[str, ...], told: str, place: str | None, tmp_path: Path
) -> None:
    (tmp_path / "mine.py").write_text(MINE.format(*returned))
    found = conformance(tmp_path, "mine", "-rf")
    assert "1 failed, 1 passed, 6 skipped" in found.stdout or "1 failed, 7 skipped" in found.stdout
    failed = [line for line in found.stdout.splitlines() if line.startswith("FAILED")]
    assert len(failed) == 1
    assert told in failed[0]
    assert place is None or f"  {place}" in found.stdout.splitlines()
    assert len(found.stdout.splitlines()) < 20, "no insides of pytest"
    if "no_such_thing" in told:
        whole = conformance(tmp_path, "mine", "--tb=native").stdout
        assert "Traceback (most recent call last)" in whole, "who wants all has it"


@pytest.mark.parametrize(
    ("content", "told"),
    [
        (None, "--hyperpush-conformance mine: No module named 'mine'"),
        ("1 / 0\n", "--hyperpush-conformance mine: ZeroDivisionError: division by zero"),
        ('CONFORMANCE = {"partition": print}\n', "CONFORMANCE['partition'] is no list of what makes parts"),
        ("x = 1\n", 'says nothing to check; write CONFORMANCE = {"personalization": [MyPersonalization]}'),
        (
            'CONFORMANCE = {"optimizer": [], "hyper_optimizer": print}\n',
            "CONFORMANCE['hyper_optimizer'] is no",
        ),
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
