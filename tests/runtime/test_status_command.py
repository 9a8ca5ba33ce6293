"""`hyperpush status` and `hyperpush faults` against an admin listener: what they print, how they end."""

from __future__ import annotations

import asyncio
import contextlib
import dataclasses
import errno
import http.server
import json
import os
import subprocess
import sys
import threading
from typing import TYPE_CHECKING

import pytest

import peer.commands.status
from peer.admin import AdminServer
from peer.admin_access import read_tls
from peer.admin_groups import fault_routes, status_routes
from peer.admin_routes import compose
from peer.cli import main
from tests.runtime.test_admin import certificate_files
from tests.unit.test_status import STATUS
from wire import FaultPlan, LinkFaults, LiveFaults, cut

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from peer.status import LinkStatus

TOKEN = "0123456789abcdef"  # noqa: S105  (of these tests only)
PLAN = FaultPlan(
    0.2,
    links={("a", "c"): LinkFaults(drop=1.0)},
    windows=(cut("a", "b", 60.0, 80.0), cut("a", "b", 1.0, 2.0)),
)


class Agent:
    """An admin listener in a thread of its own, as a command meets it."""

    def __init__(self, token: str | None, certificate: tuple[Path, Path] | None) -> None:
        self.faults = LiveFaults(PLAN)
        self.told: dict[str, object] = STATUS.to_dict()
        self.asked = 0
        routes = compose(status_routes(self._status), fault_routes(self.faults, lambda: 5.0))
        tls = None if certificate is None else read_tls(*certificate)
        self.server = AdminServer("127.0.0.1", 0, routes, token=token, tls=tls)

    def _status(self) -> dict[str, object]:
        self.asked += 1
        return self.told


@contextlib.contextmanager
def agent(token: str | None = None, certificate: tuple[Path, Path] | None = None) -> Iterator[Agent]:
    found = Agent(token, certificate)
    loop = asyncio.new_event_loop()
    thread = threading.Thread(target=loop.run_forever)
    thread.start()
    try:
        asyncio.run_coroutine_threadsafe(found.server.start(), loop).result()
        yield found
    finally:
        asyncio.run_coroutine_threadsafe(found.server.close(), loop).result()
        loop.call_soon_threadsafe(loop.stop)
        thread.join()
        loop.close()


def run(*arguments: str) -> int:
    return main(list(arguments))


def test_status_as_a_table_and_as_json(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    with agent() as found:
        assert run("status", found.server.url) == 0
        printed = capsys.readouterr().out
        assert "agent-0 in swarm demo" in printed
        assert "<->*" in printed
        assert run("status", found.server.url.removeprefix("http://"), "--json") == 0
        assert json.loads(capsys.readouterr().out) == STATUS.to_dict()
        monkeypatch.setenv("HYPERPUSH_ADMIN", found.server.url)
        assert run("status") == 0
        assert "agent-0 in swarm demo" in capsys.readouterr().out


@pytest.mark.parametrize("form", [[], ["--json"]])
def test_watching_goes_on_until_interrupted(
    form: list[str], capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    with agent() as found:

        def wait(seconds: float) -> None:
            assert seconds == peer.commands.status.WATCH_EVERY_S
            if found.asked == 3:
                raise KeyboardInterrupt

        monkeypatch.setattr("peer.commands.status.time.sleep", wait)
        assert run("status", found.server.url, "--watch", *form) == 0
        assert found.asked == 3
        printed = capsys.readouterr().out
        assert "agent-0" in printed
        if form:
            assert [json.loads(line)["peer"] for line in printed.splitlines()] == ["agent-0"] * 3


def test_no_agent_there_is_one_clear_line(capsys: pytest.CaptureFixture[str]) -> None:
    with agent() as found:
        url = found.server.url
    assert run("status", url) == 1
    told = capsys.readouterr().err
    assert told.startswith(f"hyperpush status: no answer from {url}: ")
    assert "is the agent running" in told
    assert told.count("\n") == 1
    for bad in ("ftp://127.0.0.1", "http://", "http://[::1", "http://127.0.0.1:99999"):
        assert run("status", bad) == 2
        assert capsys.readouterr().err.startswith(
            f"hyperpush status: URL: '{bad}' is not possible; give that"
        )


def test_a_token_is_asked_for_and_given(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    file = tmp_path / "token"
    with agent(TOKEN) as found:
        assert run("status", found.server.url) == 2
        assert "give --token FILE" in capsys.readouterr().err
        file.write_text(TOKEN[::-1], encoding="utf-8")
        assert run("faults", "clear", found.server.url, "--token", str(file)) == 2
        assert f"token: '{file}' is not possible; give --token FILE" in capsys.readouterr().err
        file.write_text(TOKEN + "\n", encoding="utf-8")
        assert run("status", found.server.url, "--token", str(file)) == 0


def test_an_answer_of_something_else(capsys: pytest.CaptureFixture[str]) -> None:
    with agent() as found:
        found.told = {"peer": 3}
        assert run("status", found.server.url) == 2
        assert "status.peer: 3 is not possible; text is expected" in capsys.readouterr().err
        found.told = {"peer": "x" * 9_000_000}
        assert run("status", found.server.url, "--json") == 1
        assert "it is longer than" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("body", "told"),
    [
        (b"hello", "is no agent: HTTP status 200"),
        (b"[1]", "is no agent: HTTP status 200"),
        (b'{"elapsed_s": 1}', "is no agent of this version"),
        (b'{"elapsed_s": 1, "plan": {}, "live": 3}', "is no agent of this version: windows = 3"),
        (
            b'{"elapsed_s": 1, "plan": {"dorp": 1}, "live": []}',
            "is no agent of this version: plan key 'dorp'",
        ),
    ],
)
def test_something_else_answers(body: bytes, told: str, capsys: pytest.CaptureFixture[str]) -> None:
    class Handler(http.server.BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.send_response(200)
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *_: object) -> None: ...

    with http.server.HTTPServer(("127.0.0.1", 0), Handler) as server:
        thread = threading.Thread(target=server.handle_request)
        thread.start()
        assert run("faults", "show", f"http://127.0.0.1:{server.server_port}") == 1
        thread.join()
    assert told in capsys.readouterr().err


def test_a_certificate_must_be_trusted(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    files = certificate_files(tmp_path)
    with agent(certificate=files) as found:
        assert run("status", found.server.url) == 1
        assert "set SSL_CERT_FILE to the certificate" in capsys.readouterr().err
        command = [sys.executable, "-m", "peer.cli", "status", found.server.url, "--json"]
        trusting = {**os.environ, "SSL_CERT_FILE": str(files[0])}
        told = subprocess.run(command, env=trusting, check=True, capture_output=True, timeout=60).stdout
        assert json.loads(told)["peer"] == "agent-0"


def elsewhere(*arguments: str) -> tuple[int, str]:
    """Exit code and what is printed, in a process of its own: asyncio closes TLS later than its loop."""
    command = [sys.executable, "-m", "peer.cli", *arguments]
    done = subprocess.run(command, check=False, capture_output=True, text=True, timeout=60)
    return done.returncode, done.stdout + done.stderr


def test_what_run_takes_from_the_environment_is_taken_here_as_well(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Address, token and certificate: with the same environment `run` and `status` mean the same agent."""
    token = tmp_path / "token"
    token.write_text(TOKEN)
    certificate, key = certificate_files(tmp_path)
    with agent(TOKEN, (certificate, key)) as found:
        address = found.server.url.removeprefix("https://")
        for name, value in (("ADMIN", address), ("ADMIN_TOKEN", token), ("ADMIN_CERT", certificate)):
            monkeypatch.setenv(f"HYPERPUSH_{name}", str(value))
        code, told = elsewhere("status")
        assert (code, "agent-0 in swarm demo" in told) == (0, True), told
        code, told = elsewhere("faults", "show", address)
        assert (code, "all links: drop 0.2" in told) == (0, True), told
        assert run("status", f"http://{address}") == 1
        hint = f"does the agent have --admin-cert? Then ask https://{address}"
        assert hint in capsys.readouterr().err
        monkeypatch.setenv("HYPERPUSH_ADMIN_CERT", str(tmp_path / "none"))
        assert run("status") == 2
        assert f"HYPERPUSH_ADMIN_CERT: '{tmp_path / 'none'}' is not possible" in capsys.readouterr().err
    monkeypatch.delenv("HYPERPUSH_ADMIN_CERT")
    with agent(TOKEN) as found:
        port = found.server.port
        code, told = elsewhere("status", f"https://127.0.0.1:{port}")
        hint = f"does the agent have no --admin-cert? Then ask http://127.0.0.1:{port}"
        assert (code, hint in told) == (1, True), told
        monkeypatch.setenv("HYPERPUSH_ADMIN", f"127.0.0.1:{port}")
        assert run("status") == 0
        assert run("faults", "show", f"127.0.0.1:{port}") == 0
        capsys.readouterr()
        for wrong, remedy in ((TOKEN[::-1], "give --token FILE"), ("short", "it holds 5 characters")):
            token.write_text(wrong)
            for arguments, named in (([], "HYPERPUSH_ADMIN_TOKEN"), (["--token", str(token)], "--token")):
                assert run("status", *arguments) == 2
                assert f"{named}: '{token}' is not possible; {remedy}" in capsys.readouterr().err


def test_an_address_in_the_environment_is_read_as_run_reads_it(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    with agent() as found:
        monkeypatch.setenv("HYPERPUSH_ADMIN", f"0.0.0.0:{found.server.port}")
        assert run("status") == 0, "who listens on all addresses is asked on one of them"
    capsys.readouterr()
    for value, told in (
        ("none", "such an agent cannot be asked"),
        ("127.0.0.1:0", "the agent took a free port"),
        ("nowhere", "address 'nowhere' has no port"),
    ):
        monkeypatch.setenv("HYPERPUSH_ADMIN", value)
        assert run("status") == 2
        assert f"HYPERPUSH_ADMIN: '{value}' is not possible; {told}" in capsys.readouterr().err


def test_faults_are_shown_set_and_cleared(capsys: pytest.CaptureFixture[str]) -> None:
    with agent() as found:
        url = found.server.url

        def lines(*arguments: str) -> list[str]:
            assert run("faults", *arguments) == 0
            first, *others = capsys.readouterr().out.splitlines()
            assert first == f"{url}, 5.0 s after the start"
            return others

        base = ["all links: drop 0.2", "a -> c: drop 1", "from 60 s until 80 s, a -> b: cut"]
        assert lines("show", url) == base
        live = lines(
            "set",
            url,
            "--drop",
            "0.4",
            "--delay",
            "lognormal:50ms:0.5",
            "--bandwidth",
            "256kbit",
            "--for",
            "30s",
        )
        words = "drop 0.4, delay lognormal:0.05s:0.5, bandwidth 256kbit"
        assert live == [*base, f"now until 35 s, all links: {words} (set while it runs)"]
        assert found.faults.faults_on("a", "d", 6.0) == found.faults.plan.windows[-1].applied_to(
            LinkFaults(0.2)
        )
        assert (
            lines("set", url, "--to", "b", "--cut", "30s")[-1]
            == "now until 35 s, all -> b: cut (set while it runs)"
        )
        assert lines("set", url, "--to", "d", "--cut")[-1] == "now, all -> d: cut (set while it runs)"
        assert lines("set", url, "--to", "e", "--cut", "--for", "2m")[-1].startswith(
            "now until 125 s, all -> e: cut"
        )
        assert len(lines("clear", url, "--to", "b")) == len(base) + 3
        assert lines("set", url, "--duplicate", "0.1", "--reorder", "0")[-1].startswith(
            "now, all links: duplicate 0.1, reorder 0 (set"
        )
        assert lines("clear", url) == base
        assert found.faults.plan == PLAN


def test_faults_for_a_peer_not_met_yet_are_kept_with_a_warning(capsys: pytest.CaptureFixture[str]) -> None:
    """A peer is meant by its name with key or without; whoever is never spoken to is not met."""
    named = dataclasses.replace(STATUS.links[0], peer="box-2-0123abcd")
    with agent() as found:
        url = found.server.url

        def warned(to: str, *links: LinkStatus) -> str:
            found.told = dataclasses.replace(STATUS, links=links).to_dict()
            assert run("faults", "set", url, "--to", to, "--drop", "0.5") == 0
            printed = capsys.readouterr()
            assert printed.out.splitlines()[-1] == f"now, all -> {to}: drop 0.5 (set while it runs)"
            return printed.err

        assert warned("box-2", *STATUS.links, named) == ""
        assert warned("box-2-0123abcd", named) == ""
        met = "agent-1, agent-2, agent-3, box-2-0123abcd"
        kept = "the faults are kept, for when it comes"
        assert warned("box-3", *STATUS.links, named) == (
            f"hyperpush faults: --to: the agent knows no peer 'box-3' yet, only {met}; {kept}\n"
        )
        assert f"knows no peer 'agent-4' yet, nor any other; {kept}" in warned("agent-4", STATUS.links[3])
        evil = dataclasses.replace(named, peer="\x1b[2J")
        assert "only \\x1b[2J;" in warned("p", evil)
        many = [dataclasses.replace(named, peer=f"p{number}") for number in range(12)]
        assert "p8, p9 and 2 more; the" in warned("p", *many)


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        ([], "no fault was given; give --cut, or some of --drop, --delay"),
        (["--delay", "20"], "--delay: '20' is not possible; write 20ms"),
        (["--drop", "0.1", "--cut"], "--cut together with --drop is not possible; on a cut link nothing"),
        (["--cut", "3s", "--drop", "0", "--delay", "1s"], "--cut 3s together with --drop, --delay is not"),
        (["--cut", "1s", "--for", "2s"], "--for: '2s' is not possible; --cut says already"),
        (["--cut", "soon"], "--cut: 'soon' is not possible; write 500ms"),
        (["--drop", "1", "--for", "0s"], "--for: '0s' is not possible; write 500ms"),
        (
            ["--drop", "1", "--to", "x" * 65],
            "--to: '" + "x" * 65 + "' is not possible; give the name of a peer",
        ),
    ],
)
def test_what_cannot_be_meant_is_refused(
    arguments: list[str], told: str, capsys: pytest.CaptureFixture[str]
) -> None:
    with agent() as found:
        assert run("faults", "set", found.server.url, *arguments) == 2
        assert capsys.readouterr().err.startswith(f"hyperpush faults: {told}")
        assert found.faults.plan == PLAN


@pytest.mark.parametrize("buffered", [True, False])
@pytest.mark.parametrize(
    ("arguments", "code"),
    [
        (["config"], 141),
        (["keys", "new-swarm"], 141),
        (["status", "{url}"], 141),
        (["status", "{url}", "--json", "--watch"], 141),
        (["faults", "show", "{url}"], 141),
        (["simulate", "--task", "synthetic", "--agents", "2", "--ticks", "5"], 0),  # its results may be files
        (["--help"], 0),  # argparse
    ],
)
def test_commands_end_without_a_word_when_nobody_reads_on(
    arguments: list[str], code: int, buffered: bool
) -> None:
    """As in `hyperpush config | head -1`, the head being as quick as can be."""
    ours, theirs = os.pipe()
    os.close(ours)
    with agent() as found:
        given = [argument.format(url=found.server.url) for argument in arguments]
        ended = subprocess.run(
            [sys.executable, "-m", "peer.cli", *given],
            check=False,
            stdout=theirs,
            stderr=subprocess.PIPE,
            env={**os.environ, "PYTHONUNBUFFERED": "" if buffered else "1"},
            timeout=60,
        )
    os.close(theirs)
    assert (ended.returncode, ended.stderr) == (code, b"")


@pytest.mark.skipif(not os.path.exists("/dev/full"), reason="there is no full file to write to")
@pytest.mark.parametrize(
    ("unbuffered", "where"), [("1", "hyperpush keys"), ("", "hyperpush: standard output")]
)
def test_output_that_cannot_be_written_is_told(unbuffered: str, where: str) -> None:
    """While it prints, or at the end."""
    command = [sys.executable, "-m", "peer.cli", "keys", "new-swarm"]
    env = {**os.environ, "PYTHONUNBUFFERED": unbuffered}
    with open("/dev/full", "wb") as full:
        ended = subprocess.run(command, check=False, stdout=full, stderr=subprocess.PIPE, text=True, env=env)
    assert ended.returncode == 1
    assert ended.stderr == f"{where}: [Errno 28] No space left on device\n"


def test_the_broken_pipe_of_a_socket_is_told(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def breaks(options: object) -> int:
        raise BrokenPipeError(errno.EPIPE, "Broken pipe")

    monkeypatch.setattr(peer.commands.status, "main", breaks)
    assert run("status") == 1
    assert capsys.readouterr().err == "hyperpush status: [Errno 32] Broken pipe\n"
