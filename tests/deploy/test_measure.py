"""`deploy/measure.py`, with a small swarm."""

from __future__ import annotations

import importlib.util
import re
import sys
from typing import Any

import pytest

from tests.deploy.pages import DEPLOY


def measure() -> Any:
    spec = importlib.util.spec_from_file_location("measure", DEPLOY / "measure.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.mark.skipif(sys.platform != "linux", reason="reads /proc")
@pytest.mark.slow
def test_it_tells_memory_and_time_of_an_agent_that_learns_with_another(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    module = measure()
    monkeypatch.setattr(module, "AGENTS", 2)
    monkeypatch.setenv("HYPERPUSH_DROP", "nonsense")  # of the caller's shell: it must not matter
    assert module.main(["synthetic", "--seconds", "1", "--tick-ms", "10"]) == 0
    heading, row = capsys.readouterr().out.splitlines()
    assert heading.split()[0] == "task"
    found = re.fullmatch(r"synthetic +(\d+) MiB +(\d+) MiB +([\d.]+) ms +([\d.]+) +(\d+) kB", row)
    assert found is not None, row
    resident, peak, tick_ms, rate, sent = (float(value) for value in found.groups())
    assert 50 < resident <= peak < 2000
    assert 0 < tick_ms < 1000
    assert rate > 0
    assert sent > 0


def test_it_says_why_an_agent_does_not_start(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit, match=r"--tick-ms: '0' is not possible"):
        measure().main(["synthetic", "--tick-ms", "0"])
