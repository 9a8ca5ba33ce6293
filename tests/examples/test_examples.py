"""The examples are in order and are learned, at the size at which they are."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest

from peer.cli import main
from tests.data_files import FASHION_MNIST, write_set

HERE = Path(__file__).parent
NEEDED = {"transformer_adapters": ("transformers", "peft")}
EXAMPLES = sorted(path.stem for path in HERE.glob("*.py") if "def problem(" in path.read_text("utf-8"))


@pytest.fixture(autouse=True)
def clothes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Where Fashion-MNIST is not, something like it."""
    if not FASHION_MNIST.is_dir():
        write_set(tmp_path / "clothes", side=28, zipped=True)
        monkeypatch.setenv("FASHION_MNIST", str(tmp_path / "clothes"))


def personalization_of(name: str) -> list[str]:
    """As its first lines say that it is run."""
    found = re.search(r"--personalization '([^']+)'", (HERE / f"{name}.py").read_text("utf-8"))
    return ["--personalization", found[1]] if found else []


@pytest.mark.parametrize("name", [name for name in EXAMPLES if name != "test_examples"])
@pytest.mark.filterwarnings("ignore::FutureWarning", "ignore::DeprecationWarning")
def test_an_example_is_in_order_and_is_learned(
    name: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    for package in NEEDED.get(name, ()):
        pytest.importorskip(package)
    path, chosen, found = str(HERE / f"{name}.py"), personalization_of(name), tmp_path / "found.json"
    assert main(["check", path, "--agents", "4", "--seconds", "0.05", *chosen]) == 0
    assert capsys.readouterr().out.rstrip().endswith("nothing is wrong")
    command = ["simulate", "--task", path, "--agents", "3", "--ticks", "12", "--json", str(found), *chosen]
    assert main(command) == 0
    assert len(json.loads(found.read_text())["agents"]) == 3
