"""`--personalization NAME` of the commands: each one learns, scores and is written down, or is refused."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import pytest

from peer.cli import main
from peer.options.names import PERSONALIZATION_NAMES

if TYPE_CHECKING:
    from pathlib import Path

NUMBERED = {"mixture:K": "mixture:2", "head[:L]": "head", "own:PATTERN": "own:*.bias", "lora:R": "lora:2"}
INCOMPLETE = ("head", "own:*.bias")  # leave no shared model
ON_DIGITS = [NUMBERED.get(name, name) for name in PERSONALIZATION_NAMES if name != "features"]
TICKS = 40


@pytest.mark.parametrize("name", [*ON_DIGITS, "lora:2+logits+sample-weights"])
def test_every_one_learns_digits(name: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Better than chance by far, after 40 ticks; where there is no shared model nothing is said of it."""
    file = tmp_path / "found.json"
    arguments = ["simulate", "--agents", "3", "--ticks", str(TICKS), "--json", str(file)]
    assert main([*arguments, "--personalization", name]) == 0
    found = json.loads(file.read_text("utf-8"))
    assert found["config"]["personalization"] == name
    assert found["ticks"] >= TICKS - 1
    summary = found["summary"]
    assert summary["personal"]["mean"] > 0.6
    assert (summary["shared"]["mean"] is None) is (name in INCOMPLETE)
    out = capsys.readouterr().out
    assert "nan" not in out
    assert ("against shared model" in out) is (name not in INCOMPLETE)


@pytest.mark.parametrize(
    ("name", "told"),
    [
        (
            "features",
            "features needs normalization layers with a learned scale and shift, and Sequential has",
        ),
        (
            "lora:99",
            "lora:99 finds no shared weight of a linear or convolutional layer with both sides above",
        ),
        ("mixture:0", "personalization: 'mixture:0' is not possible; give mixture:K with K from 2 to 64"),
        ("logits+bias", "personalization: 'logits+bias' is not possible; give bias or logits, not both"),
    ],
)
def test_what_digits_do_not_allow_is_one_line(
    name: str, told: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["simulate", "--agents", "3", "--personalization", name]) == 2
    error = capsys.readouterr().err
    assert told in error
    assert error.count("\n") == 1
