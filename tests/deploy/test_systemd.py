"""The unit, read by systemd itself where it is installed; and what it is told by an agent."""

from __future__ import annotations

import contextlib
import re
import shutil
import socket
import subprocess
from typing import TYPE_CHECKING

import pytest

from peer.cli import main
from tests.deploy.pages import DEPLOY, assignments, understood

if TYPE_CHECKING:
    from pathlib import Path

UNIT = DEPLOY / "systemd" / "hyperpush@.service"
ENVIRONMENT = (DEPLOY / "systemd" / "agent.env").read_text(encoding="utf-8")
EXPOSURE_MAX = 1.5  # of 10; systemd 252 says 1.3


@pytest.fixture
def installed(tmp_path: Path) -> Path:
    """The unit with a program that is there: whether ours is installed is not asked."""
    if shutil.which("systemd-analyze") is None:
        pytest.skip("needs systemd-analyze")
    path = tmp_path / UNIT.name
    path.write_text(UNIT.read_text(encoding="utf-8").replace("/opt/hyperpush/bin/hyperpush", "/bin/true"))
    return path


def analyze(*arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        ["systemd-analyze", *arguments],  # noqa: S607  (wherever it is)
        check=False,
        capture_output=True,
        text=True,
    )


def test_systemd_understands_every_line(installed: Path) -> None:
    told = analyze("verify", "--man=no", str(installed.parent / "hyperpush@3.service"))
    assert (told.returncode, told.stderr) == (0, "")
    installed.write_text(installed.read_text() + "[Service]\nNonsense=yes\n")
    assert "Nonsense" in analyze("verify", "--man=no", str(installed.parent / "hyperpush@3.service")).stderr


def test_it_is_exposed_to_little(installed: Path) -> None:
    told = analyze("security", "--offline=true", str(installed))
    level = re.search(r"Overall exposure level for \S+: ([\d.]+)", told.stdout)
    if level is None:
        pytest.skip(f"this systemd cannot judge a unit that is not installed: {told.stderr}")
    assert float(level[1]) <= EXPOSURE_MAX


def test_the_options_that_it_gives_are_options() -> None:
    text = UNIT.read_text(encoding="utf-8")
    found = assignments(ENVIRONMENT)
    (words,) = re.findall(r"^ExecStart=/opt/hyperpush/bin/hyperpush run (.*)$", text, re.MULTILINE)
    words = words.replace("${SHARDS}", found.pop("SHARDS"))
    given = " ".join(re.findall(r"^Environment=(.*)$", text, re.MULTILINE))
    own = {name: value for name, value in re.findall(r"(\w+)=(\S+)", given) if name.startswith("HYPERPUSH_")}
    for instance in ("1", "5"):
        expanded = {name: value.replace("%i", instance) for name, value in {**own, **found}.items()}
        options = understood(expanded, *words.replace("%i", instance).split())
        assert options.shard == f"{instance}/5"
        assert str(options.state).endswith(f"/{instance}")
    assert found["HYPERPUSH_LISTEN"] == "0.0.0.0:7700"


def test_systemd_is_told_when_the_agent_listens_and_that_it_ends(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    alone = ["run", "--task", "synthetic", "--tick-ms", "10", "--no-zeroconf", "--listen", "127.0.0.1:0"]
    alone += ["--admin", "none", "--ticks", "3"]
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as manager:
        manager.bind(str(tmp_path / "n"))
        manager.setblocking(False)
        monkeypatch.setenv("NOTIFY_SOCKET", str(tmp_path / "n"))
        monkeypatch.setenv("WATCHDOG_USEC", "60000000")
        assert main(alone) == 0
        told = []
        with contextlib.suppress(BlockingIOError):
            while True:
                told.append(manager.recv(1000).decode())
    first, *beats, last = told
    assert re.fullmatch(r"READY=1\nSTATUS=listens on 127\.0\.0\.1:\d+", first)
    assert beats[0].startswith("WATCHDOG=1\nSTATUS=tick ")
    assert last == "STOPPING=1"
    monkeypatch.setenv("NOTIFY_SOCKET", "nowhere")
    assert main(alone) == 2
    assert "NOTIFY_SOCKET: 'nowhere' is not possible" in capsys.readouterr().err
