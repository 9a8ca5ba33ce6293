"""Every block of code in the documentation is executed, read by what reads it, or listed with a reason."""

from __future__ import annotations

import asyncio
import contextlib
import importlib.util
import io
import json
import os
import re
import shlex
import shutil
import subprocess
import sys
import tomllib
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
import torch

from peer.cli import main
from peer.conformance import checks
from peer.estimators import learn_in_rounds
from peer.extensions import POINTS, register
from peer.options import complete, split
from peer.scenario import Kill
from peer.scenario_file import parse_scenario
from tests.doc_pages import PAGES, ROOT, Block, anchors, blocks, commands, indented_lines, text_of
from tests.examples.extensions.bursts import Bursts

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

FLOWER = ("deploy/coming-from.md", "from flwr.app import")

PICTURE = "a picture"
LONG = "printed by a command that takes minutes or starts real agents; the command itself is read"
PRINTED = "printed by an agent; tests/runtime/ and tests/unit/ look at such lines"
SERVED = "needs an agent that listens; tests/runtime/ asks one the same"
SHELL = "commands for Docker, Kubernetes or root: bash parses them, tests/deploy/ reads their options"

NOT_EXECUTED = {  # page, how the block begins: why
    ("README.md", "its data never leaves"): PICTURE,
    ("README.md", "8 agents, digits, 20%"): LONG,
    ("README.md", "38.0 s  memory limit reached"): LONG,
    ("README.md", "steps: model 0.457"): PRINTED,
    ("README.md", "agent-3, incarnation 0, digits"): LONG,
    ("README.md", "┏━━━━━━━━━━━┳"): LONG,
    ("deploy/README.md", "curl -H 'Content-Type: application/json'"): SERVED,
    ("deploy/README.md", "goes on from the checkpoint of"): PRINTED,
    ("peer/tasks/README.md", "ok       every parameter gets"): LONG,
    ("deploy/compose/README.md", "docker compose --file"): SHELL,
    ("deploy/container/README.md", "docker build --file"): SHELL,
    ("deploy/container/README.md", "docker run --rm hyperpush:0.1.0 keys"): SHELL,
    ("deploy/container/README.md", "docker buildx build"): SHELL,
    ("deploy/edge.md", "python3 -m venv hyperpush"): SHELL,
    ("deploy/kubernetes/README.md", "kubectl apply --kustomize"): SHELL,
    ("deploy/kubernetes/README.md", "{ printf 'apiVersion:"): SHELL,
    ("deploy/systemd/README.md", "sudo python3 -m venv"): SHELL,
    ("peer/extensions/README.md", "FAILED my_package"): PRINTED,
}
NOT_HYPERPUSH = {  # indented lines that are no command of ours: why they are not executed
    "pip install . && hyperpush swarm": "installs packages",
    "pip install '.[test]' && pytest": "installs packages, and runs this",
    "pip install 'hyperpush[ray]'": "installs packages",
    "cd my-project": "of the shell",
    "pytest --hyperpush-conformance my_package.distance": "tests/conformance/test_plugin.py has one",
    "python deploy/measure.py": "takes minutes; tests/deploy/test_measure.py has a shorter one",
}
EQUATIONS = {"peer/DESIGN.md", "peer/HOW-IT-WORKS.md"}  # what is indented there is no code

ALL = [block for page in PAGES for block in blocks(page)]


def of(*languages: str) -> list[Block]:
    return [block for block in ALL if block.language in languages]


def named(block: Block) -> str:
    return f"{block.page}:{block.line}"


def is_of_flower(block: Block) -> bool:
    return block.page == FLOWER[0] and block.first.startswith(FLOWER[1])


def begins(block: Block, page: str, start: str) -> bool:
    return block.page == page and block.first.startswith(start)


def for_a_shell() -> list[Block]:
    listed = [where for where, why in NOT_EXECUTED.items() if why == SHELL]
    return [block for block in of("") if any(begins(block, *where) for where in listed)]


def without_sizes(text: str) -> str:
    """Errors near rounding differ from one processor to the next."""
    return re.sub(r"\d(?:\.\d+)?e-\d+", "#", text)


def told_by(block: Block, names: dict[str, Any]) -> str:
    """What it prints. Tracebacks have the line of the page."""
    told = io.StringIO()
    with contextlib.redirect_stdout(told):
        exec(compile("\n" * (block.line - 1) + block.text, block.page, "exec"), names)  # noqa: S102  (our own text)
    return told.getvalue()


# ---- what the blocks of a page must have come to


def of_the_readme(names: Mapping[str, Any], told: str) -> None:
    """Regularization has been learned, as every hypergradient vanishes; a real agent learns it, too."""
    for agent in names["result"].agents:
        assert abs(float(agent.hypergradient["log_strength"])) < 1e-2
    assert names["result"].digest in told
    with contextlib.redirect_stdout(io.StringIO()) as seen:
        found = asyncio.run(names["learn"](names["Ridge"](0)))
    assert found.ticks >= 40
    assert float(found.hyperparameters["log_strength"]) != 0.0
    assert "AgentView(id=" in seen.getvalue()


def of_extensions(names: Mapping[str, Any], told: str) -> None:
    """The parts hold what is asked of them, bias nothing, and do something."""
    assert float(told) < 1e-6
    problems = names["problems"]
    for problem, agent, one in zip(problems, names["signed"].agents, names["hypergradients"], strict=True):
        assert not torch.equal(agent.hyperparameters["h"], problem.hyperparameters["h"])
        assert one.shape == problem.hyperparameters["h"].shape
    assert names["learned"].rounds == 200
    with register("estimator", "alone", names["Alone"]):
        assert learn_in_rounds(problems, names["plan"]).digest == names["learned"].digest
    for where, makers in names["CONFORMANCE"].items():
        for make in makers:
            for check in checks(where)[:3]:
                check(make)


def test_the_guide_to_parts_says_how_each_is_called() -> None:
    """As `hyperpush extensions` does."""
    text = text_of("peer/extensions/README.md")
    for point in POINTS:
        called = f"`{point.called_with}`" if point.called_with else "-"
        row = f"| `{point.name}` | `{point.group}` | {called} | `{point.contract}` |"
        assert text.count(row) == 1, row
        assert all(f"`{option} NAME`" in text or f"{option} NAME`" in text for option in point.options)


def of_how_it_works(names: Mapping[str, Any], told: str) -> None:
    assert set(names["errors"]) == {0.0, 0.3, 0.6}
    assert max(names["errors"].values()) < 1e-12
    assert told


def of_coming_from(names: Mapping[str, Any], told: str) -> None:
    """Accuracies are those of its table, but for what another processor rounds."""
    table = re.search(
        r"^\| hyperpush, 200 ticks \| ([\d.]+) \| ([\d.]+) \|", text_of(FLOWER[0]), re.MULTILINE
    )
    found = re.search(r"^hyperpush: shared ([\d.]+), personal ([\d.]+); (\d+) MB sent$", told, re.MULTILINE)
    assert table is not None
    assert found is not None
    assert [float(number) for number in found.groups()[:2]] == pytest.approx(
        [float(number) for number in table.groups()], abs=0.02
    )
    heard = re.findall(r"^\w+-\w+: \d+ ticks, (\d+) messages received$", told, re.MULTILINE)
    assert len(heard) == 2
    assert sum(map(int, heard)) > 0
    assert names["result"].bytes > 0


def of_the_guide(names: Mapping[str, Any], told: str) -> None:
    """The task file is one that a swarm gets better by; it is alone on its page, and in a file here."""
    assert not told
    (code,) = [block.text for block in of("python") if block.page == "peer/tasks/README.md"][:1]
    Path("task.py").write_text(code, encoding="utf-8")
    with contextlib.redirect_stdout(io.StringIO()) as seen:
        assert main(["simulate", "--task", "task.py", "--agents", "4", "--ticks", "200"]) == 0
    gain = re.search(r"shared \+ personal against local only: \+([0-9.]+) points", seen.getvalue())
    assert gain is not None
    assert float(gain[1]) > 0
    assert names["settings"]["momentum"] == 0.5
    assert [len(names[name]) for name in ("train", "validation", "test")] == [60, 20, 20]


CHECKS: dict[str, Callable[[Mapping[str, Any], str], None]] = {
    "README.md": of_the_readme,
    "peer/tasks/README.md": of_the_guide,
    "deploy/coming-from.md": of_coming_from,
    "peer/extensions/README.md": of_extensions,
    "peer/HOW-IT-WORKS.md": of_how_it_works,
}


@pytest.mark.parametrize("page", sorted({block.page for block in of("python")}))
def test_python_runs(page: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Block after block, in one Python and an empty folder; what a page says they print they do."""
    monkeypatch.chdir(tmp_path)
    names: dict[str, Any] = {"__name__": "page"}
    everything = ""
    with torch.random.fork_rng(devices=[]):
        for block in of("python"):
            if block.page != page or is_of_flower(block):
                continue
            told = told_by(block, names)
            everything += told
            if block.output is not None:
                assert without_sizes(told) == without_sizes(block.output), named(block)
    CHECKS[page](names, everything)


def test_the_same_project_in_flower_runs(tmp_path: Path) -> None:
    """As a program of its own: it starts threads, a Ray, and warns that its interface is to change."""
    if lacking := [name for name in ("flwr", "ray") if importlib.util.find_spec(name) is None]:
        pytest.skip(f"{' and '.join(lacking)} not installed: pip install 'flwr[simulation]'")
    before, flower = [block for block in of("python") if block.page == FLOWER[0]][:2]
    assert is_of_flower(flower)
    (tmp_path / "project.py").write_text(before.text + flower.text, encoding="utf-8")
    quiet = {"FLWR_TELEMETRY_ENABLED": "0", "RAY_USAGE_STATS_ENABLED": "0", "OMP_NUM_THREADS": "1"}
    done = subprocess.run(
        [sys.executable, "project.py"],
        cwd=tmp_path,
        check=False,
        capture_output=True,
        text=True,
        env={**os.environ, **quiet},
    )
    told = re.search(r"^Flower: shared ([\d.]+), personal ([\d.]+)$", done.stdout, re.MULTILINE)
    assert told is not None, done.stdout[-2000:] + done.stderr[-4000:]
    table = re.search(
        r"^\| Flower, 20 rounds[^|]*\| ([\d.]+) \| ([\d.]+) \|", text_of(FLOWER[0]), re.MULTILINE
    )
    assert table is not None
    assert [float(number) for number in told.groups()] == pytest.approx(
        [float(number) for number in table.groups()], abs=0.02
    )


@pytest.mark.parametrize("block", of("toml"), ids=named)
def test_toml_is_read(block: Block, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """As a scenario, or as the options of `hyperpush run`."""
    if "event" in tomllib.loads(block.text):
        scenario = parse_scenario(block.text, block.page, [f"agent-{number}" for number in range(4)])
        assert len(scenario.windows) == 4, "a cut, a loss, and two sides of a partition"
        assert scenario.changes == (Kill("agent-3", 120.0),)
    elif "project" in (content := tomllib.loads(block.text)):  # of a package of somebody else
        assert set(content["project"]["entry-points"]) <= {point.group for point in POINTS}
    else:
        file = tmp_path / "agent.toml"
        file.write_text(block.text, encoding="utf-8")
        assert main(["config", "--config", str(file)]) == 0
        assert "agent.toml" in capsys.readouterr().out


@pytest.mark.parametrize("block", of("yaml", "json"), ids=named)
def test_yaml_and_json_are_read(block: Block) -> None:
    if block.language == "json":
        assert json.loads(block.text)
    else:
        assert pytest.importorskip("yaml").safe_load(block.text)


def test_whatever_is_not_executed_is_listed() -> None:
    """With its reason; and nothing is listed that is not there any more."""
    assert {block.language for block in ALL} <= {"python", "toml", "yaml", "json", ""}
    outputs = [block.output for block in ALL]
    plain = [block for block in of("") if block.text not in outputs]
    for block in plain:
        known = [why for (page, start), why in NOT_EXECUTED.items() if begins(block, page, start)]
        assert len(known) == 1, f"{named(block)} is executed by nothing: {block.first}"
    for page, start in NOT_EXECUTED:
        assert sum(begins(block, page, start) for block in plain) == 1, f"{page}: no block begins {start!r}"
    assert sum(map(is_of_flower, ALL)) == 1


@pytest.mark.parametrize("block", for_a_shell(), ids=named)
def test_commands_for_a_shell_are_parsed_by_one(block: Block) -> None:
    bash = shutil.which("bash")
    if bash is None:
        pytest.skip("no bash here")
    done = subprocess.run([bash, "-n"], input=block.text, check=False, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert not done.stderr


def test_indented_lines_are_commands() -> None:
    """Of ours, which are read below, or listed."""
    others = [
        line
        for page in PAGES
        if page not in EQUATIONS
        for line in indented_lines(page)
        if not line.startswith("hyperpush ")
    ]
    for line in others:
        assert line.split("    ")[0] in NOT_HYPERPUSH, line
    for line in NOT_HYPERPUSH:
        assert any(other.startswith(line) for other in others), f"no page has {line!r}"


@pytest.mark.parametrize(("page", "command"), [(page, one) for page in PAGES for one in commands(page)])
def test_commands_are_read(page: str, command: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """By the program, with the configuration of the guide where they ask for one."""
    (file,) = [block for block in of("toml") if "[settings]" in block.text]
    (tmp_path / "agent.toml").write_text(file.text, encoding="utf-8")
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("peer.options.readers.make", lambda *_: Bursts())  # there might be such a part
    words = shlex.split(command, comments=True)[1:]
    words = words[: min([words.index(end) for end in (">", "|") if end in words], default=len(words))]
    if "--help" in words:
        words.remove("--help")
    assert complete(split(words), {}).command == words[0]
    for word in words:
        if word.startswith(("deploy/", "tests/", "peer/")) and "NAME" not in word:
            assert (ROOT / word).exists(), f"{page}: {word}"


def test_there_are_commands_to_read() -> None:
    told = {" ".join(command.split()[:2]) for page in PAGES for command in commands(page)}
    assert {"hyperpush swarm", "hyperpush simulate", "hyperpush bench", "hyperpush run"} <= told


@pytest.mark.parametrize("page", [page for page in PAGES if not page.startswith("deploy/")])
def test_every_link_leads_somewhere(page: str) -> None:
    """Of pages under deploy: tests/deploy/test_pages.py."""
    for target in re.findall(r"\]\(([^)\s]+)\)", text_of(page)):
        if "://" in target:
            continue
        file, _, anchor = target.partition("#")
        there = (ROOT / page).parent / file if file else ROOT / page
        assert there.exists(), target
        if anchor:
            assert anchor in anchors(there), target


def test_the_glossary_has_the_words_of_the_readme() -> None:
    (paragraph,) = re.findall(r"^\*\*Words\.\*\*.*?\n\n", text_of("README.md"), re.MULTILINE | re.DOTALL)
    words = re.findall(r"(?<!\*)\*([A-Za-z-]+)\*(?!\*)", paragraph)
    assert len(words) >= 9
    entries = re.findall(r"^- \*\*([^*]+)\*\*: ", text_of("peer/GLOSSARY.md"), re.MULTILINE)
    assert {word.lower() for word in words} <= {entry.lower() for entry in entries}
    assert entries == sorted(entries, key=str.lower)
    assert text_of("peer/GLOSSARY.md").count("\n- ") == len(entries)


def test_equations_have_the_numbers_of_the_design() -> None:
    numbers = set(re.findall(r"^    (\(\d\))  ", text_of("peer/HOW-IT-WORKS.md"), re.MULTILINE))
    assert numbers == set(re.findall(r"^    (\(\d\))  ", text_of("peer/DESIGN.md"), re.MULTILINE))


def test_what_docstrings_say_of_the_design_is_there() -> None:
    """Equations by number, paragraphs by name, sections by number."""
    design = text_of("peer/DESIGN.md")
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
