"""What a verdict or a result is of: the modules that it took, and no others."""

from __future__ import annotations

import subprocess
import sys
from typing import TYPE_CHECKING

import pytest

from peer import sources
from peer.sources import code, modules_of

if TYPE_CHECKING:
    from pathlib import Path

LOADED = "; print(*(name for name in sys.modules if name.partition('.')[0] in ('peer', 'wire')))"


@pytest.mark.parametrize(
    ("root", "work"),
    [
        ("peer.hunt.campaign", "import peer.hunt.campaign as it; it.judge(1)"),
        ("peer.bench.tuning_runs", "import peer.bench.tuning_runs"),
        (
            "peer.bench.personalization_runs",
            (
                "from peer.bench.personalization_runs import *; "
                "perform(Run(Scale('digits', 2, 1), 'silent', OURS, 5, 0))"
            ),
        ),
    ],
)
def test_all_that_is_loaded_is_part_of_it(root: str, work: str) -> None:
    done = subprocess.run(
        [sys.executable, "-c", f"import sys; {work}{LOADED}"], capture_output=True, text=True, check=True
    )
    known = modules_of(root)
    assert set(done.stdout.split()) <= known.keys()
    assert root in known
    assert "peer.display" not in known, "how it is shown is no part of it"
    assert "peer.cli" not in known


def test_another_line_is_other_code(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("a", "b", "c", "d", "other"):
        (tmp_path / f"{name}.py").write_text("")
    (tmp_path / "__init__.py").write_text("")
    (tmp_path / "a.py").write_text(
        "import os\nimport peer.b\nfrom typing import TYPE_CHECKING\nif TYPE_CHECKING:\n"
        "    import peer.other\nelse:\n    import peer.d\ndef f():\n    from peer import c\n"
    )
    monkeypatch.setattr(sources, "FOLDERS", {"peer": tmp_path})
    seen = []
    for name in (None, "other", "a", "b", "c", "d", "__init__"):
        if name is not None:
            with (tmp_path / f"{name}.py").open("a") as file:
                file.write("# changed\n")
        code.cache_clear()
        modules_of.cache_clear()
        seen.append(code("peer.a"))
    assert modules_of("peer.a").keys() == {"peer", "peer.a", "peer.b", "peer.c", "peer.d"}
    code.cache_clear()
    modules_of.cache_clear()
    assert seen[0] == seen[1]
    assert len(set(seen)) == 6
