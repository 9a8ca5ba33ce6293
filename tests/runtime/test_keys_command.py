"""`hyperpush keys` as a user runs it."""

from __future__ import annotations

import os
import stat
import subprocess
import sys
from typing import TYPE_CHECKING

from peer.cli import main
from peer.key_files import read_allow_list, read_key_ring
from peer.state import IDENTITY, StateDirectory

if TYPE_CHECKING:
    from pathlib import Path

    import pytest

SEALS = "seals what is sent, opens what arrives"
OPENS = "opens what arrives"


def new_swarm(path: Path) -> None:
    """As the shell does `hyperpush keys new-swarm > path`."""
    with path.open("w") as file:
        subprocess.run([sys.executable, "-m", "peer.cli", "keys", "new-swarm"], check=True, stdout=file)


def test_a_swarm_key_is_made_shown_and_changed(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    """The documented way: the new key as the second line, then as the first, then alone."""
    old, new = tmp_path / "old.key", tmp_path / "new.key"
    for path in (old, new):
        new_swarm(path)
        assert stat.S_IMODE(path.stat().st_mode) == 0o600, "whatever the umask: others cannot read it"
    (old_id,), (new_id,) = read_key_ring(old).key_ids, read_key_ring(new).key_ids
    both = tmp_path / "both.key"
    for first, second, ids in ((old, new, (old_id, new_id)), (new, old, (new_id, old_id))):
        both.write_text(first.read_text() + second.read_text())
        assert main(["keys", "show", str(both)]) == 0
        shown = capfd.readouterr().out
        assert shown == f"{ids[0]}  {SEALS}\n{ids[1]}  {OPENS}\n"
    assert f"# hyperpush swarm key {new_id}\n" in new.read_text()
    assert old_id != new_id


def test_a_swarm_key_goes_into_a_pipe(tmp_path: Path) -> None:
    made = subprocess.run(
        [sys.executable, "-m", "peer.cli", "keys", "new-swarm"], check=True, capture_output=True, text=True
    )
    (tmp_path / "swarm.key").write_text(made.stdout)
    assert len(read_key_ring(tmp_path / "swarm.key").keys) == 1
    assert made.stderr == ""


def test_an_identity_is_made_once_and_shown_as_a_line_of_an_allow_list(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    state = tmp_path / "agent"
    printed = set()
    for _ in range(2):
        assert main(["keys", "identity", "--state", str(state)]) == 0
        printed.add(capsys.readouterr().out)
    (tmp_path / "allowed").write_text(*printed)
    with StateDirectory(state) as running:
        assert read_allow_list(tmp_path / "allowed") == {running.identity.fingerprint}
        assert running.incarnation == 0, "to look is no start"
        assert main(["keys", "identity", "--state", str(state)]) == 0, "also while the agent runs"
        assert {capsys.readouterr().out} == printed


def test_what_cannot_be_done_is_said_in_one_line(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "no.key").write_text("secret\n")
    (tmp_path / IDENTITY).write_text("secret\n")
    os.chmod(tmp_path / IDENTITY, 0o600)
    for arguments, problem in (
        (["show", str(tmp_path / "none")], "hyperpush keys: FILE: '"),
        (["show", str(tmp_path / "none")], "it cannot be read: No such file or directory"),
        (["show", str(tmp_path / "no.key")], "line 1 does not begin with `hyperpush-swarm-key-1 `"),
        (["identity", "--state", str(tmp_path)], f"{IDENTITY} is damaged: line 1"),
        (["identity", "--state", str(tmp_path / "no.key")], "cannot be used: Not a directory"),
    ):
        assert main(["keys", *arguments]) == 2
        printed = capsys.readouterr()
        assert problem in printed.err
        assert "secret" not in printed.err
        assert (printed.out, printed.err.count("\n")) == ("", 1)
