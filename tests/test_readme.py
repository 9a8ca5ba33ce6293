"""The README's code runs and its commands exist."""

from __future__ import annotations

import asyncio
import re
import shlex
from pathlib import Path
from typing import Any

import pytest

from peer.cli import main
from peer.options import complete, split
from peer.scenario import Kill
from peer.scenario_file import parse_scenario

ROOT = Path(__file__).parents[1]
PAGES = [ROOT / page for page in ("README.md", "deploy/README.md", "peer/tasks/README.md")]


def commands() -> list[str]:
    """All `hyperpush ...` in backticks or indented blocks, without what a shell adds."""
    found = []
    for page in PAGES:
        text = page.read_text(encoding="utf-8")
        found += re.findall(r"`(hyperpush [a-z][^`]*)`", text)
        found += [
            line.split("&&")[-1].strip() for line in re.findall(r"^    (.*hyperpush .*)$", text, re.MULTILINE)
        ]
    return [command for command in found if command.startswith("hyperpush ")]


def toml_files() -> list[str]:
    """What the pages show of them."""
    return re.findall(r"```toml\n(.*?)```", "".join(page.read_text("utf-8") for page in PAGES), re.DOTALL)


@pytest.mark.parametrize("command", commands())
def test_commands_are_accepted(command: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """With the file of the pages where they ask for one."""
    (file,) = (file for file in toml_files() if "[settings]" in file)
    (tmp_path / "agent.toml").write_text(file, encoding="utf-8")
    monkeypatch.chdir(tmp_path)
    words = shlex.split(command, comments=True)[1:]
    words = words[: words.index(">")] if ">" in words else words
    if "--help" in words:
        words.remove("--help")
    assert complete(split(words), {}).command == words[0]


def test_the_scenario_means_something() -> None:
    (file,) = (file for file in toml_files() if "[[event]]" in file)
    scenario = parse_scenario(file, "README.md", [f"agent-{number}" for number in range(4)])
    assert len(scenario.windows) == 4, "a cut, a loss, and two sides of a partition"
    assert scenario.changes == (Kill("agent-3", 120.0),)


def test_there_are_commands_to_check() -> None:
    assert {"hyperpush swarm", "hyperpush simulate", "hyperpush bench exactness"} <= {
        " ".join(command.split()[:3]) if "bench" in command else " ".join(command.split()[:2])
        for command in commands()
    }


def test_the_task_file_is_learned(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    code, *_ = re.findall(r"```python\n(.*?)```", PAGES[2].read_text(encoding="utf-8"), re.DOTALL)
    (tmp_path / "task.py").write_text(code, encoding="utf-8")
    assert main(["simulate", "--task", str(tmp_path / "task.py"), "--agents", "4", "--ticks", "200"]) == 0
    told = re.search(r"shared \+ personal against local only: \+([0-9.]+) points", capsys.readouterr().out)
    assert told is not None
    assert float(told[1]) > 0


def test_the_examples_learn_what_they_say(capsys: pytest.CaptureFixture[str]) -> None:
    """Every agent's hypergradient vanishes, so the regularization has been learned; one in earnest, too."""
    simulated, real = re.findall(r"```python\n(.*?)```", PAGES[0].read_text(encoding="utf-8"), re.DOTALL)
    names: dict[str, Any] = {}
    exec(compile(simulated, "README.md", "exec"), names)  # noqa: S102  (it is our own text)
    for agent in names["result"].agents:
        assert abs(float(agent.hypergradient["log_strength"])) < 1e-2
    exec(compile(real, "README.md", "exec"), names)  # noqa: S102
    found = asyncio.run(names["learn"](names["Ridge"](0)))
    assert found.ticks >= 40
    assert float(found.hyperparameters["log_strength"]) != 0.0
    assert "AgentView(id=" in capsys.readouterr().out


def test_what_docstrings_say_of_the_design_is_there() -> None:
    """Equations by number, paragraphs by name, sections by number."""
    design = (ROOT / "peer" / "DESIGN.md").read_text(encoding="utf-8")
    known = set(re.findall(r"^    (\(\d\))  ", design, re.MULTILINE))
    known |= {f"({name})" for name in re.findall(r"\*\*([A-Z][a-z -]+)\.\*\*", design)}
    known |= {f"section {number}" for number in re.findall(r"^## (\d)\.", design, re.MULTILINE)}
    wanted = set()
    for folder in ("peer", "wire", "tests"):
        for path in (ROOT / folder).rglob("*.py"):
            text = re.sub(r"\s+", " ", path.read_text(encoding="utf-8"))
            for names in re.findall(r"DESIGN \(([^()]+)\)", text):
                wanted |= {f"({name})" for name in names.split(", ")}
            wanted |= {f"section {number}" for number in re.findall(r"DESIGN,? (?:section )?(\d)", text)}
    assert len(wanted) > 15
    assert wanted <= known
