"""The reference: it is built without a warning, has all that is public, and its examples say what is true."""

from __future__ import annotations

import ast
import doctest
import importlib
import importlib.util
import re
import subprocess
import sys
import zlib
from typing import TYPE_CHECKING

import pytest

from tests.deploy.pages import DEPLOY

if TYPE_CHECKING:
    from pathlib import Path

ROOT = DEPLOY.parent
BUILDER = ("sphinx", "myst_parser")
PUBLIC = ("peer", "wire", "peer.personalization", "peer.estimators", "peer.influence")
FLAGS = doctest.ELLIPSIS


def build(builder: str, folder: Path, doctrees: Path) -> str:
    """What it printed. Warnings are errors."""
    lacking = [name for name in BUILDER if importlib.util.find_spec(name) is None]
    if lacking:
        pytest.skip(f"{' and '.join(lacking)} not installed: pip install 'hyperpush[docs]'")
    command = [sys.executable, "-m", "sphinx", "-b", builder, "-W", "--keep-going"]
    command += ["-c", "deploy/docs", "-d", str(doctrees), ".", str(folder)]
    done = subprocess.run(command, cwd=ROOT, check=False, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


@pytest.fixture(scope="module")
def built(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    """The pages, and what the builder remembers of them."""
    folder, doctrees = tmp_path_factory.mktemp("pages"), tmp_path_factory.mktemp("doctrees")
    build("html", folder, doctrees)
    return folder, doctrees


def documented(folder: Path) -> set[str]:
    """All Python names that have an entry, by the inventory of the builder."""
    lines = (folder / "objects.inv").read_bytes().split(b"\n", 4)
    entries = zlib.decompress(lines[4]).decode("utf-8").splitlines()
    return {entry.split(" ")[0] for entry in entries if " py:" in entry}


def modules_with_examples() -> list[str]:
    """Those whose docstrings have some."""
    found = []
    for package in ("peer", "wire"):
        for path in sorted((ROOT / package).rglob("*.py")):
            tree = ast.parse(path.read_text(encoding="utf-8"))
            kinds = (ast.Module, ast.ClassDef, ast.FunctionDef, ast.AsyncFunctionDef)
            texts = [ast.get_docstring(node) or "" for node in ast.walk(tree) if isinstance(node, kinds)]
            if any(">>> " in text for text in texts):
                found.append(path.relative_to(ROOT).with_suffix("").as_posix().replace("/", "."))
    return found


@pytest.mark.parametrize("name", modules_with_examples())
def test_examples_say_what_is_true(name: str) -> None:
    failed, tried = doctest.testmod(importlib.import_module(name), optionflags=FLAGS)
    assert tried > 0
    assert failed == 0


def test_the_reference_has_all_that_is_public(built: tuple[Path, Path]) -> None:
    there = documented(built[0])
    for package in PUBLIC:
        root = package.split(".", maxsplit=1)[0]
        names = {entry.rpartition(".")[2] for entry in there if entry.split(".")[0] == root}
        assert set(importlib.import_module(package).__all__) <= names, package


def test_every_setting_is_described(built: tuple[Path, Path]) -> None:
    page = (built[0] / "deploy/docs/reference/settings.html").read_text(encoding="utf-8")
    fields = re.findall(r'<dt class="sig sig-object py" id="peer.AgentSettings.(\w+)">', page)
    assert len(fields) > 20
    assert "Out-neighbours per agent" in page
    empty = re.findall(r'id="peer.AgentSettings.(\w+)">(?:(?!</dl>).)*?<dd></dd>', page, re.DOTALL)
    assert not empty


def test_pages_load_nothing_from_elsewhere(built: tuple[Path, Path]) -> None:
    pages = list(built[0].rglob("*.html"))
    assert len(pages) > 20
    for page in pages:
        text = page.read_text(encoding="utf-8")
        assert not re.findall(r'<(?:script|link|img)\b[^>]*(?:src|href)="(?:https?:)?//[^"]*"', text), page


def test_docstrings_become_what_the_builder_reads(monkeypatch: pytest.MonkeyPatch) -> None:
    """Tables stay tables, marks that mean nothing stay marks, names lead somewhere."""
    pytest.importorskip("sphinx")
    monkeypatch.syspath_prepend(str(DEPLOY / "docs"))
    as_rst = importlib.import_module("docstrings").as_rst
    assert as_rst(["Of |g| and h_ * 2, as `x + y` or `Agent` have it."]) == [
        r"Of \|g\| and h\_ \* 2, as ``x + y`` or :py:obj:`.Agent` have it."
    ]
    assert as_rst(["Text:", "", "    drop   how much", "", "* `a`: one", "  goes on", ">>> f(`x`)"]) == [
        *("Text:", "", "::", "", "        drop   how much", ""),
        *("* :py:obj:`a`: one", "  goes on", ">>> f(:py:obj:`x`)"),
    ]
    assert as_rst([">>> 2 * `3`", "6"]) == [">>> 2 * `3`", "6"]
    assert as_rst(["name  what it is", "other  more"])[:2] == ["::", ""]


def test_the_examples_are_in_the_reference(built: tuple[Path, Path], tmp_path: Path) -> None:
    """The builder of examples runs those that it finds on the pages; none is left out."""
    told = build("doctest", tmp_path, built[1])
    (ran,) = re.findall(r"^ *(\d+) tests$", told, re.MULTILINE)
    finder = doctest.DocTestFinder()
    everywhere = [finder.find(importlib.import_module(name)) for name in modules_with_examples()]
    assert int(ran) == sum(len(found.examples) for tests in everywhere for found in tests)
    assert re.search(r"^ *0 failures in tests$", told, re.MULTILINE)
