"""The image and the compose file: what of them can be tried without a container engine."""

from __future__ import annotations

import http.server
import json
import re
import shutil
import subprocess
import sys
import threading
from typing import TYPE_CHECKING, Any

import pytest

from tests.deploy.pages import DEPLOY, understood

if TYPE_CHECKING:
    from collections.abc import Iterator

CONTAINERFILE = (DEPLOY / "container" / "Containerfile").read_text(encoding="utf-8")
FINAL = CONTAINERFILE[CONTAINERFILE.rindex("\nFROM ") :]


def compose() -> dict[str, Any]:
    yaml = pytest.importorskip("yaml", reason="needs PyYAML")
    found = yaml.safe_load((DEPLOY / "compose" / "compose.yaml").read_text(encoding="utf-8"))
    assert isinstance(found, dict)
    return found


def agents() -> dict[str, Any]:
    return {name: service for name, service in compose()["services"].items() if name.startswith("agent-")}


def image_environment() -> dict[str, str]:
    (block,) = re.findall(r"^ENV (PATH=.*?[^\\])$", FINAL, re.MULTILINE | re.DOTALL)
    return dict(pair.split("=", 1) for pair in block.replace("\\\n", " ").split())


@pytest.fixture
def answering(monkeypatch: pytest.MonkeyPatch) -> Iterator[Any]:
    """A server whose answer to /healthz a test chooses, in the place of an agent's; and its port."""

    class Handler(http.server.BaseHTTPRequestHandler):
        status = 200

        def do_GET(self) -> None:
            self.send_response(Handler.status if self.path == "/healthz" else 404)
            self.end_headers()

        def log_message(self, *_: object) -> None:
            pass

    with http.server.HTTPServer(("127.0.0.1", 0), Handler) as server:
        thread = threading.Thread(target=server.serve_forever, args=(0.01,))
        thread.start()
        yield Handler, server.server_port
        server.shutdown()
        thread.join()


def test_the_health_check_is_the_answer_of_the_agent(answering: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """Also where a proxy is set: it must not be asked for the agent beside."""
    handler, port = answering
    (words,) = re.findall(r"^    CMD (\[\"python\".*\])$", FINAL, re.MULTILINE)
    program = json.loads(words)
    assert ":7701/" in program[2]
    monkeypatch.setenv("http_proxy", "http://127.0.0.1:9")
    for status, code in ((200, 0), (503, 1)):
        handler.status = status
        command = [sys.executable, "-c", program[2].replace(":7701/", f":{port}/")]
        assert subprocess.run(command, check=False, capture_output=True).returncode == code
    command[2] = program[2].replace(":7701/", ":9/")
    assert subprocess.run(command, check=False, capture_output=True).returncode == 1


def test_the_image_runs_as_nobody_and_its_options_are_options() -> None:
    assert re.search(r"^USER (\d+):\1$", FINAL, re.MULTILINE)
    environment = image_environment()
    found = understood(environment)
    assert (found.listen, str(found.state)) == ("0.0.0.0:7700", "/state")
    assert re.search(r"^EXPOSE 7700 7701$", FINAL, re.MULTILINE)


def test_torch_comes_from_the_index_for_processors_in_the_version_of_the_package() -> None:
    """The very line of the build, run here, says which torch is asked for."""
    (program,) = re.findall(r"torch=\"\$\(python -c '(.*?)'\)\"", CONTAINERFILE)
    root = DEPLOY.parent
    told = subprocess.run(
        [sys.executable, "-c", program], cwd=root, capture_output=True, text=True, check=True
    )
    assert re.fullmatch(r"torch>=[\d.]+,<[\d.]+\n", told.stdout)
    assert f'"{told.stdout.strip()}"' in (root / "pyproject.toml").read_text(encoding="utf-8")
    assert "ARG TORCH_INDEX=https://download.pytorch.org/whl/cpu\n" in CONTAINERFILE


def test_what_is_copied_is_there_and_nothing_else_is_sent() -> None:
    lines = (DEPLOY / "container" / "Containerfile.dockerignore").read_text(encoding="utf-8").splitlines()
    allowed = {line[1:] for line in lines if line.startswith("!")}
    copied = {
        name
        for names in re.findall(r"^COPY ([^-\n]+) \S+$", CONTAINERFILE, re.MULTILINE)
        for name in names.split()
    }
    assert copied == allowed
    assert all((DEPLOY.parent / name).exists() for name in copied)
    assert "*" in lines


def test_a_linter_finds_nothing() -> None:
    if shutil.which("hadolint") is None:
        pytest.skip("needs hadolint")
    told = subprocess.run(
        ["hadolint", str(DEPLOY / "container" / "Containerfile")],  # noqa: S607  (wherever it is)
        check=False,
        capture_output=True,
        text=True,
    )
    assert (told.returncode, told.stdout) == (0, "")


def test_five_agents_have_a_shard_and_a_state_each_and_lose_a_fifth() -> None:
    shards, states = set(), set()
    for service in agents().values():
        found = understood({**image_environment(), **service["environment"]}, *service["command"][1:])
        assert found.drop == 0.2
        assert found.no_zeroconf is True
        assert service["networks"]["swarm"]["aliases"] == found.dns
        shards.add(found.shard)
        folder = f":{found.state}"
        states |= {volume.removesuffix(folder) for volume in service["volumes"] if volume.endswith(folder)}
    assert shards == {f"{number}/5" for number in range(1, 6)}
    assert len(states) == 5


def test_agents_have_no_more_rights_than_they_need() -> None:
    for service in agents().values():
        assert service["read_only"] is True
        assert service["cap_drop"] == ["ALL"]
        assert service["security_opt"] == ["no-new-privileges:true"]
        assert "user" not in service, "the image's"


def test_every_port_is_of_this_machine_only_and_every_file_is_there() -> None:
    services = compose()["services"].values()
    ports = [port for service in services for port in service.get("ports", [])]
    assert len(ports) == 3
    assert all(port.startswith("127.0.0.1:") for port in ports)
    files = [
        volume.split(":")[0]
        for service in services
        for volume in service.get("volumes", [])
        if volume.startswith("..")
    ]
    assert len(files) == 4
    assert all((DEPLOY / "compose" / file).exists() for file in files)
    named = {volume.split(":")[0] for service in services for volume in service.get("volumes", [])} - set(
        files
    )
    assert named == set(compose()["volumes"])


def test_secrets_are_made_once_and_only_where_they_belong(tmp_path: Any) -> None:
    """The very lines of the compose file, with other folders: what is there already stays."""
    (text,) = compose()["services"]["secrets"]["command"]
    hyperpush = f"{sys.executable} -c 'import sys; from peer.cli import main; sys.exit(main())'"
    script = text.replace("/keys", str(tmp_path / "keys")).replace("/token", str(tmp_path / "token"))
    script = script.replace("python -c", f"{sys.executable} -c")  # first: an own path ends so, too
    script = script.replace("hyperpush keys", f"{hyperpush} keys")
    (tmp_path / "keys").mkdir()
    (tmp_path / "token").mkdir()
    made = []
    for _ in range(2):
        subprocess.run(["/bin/sh", "-euc", script], check=True, cwd=DEPLOY.parent)
        key, token = tmp_path / "keys" / "swarm.key", tmp_path / "token" / "admin.token"
        assert (key.stat().st_mode & 0o777, token.stat().st_mode & 0o777) == (0o600, 0o644)
        made.append((key.read_text(), token.read_text()))
    assert made[0] == made[1]
    assert "hyperpush-swarm-key-1 " in made[0][0]
    mounted = {
        name: {volume.split(":")[0] for volume in service.get("volumes", [])}
        for name, service in compose()["services"].items()
    }
    assert "keys" not in mounted["prometheus"] | mounted["grafana"]
