"""Pages under `deploy/`: links lead somewhere, commands are commands, what is named is there."""

from __future__ import annotations

import re
import shlex
from typing import TYPE_CHECKING

import pytest

from peer.options import OPTIONS, complete, split
from tests.deploy.pages import DEPLOY
from tests.doc_pages import anchors

if TYPE_CHECKING:
    from pathlib import Path

PAGES = sorted(path for path in DEPLOY.rglob("*.md") if path != DEPLOY / "README.md")
BEFORE = r"(?:docker run [^\n]*hyperpush:[\d.]+|exec agent(?:-\d)? hyperpush|/bin/hyperpush)"


def name(path: Path) -> str:
    return path.relative_to(DEPLOY).as_posix()


def commands() -> list[str]:
    """Whatever a page has `hyperpush` do in a container or by its path; others: tests/test_doc_blocks.py."""
    found = []
    for path in PAGES:
        text = path.read_text(encoding="utf-8").replace("\\\n", " ")
        after = re.findall(rf"{BEFORE} ([a-z][^`\n|>]*)", text)
        found += [f"hyperpush {words.strip()}" for words in after]
    return found


@pytest.mark.parametrize("path", [*PAGES, DEPLOY / "README.md"], ids=name)
def test_every_link_leads_somewhere(path: Path) -> None:
    for target in re.findall(r"\]\(([^)\s]+)\)", path.read_text(encoding="utf-8")):
        if "://" in target:
            continue
        file, _, anchor = target.partition("#")
        there = (path.parent / file).resolve() if file else path
        assert there.exists(), target
        if anchor:
            assert anchor in anchors(there), target


@pytest.mark.parametrize("command", commands())
def test_commands_are_accepted(command: str) -> None:
    words = shlex.split(command, comments=True)[1:]
    if "--help" in words:
        words.remove("--help")
    words = [word for word in words if word not in ("|", ">")]
    assert complete(split(words), {}).command == words[0]


def test_there_are_commands_to_check() -> None:
    assert {"run", "swarm", "status", "faults"} <= {command.split()[1] for command in commands()}


@pytest.mark.parametrize("path", PAGES, ids=name)
def test_options_and_variables_are_those_of_the_program(path: Path) -> None:
    text = path.read_text(encoding="utf-8")
    variables = {option.variable for option in OPTIONS if "run" in option.commands}
    assert set(re.findall(r"HYPERPUSH_[A-Z_]*[A-Z]", text)) <= variables
    told = set(re.findall(r"(?<![\w-])`(--[a-z][a-z-]+)[ `]", text))
    elsewhere = {"--format", "--publish", "--network", "--health-cmd", "--volume", "--env", "--build-arg"}
    elsewhere |= {"--no-cache-dir", "--seconds"}
    on_page = {"run", *re.findall(r"hyperpush (swarm|hunt)\b", text)}
    assert told - elsewhere <= {option.flag for option in OPTIONS if on_page & set(option.commands)}


@pytest.mark.parametrize("path", PAGES, ids=name)
def test_files_that_are_named_are_there(path: Path) -> None:
    text = path.read_text(encoding="utf-8")
    for file in re.findall(r"(?<![\w./])(deploy/[\w./@-]+\w)", text):
        assert (DEPLOY.parent / file).exists(), file
    assert "## What has been tried" in text, "what could not be is said on each page"


def test_the_first_page_leads_to_all_others() -> None:
    text = (DEPLOY / "README.md").read_text(encoding="utf-8")
    assert {name(path) for path in PAGES} <= set(re.findall(r"\]\(([^)#\s]+)\)", text))


def test_alerts_are_those_that_there_are() -> None:
    told = re.findall(
        r"^\| (Hyperpush\w+) \|", (DEPLOY / "prometheus" / "README.md").read_text(), re.MULTILINE
    )
    rules = (DEPLOY / "prometheus" / "alerts.yaml").read_text(encoding="utf-8")
    assert told == re.findall(r"- alert: (\w+)", rules)
