"""The layer rule of DESIGN, section 3, and a few limits on size, read from the source itself."""

from __future__ import annotations

import ast
import dataclasses
import shutil
import subprocess
import sys
from typing import TYPE_CHECKING

import pytest

from peer.settings import AgentSettings, SettingKeywords
from tests.pure_files import PURE, PURE_CORE, PURE_HUNT, ROOT

if TYPE_CHECKING:
    from pathlib import Path

SOURCES = sorted(path for folder in ("peer", "wire") for path in (ROOT / folder).rglob("*.py"))
TESTS = sorted((ROOT / "tests").rglob("*.py"))

OUTSIDE_WORLD = {"asyncio", "aiohttp", "zeroconf", "socket", "threading", "time", "os", "secrets", "uuid"}
LINES_MAX = 400
TOP_LEVEL = {"pyproject.toml", "peer", "wire", "tests", "deploy", "README.md", "LICENSE"}

RANDOM_OF_TORCH = {
    *("rand", "randn", "randint", "randperm", "normal", "bernoulli", "multinomial", "poisson"),
    *("rand_like", "randn_like", "randint_like"),
}
SEEDS_OF_TORCH = {"manual_seed", "seed", "initial_seed"}


def by_name(path: Path) -> str:
    return path.relative_to(ROOT).as_posix()


def tree_of(path: Path) -> ast.Module:
    return ast.parse(path.read_text(encoding="utf-8"), filename=str(path))


def imported_packages(path: Path) -> set[str]:
    """Top-level names of every import statement, those inside functions and type-checking blocks included."""
    found: set[str] = set()
    for node in ast.walk(tree_of(path)):
        if isinstance(node, ast.Import):
            found |= {alias.name.split(".")[0] for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{by_name(path)}:{node.lineno}: relative import"
            assert node.module is not None
            found.add(node.module.split(".")[0])
    return found


def dotted(node: ast.expr) -> str:
    """`a.b.c` of a chain of attributes; "" for anything else."""
    if isinstance(node, ast.Name):
        return node.id
    if isinstance(node, ast.Attribute):
        return f"{dotted(node.value)}.{node.attr}"
    return ""


def unrepeatable(node: ast.AST) -> str | None:
    """What makes this expression differ from run to run: global random streams, hash(), id()."""
    if isinstance(node, ast.ImportFrom) and node.module in ("random", "numpy.random"):
        others = [alias.name for alias in node.names if alias.name not in ("Random", "Generator")]
        return f"from {node.module} import {others}" if others else None
    if isinstance(node, ast.Attribute):
        name = dotted(node)
        if name.startswith("random.") and name != "random.Random":
            return name
        return name if name.startswith(("np.random", "numpy.random")) else None
    if not isinstance(node, ast.Call):
        return None
    name = dotted(node.func)
    keywords = {keyword.arg for keyword in node.keywords}
    if name in ("hash", "id") or (name == "random.Random" and not node.args):
        return f"{name}()"
    package, _, function = name.rpartition(".")
    if package.startswith("torch") and function in SEEDS_OF_TORCH:
        return f"{name}()"
    if package == "torch" and function in RANDOM_OF_TORCH and "generator" not in keywords:
        return f"{name}() without a generator"
    return None


@pytest.mark.parametrize("path", [*PURE, *PURE_HUNT], ids=by_name)
def test_pure_files_touch_no_outside_world(path: Path) -> None:
    """DESIGN 3: only the runtime, the transport, discovery and the command line know sockets or a clock."""
    assert not imported_packages(path) & OUTSIDE_WORLD


@pytest.mark.parametrize("path", [*PURE, *PURE_HUNT], ids=by_name)
def test_pure_files_draw_only_from_streams_handed_in(path: Path) -> None:
    found = [(node, unrepeatable(node)) for node in ast.walk(tree_of(path))]
    assert not [f"line {getattr(node, 'lineno', '?')}: {what}" for node, what in found if what is not None]


@pytest.mark.parametrize(
    "line",
    [
        *(
            "random.random()",
            "random.seed(1)",
            "from random import shuffle",
            "random.Random()",
            "random.shuffle(x)",
        ),
        *("np.random.rand(3)", "numpy.random.seed(0)", "np.random.default_rng()", "hash(x)", "id(x)"),
        *(
            "torch.manual_seed(0)",
            "torch.cuda.manual_seed(0)",
            "torch.rand(3)",
            "torch.randperm(4, device=d)",
        ),
    ],
)
def test_the_rule_about_random_streams_sees(line: str) -> None:
    assert any(unrepeatable(node) for node in ast.walk(ast.parse(line)))


@pytest.mark.parametrize(
    "line",
    [
        *(
            "rng.random()",
            "random.Random(f'{seed}/ticks')",
            "from random import Random",
            "learner.id",
            "self.hash(x)",
        ),
        "from numpy.random import Generator",
        *("torch.randn(3, generator=generator)", "torch.Generator().manual_seed(0)"),
    ],
)
def test_the_rule_about_random_streams_lets_pass(line: str) -> None:
    assert not any(unrepeatable(node) for node in ast.walk(ast.parse(line)))


@pytest.mark.parametrize("path", PURE_CORE, ids=by_name)
def test_the_core_knows_no_tensors(path: Path) -> None:
    assert not imported_packages(path) & {"torch", "numpy"}
    inside = {
        node.module
        for node in ast.walk(tree_of(path))
        if isinstance(node, ast.ImportFrom) and node.module and node.module.startswith("peer.")
    }
    core = {path.relative_to(ROOT).with_suffix("").as_posix().replace("/", ".") for path in PURE_CORE}
    assert inside <= core, "the core imports only the core and wire"


@pytest.mark.parametrize("path", sorted((ROOT / "wire").rglob("*.py")), ids=by_name)
def test_wire_knows_neither_torch_nor_agents(path: Path) -> None:
    assert not imported_packages(path) & {"torch", "peer"}


@pytest.mark.parametrize("path", SOURCES, ids=by_name)
def test_a_file_can_be_read_in_one_sitting(path: Path) -> None:
    assert len(path.read_text(encoding="utf-8").splitlines()) <= LINES_MAX


@pytest.mark.parametrize("path", TESTS, ids=by_name)
def test_no_test_sleeps(path: Path) -> None:
    if "examples" in path.parts and not path.name.startswith("test_"):
        return  # a part of a running agent
    calls = [node for node in ast.walk(tree_of(path)) if isinstance(node, ast.Call)]
    assert not [node.lineno for node in calls if dotted(node.func).split(".")[-1] == "sleep"]


def test_top_level_holds_nothing_else() -> None:
    if not (ROOT / ".git").exists() or shutil.which("git") is None:
        pytest.skip("not a git checkout: nothing tells files of the project from others")
    listed = subprocess.run(["git", "ls-files"], cwd=ROOT, check=True, capture_output=True, text=True)  # noqa: S607  (git is wherever the user has it)
    top = {name.split("/")[0] for name in listed.stdout.splitlines()}
    assert {name for name in top if not name.startswith(".")} <= TOP_LEVEL


@pytest.mark.parametrize("package", ["wire", "peer"])
def test_importing_a_package_loads_no_torch(package: str) -> None:
    """`hyperpush --help` must not wait for it, and an agent's wire side must work without it."""
    program = f"import sys, {package}; assert 'torch' not in sys.modules and 'numpy' not in sys.modules"
    subprocess.run([sys.executable, "-c", program], check=True, cwd=ROOT)


def test_keywords_of_simulate_are_the_settings() -> None:
    """Same names, same types, so that a setting cannot be forgotten on one side."""
    declared = {field.name: field.type for field in dataclasses.fields(AgentSettings)}
    written = {name: reference.__forward_arg__ for name, reference in SettingKeywords.__annotations__.items()}
    assert written == declared
