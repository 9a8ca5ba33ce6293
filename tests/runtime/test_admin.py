"""The admin listener on loopback: who may ask, what is answered, and what it takes from strangers."""

from __future__ import annotations

import asyncio
import contextlib
import datetime
import ipaddress
import json
import re
import ssl
import zlib
from typing import TYPE_CHECKING, Any

import aiohttp
import pytest
from aiohttp import web
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

import peer.admin
from peer.admin import CONNECTIONS_MAX, AdminServer
from peer.admin_access import AdminAccess, admin_access, check_host, read_tls, read_token
from peer.admin_groups import description, description_routes, fault_routes, health_routes, status_routes
from peer.admin_predict import predict_routes
from peer.admin_routes import BODY_BYTES_MAX, Asked, Route, Routes, compose, json_answer
from peer.errors import SettingError
from peer.options import admin_address
from peer.page.desk import desk_routes
from peer.page.routes import page_routes, shown_routes
from peer.problem_details import PROBLEM_TYPE
from tests.fuzz.admin_sockets import no_problems
from tests.unit.test_status import STATUS
from wire import Constant, FaultPlan, LinkFaults, LiveFaults, TransportError

if TYPE_CHECKING:
    from collections.abc import AsyncIterator
    from pathlib import Path

    from peer.predicting import PersonalModel

NOBODY: Any = None  # is asked for anything here
TOKEN = "0123456789abcdef"  # noqa: S105  (of these tests only)
LIMIT_S = 20.0  # for one test; a hang must fail, not wait


class Bench:
    """A listener about an agent that is not there."""

    def __init__(self, **options: Any) -> None:
        self.now = 5.0
        self.told: dict[str, object] = {"peer": "a", "residual": float("nan")}
        self.faults = LiveFaults(FaultPlan(drop=0.1))
        self.said: list[str] = []
        host = options.pop("host", "127.0.0.1")
        routes = compose(
            health_routes(no_problems),
            description_routes(),
            status_routes(lambda: self.told),
            fault_routes(self.faults, lambda: self.now, self.said.append),
            predict_routes(self._no_model),
            options.pop("routes", {}),
        )
        self.server = AdminServer(host, 0, routes, **options)

    async def _no_model(self) -> PersonalModel:
        raise AssertionError("nobody asks for one here")

    async def ask(self, method: str, path: str, **options: Any) -> tuple[int, Any]:
        async with (
            aiohttp.ClientSession() as session,
            session.request(method, f"{self.server.url}{path}", **options) as response,
        ):
            assert response.headers["Cache-Control"] == "no-store"
            refused = response.status != 200
            assert response.content_type == (PROBLEM_TYPE if refused else "application/json")
            told = await response.json()
            if refused:
                assert told.keys() == {"type", "title", "status", "detail", "field", "value", "remedy"}
                assert told["status"] == response.status
            return response.status, told

    async def throw(self, data: bytes) -> bytes:
        """Bytes as they are; what comes back until the listener closes."""
        reader, writer = await asyncio.open_connection(self.server.host, self.server.port)
        try:
            writer.write(data)
            return await reader.read()
        except ConnectionError:
            return b""
        finally:
            await gone(writer)


async def gone(writer: asyncio.StreamWriter) -> None:
    writer.close()
    with contextlib.suppress(ConnectionError):
        await writer.wait_closed()


@contextlib.asynccontextmanager
async def listening(**options: Any) -> AsyncIterator[Bench]:
    bench = Bench(**options)
    async with asyncio.timeout(LIMIT_S):
        await bench.server.start()
        try:
            yield bench
        finally:
            await bench.server.close()


def on_link(bench: Bench) -> LinkFaults | None:
    return bench.faults.faults_on("a", "b", bench.now)


async def test_status_and_health() -> None:
    async with listening() as bench:
        assert await bench.ask("GET", "/v1/status") == (200, {"peer": "a", "residual": None})
        assert await bench.ask("GET", "/healthz") == (200, {"ok": True, "problems": []})


async def test_every_route_is_described_and_every_description_has_a_route() -> None:
    async with listening(token=TOKEN) as bench:
        status, told = await bench.ask("GET", "/v1/openapi.json")
        assert status == 200
        assert told["openapi"].startswith("3.1.")
        described = {
            (path, method.upper()): "security" not in operation
            for path, operations in told["paths"].items()
            for method, operation in operations.items()
        }
        groups: list[Routes] = [bench.server.routes, page_routes(), shown_routes(NOBODY, None)]
        assert described == {
            (path, method): not route.public
            for routes in (*groups, desk_routes(NOBODY))  # a swarm's listener has one where agents have two
            for path, methods in routes.items()
            for method, route in methods.items()
        }


def test_what_a_description_refers_to_is_there() -> None:
    text = json.dumps(description())
    for place in re.findall(r'"#/([^"]+)"', text):
        found: Any = description()
        for part in place.split("/"):
            found = found[part]
    schemas: Any = description()["components"]
    assert list(schemas["schemas"]["AgentStatus"]["properties"]) == list(STATUS.to_dict())
    links: Any = STATUS.to_dict()["links"]
    assert list(schemas["schemas"]["LinkStatus"]["properties"]) == list(links[0])


async def test_a_route_may_have_names_in_its_path_a_limit_and_so_many_places() -> None:
    """What stands for a name is unquoted, and a path as it stands goes before."""
    arrived, go_on = asyncio.Event(), asyncio.Event()

    async def tell(asked: Asked) -> web.Response:
        return json_answer({**asked.named, "bytes": len(asked.body)})

    async def wait(asked: Asked) -> web.Response:
        arrived.set()
        await go_on.wait()
        return await tell(asked)

    routes: Routes = {
        "/x/{peer}/y": {"POST": Route(tell, body_bytes_max=4)},
        "/x/own/y": {"POST": Route(tell, body_bytes_max=5)},
        "/wait": {"GET": Route(wait, at_once_max=1)},
    }
    async with listening(routes=routes) as bench:
        assert await bench.ask("POST", "/x/a%2Fb/y", data=b"1234") == (200, {"peer": "a/b", "bytes": 4})
        assert await bench.ask("POST", "/x/own/y", data=b"12345") == (200, {"bytes": 5})
        assert (await bench.ask("POST", "/x/a/y", data=b"12345"))[0] == 413
        for path in ("/x//y", "/x/a", "/x/a/y/", "/x/a/b/y"):
            assert (await bench.ask("POST", path))[0] == 404, path
        first = asyncio.create_task(bench.ask("GET", "/wait"))
        await arrived.wait()
        status, told = await bench.ask("GET", "/wait")
        assert (status, told["field"], told["value"]) == (503, "path", "/wait")
        assert b"Retry-After: 1\r\n" in await bench.throw(b"GET /wait HTTP/1.1\r\nHost: localhost\r\n\r\n")
        go_on.set()
        assert (await first)[0] == (await bench.ask("GET", "/wait"))[0] == 200


def test_two_groups_do_not_answer_the_same() -> None:
    with pytest.raises(AssertionError, match="two groups answer /healthz"):
        compose(health_routes(no_problems), health_routes(no_problems))


async def test_faults_are_shown_set_and_cleared() -> None:
    async with listening() as bench:
        status, told = await bench.ask("GET", "/v1/faults")
        assert (status, told) == (200, {"elapsed_s": 5.0, **json.loads(json.dumps(bench.faults.to_dict()))})
        body = {"to": "b", "faults": {"delay_s": "20ms"}, "for_s": 30}
        status, told = await bench.ask("PUT", "/v1/faults", json=body)
        assert status == 200
        assert told["live"][0]["end_s"] == 35.0
        assert on_link(bench) == LinkFaults(0.1, Constant(0.02))
        assert await bench.ask("PUT", "/v1/faults", json={"faults": None}) == (
            200,
            {"elapsed_s": 5.0, **json.loads(json.dumps(bench.faults.to_dict()))},
        )
        assert on_link(bench) is None
        assert (await bench.ask("DELETE", "/v1/faults?to=b"))[0] == 200
        assert on_link(bench) is None
        status, told = await bench.ask("DELETE", "/v1/faults")
        assert told["live"] == []
        assert on_link(bench) == LinkFaults(0.1)
        assert bench.said == [
            "links to b: delay 0.02s for 30 s",
            "all links: cut",
            "all links: what was set is taken back",
        ]


@pytest.mark.parametrize(
    ("method", "path", "body", "status", "error"),
    [
        ("PUT", "/v1/faults", b'{"faults": {"drop": 2}}', 400, ("faults.drop", 2)),
        ("PUT", "/v1/faults", b"drop", 400, ("body", "b'drop'")),
        ("PUT", "/v1/faults", b" " * (BODY_BYTES_MAX + 1), 413, ("body", "too long")),
        ("DELETE", "/v1/faults?to=", b"", 400, ("to", "")),
        ("DELETE", "/v1/faults?to=%00", b"", 400, ("to", "\0")),
        ("GET", "/v1/secrets", b"", 404, ("path", "/v1/secrets")),
        ("POST", "/v1/faults", b"{}", 405, ("method", "POST")),
    ],
)
async def test_a_bad_request_changes_nothing_and_is_told_what_was_wrong(
    method: str, path: str, body: bytes, status: int, error: tuple[str, object]
) -> None:
    async with listening() as bench:
        found, told = await bench.ask(method, path, data=body)
        assert found == status
        assert (told["field"], told["value"]) == error
        assert told["remedy"]
        assert bench.faults.to_dict()["live"] == []


async def test_too_many_changes_are_refused() -> None:
    async with listening() as bench:
        for number in range(256):
            bench.faults.set(f"peer-{number}", None, 0.0)
        status, told = await bench.ask("PUT", "/v1/faults", json={"to": "one-more", "faults": None})
        assert status == 409
        assert "clear some" in told["remedy"]


async def test_with_a_token_only_who_shows_it_is_answered() -> None:
    async with listening(token=TOKEN) as bench:
        for header in ({}, {"Authorization": f"Bearer {TOKEN}x"}, {"Authorization": f"Basic {TOKEN}"}):
            for method in ("GET", "PUT", "DELETE"):
                status, told = await bench.ask(method, "/v1/faults", headers=header, json={"faults": None})
                assert (status, told["field"]) == (401, "Authorization")
        assert on_link(bench) == LinkFaults(0.1)
        right = {"Authorization": f"Bearer {TOKEN}"}
        assert (await bench.ask("GET", "/v1/status", headers=right))[0] == 200
        assert (await bench.ask("GET", "/healthz"))[0] == 200


async def test_a_page_whose_name_is_made_to_point_here_learns_nothing() -> None:
    """DNS rebinding: the browser connects to loopback, and says whom it believes to talk to."""
    async with listening() as bench:
        status, told = await bench.ask("GET", "/v1/status", headers={"Host": "evil.example:80"})
        assert (status, told["field"]) == (421, "Host")
        assert (await bench.ask("GET", "/v1/status", headers={"Host": "localhost"}))[0] == 200
        assert b" 421 " in await bench.throw(b"GET /v1/status HTTP/1.0\r\n\r\n")


async def test_elsewhere_than_on_loopback_it_listens_only_with_a_token() -> None:
    with pytest.raises(SettingError, match=r"admin: '192\.0\.2\.1:0' is not possible; without a token"):
        Bench(host="192.0.2.1")
    async with listening(host="::", token=TOKEN) as bench:
        right = {"Authorization": f"Bearer {TOKEN}", "Host": "machine.example"}
        assert (await bench.ask("GET", "/v1/status", headers=right))[0] == 200


async def test_a_port_that_is_taken_is_named() -> None:
    async with listening() as bench:
        other = Bench()
        other.server.port = bench.server.port
        with pytest.raises(
            TransportError, match=rf"admin: cannot listen on host '127\.0\.0\.1', port {other.server.port}"
        ):
            await other.server.start()
        await other.server.close()


async def test_a_bug_in_what_it_was_given_comes_out() -> None:
    async with listening() as bench:
        bench.told = {"peer": object()}
        for _ in range(2):
            status, told = await bench.ask("GET", "/v1/status")
            assert (status, told["value"]) == (500, "TypeError")
        with pytest.raises(TypeError):
            await bench.server.wait_failed()
    with pytest.raises(RuntimeError, match="start"):
        await Bench().server.wait_failed()


async def test_a_compressed_body_is_not_unpacked() -> None:
    async with listening() as bench:
        bomb = zlib.compress(b" " * 50_000_000)
        assert len(bomb) < BODY_BYTES_MAX
        status, told = await bench.ask(
            "PUT", "/v1/faults", data=bomb, headers={"Content-Encoding": "deflate"}
        )
        assert (status, told["field"]) == (400, "body")


@pytest.mark.parametrize(
    "data",
    [
        b"GET /v1/status HTT",
        b"GET /v1/status HTTP/1.1\r\nHost: localhost\r\nX-",
        b"PUT /v1/faults HTTP/1.1\r\nHost: localhost\r\nContent-Length: 50000\r\n\r\n{",
        b"PUT /v1/faults HTTP/1.1\r\nHost: localhost\r\nTransfer-Encoding: chunked\r\n\r\n4\r\n{",
    ],
)
async def test_a_slow_one_is_closed(monkeypatch: pytest.MonkeyPatch, data: bytes) -> None:
    monkeypatch.setattr(peer.admin, "CONNECTION_S", 0.1)
    monkeypatch.setattr(peer.admin, "SWEEP_S", 0.02)
    async with listening() as bench:
        assert await bench.throw(data) == b""
        assert (await bench.ask("GET", "/healthz"))[0] == 200


async def test_a_flood_of_connections_takes_the_places_there_are_and_no_more() -> None:
    async with listening() as bench:
        held = [
            await asyncio.open_connection(bench.server.host, bench.server.port)
            for _ in range(3 * CONNECTIONS_MAX)
        ]
        closed = [asyncio.create_task(reader.read()) for reader, _ in held]
        _, waiting = await asyncio.wait(closed, timeout=0.5)
        assert len(waiting) <= 2 * CONNECTIONS_MAX
        for task in waiting:
            task.cancel()
        for _, writer in held:
            await gone(writer)
        assert (await bench.ask("GET", "/healthz"))[0] == 200


async def test_closing_leaves_nothing_behind() -> None:
    async with listening() as bench:
        await bench.throw(b"GET /v1/status HTTP/1.1\r\nHost: localhost\r\n\r\n")
        _, writer = await asyncio.open_connection(bench.server.host, bench.server.port)
        port = bench.server.port
    await gone(writer)
    with pytest.raises(ConnectionError):
        await asyncio.open_connection("127.0.0.1", port)
    assert asyncio.all_tasks() == {asyncio.current_task()}
    await bench.server.close()


def certificate_files(folder: Path) -> tuple[Path, Path]:
    """A certificate of 127.0.0.1 that signs itself."""
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "admin")])
    now = datetime.datetime.now(datetime.UTC)
    day = datetime.timedelta(days=1)
    certificate = (
        x509.CertificateBuilder(
            name, name, key.public_key(), x509.random_serial_number(), now - day, now + day
        )
        .add_extension(
            x509.SubjectAlternativeName([x509.IPAddress(ipaddress.ip_address("127.0.0.1"))]), False
        )
        .sign(key, hashes.SHA256())
    )
    pem = serialization.Encoding.PEM
    files = (folder / "admin.crt", folder / "admin.key")
    files[0].write_bytes(certificate.public_bytes(pem))
    files[1].write_bytes(
        key.private_bytes(pem, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
    )
    return files


async def test_with_certificate_files_it_speaks_tls(tmp_path: Path) -> None:
    files = certificate_files(tmp_path)
    async with listening(tls=read_tls(*files), token=TOKEN) as bench:
        assert bench.server.url.startswith("https://127.0.0.1:")
        trusting = ssl.create_default_context(cafile=str(files[0]))
        right = {"Authorization": f"Bearer {TOKEN}"}
        assert (await bench.ask("GET", "/v1/status", headers=right, ssl=trusting))[0] == 200
        assert b"HTTP" not in await bench.throw(b"GET /healthz HTTP/1.1\r\nHost: localhost\r\n\r\n")
    with pytest.raises(SettingError, match=r"admin_cert: .*; give PEM files"):
        read_tls(files[1], files[1].with_name("none"))


def test_the_token_is_read_from_a_file(tmp_path: Path) -> None:
    file = tmp_path / "token"
    file.write_text(f"{TOKEN}\n", encoding="utf-8")
    assert read_token(file) == TOKEN
    file.write_bytes(b"\xff" * 20)
    for path in (file, tmp_path / "none"):
        with pytest.raises(
            SettingError, match=r"token: .* is not possible; give a file with one line of text"
        ):
            read_token(path)
    file.write_text("s3cr3", encoding="utf-8")
    with pytest.raises(
        SettingError, match=r"^admin_token: .*token' .*; it holds 5 characters: give 16"
    ) as raised:
        read_token(file, "admin_token")
    assert "s3cr3" not in str(raised.value)


def access(admin: str = "127.0.0.1:0", **files: Path) -> AdminAccess | None:
    named = {"token": None, "certificate": None, "key": None, **files}
    return admin_access(admin_address(admin), admin, or_a_free_port=False, **named)


def test_what_the_options_of_an_admin_listener_come_to(tmp_path: Path) -> None:
    token = tmp_path / "the token"
    token.write_text(TOKEN)
    certificate, key = certificate_files(tmp_path)
    assert access("none") is None
    plain = access("http://[::1]:7/")
    assert plain == AdminAccess("::1", 7)
    assert plain.command("http://[::1]:7") == "hyperpush status http://[::1]:7"
    full = access("https://0.0.0.0:0", token=token, certificate=certificate, key=key)
    assert full is not None
    assert (full.token, full.tls is None, full.shows_its_token) == (TOKEN, False, False)
    assert full.command("URL") == f"SSL_CERT_FILE={certificate} hyperpush status URL --token '{token}'"
    bare = access("0.0.0.0:0", token=token)
    assert bare is not None
    assert bare.shows_its_token
    near = access(token=token)
    assert near is not None
    assert not near.shows_its_token


@pytest.mark.parametrize(
    ("admin", "files", "told"),
    [
        ("0.0.0.0:0", (), "admin: '0.0.0.0:0' is not possible; without a token"),
        ("https://127.0.0.1:0", (), "admin: 'https://127.0.0.1:0' is not possible; with --admin-cert"),
        ("http://127.0.0.1:0", ("certificate", "key"), "admin: 'http://127.0.0.1:0' is not"),
        (
            "127.0.0.1:0",
            ("certificate",),
            "admin_cert: '{}/certificate' is not possible; give --admin-key FILE",
        ),
        ("127.0.0.1:0", ("key",), "admin_key: '{}/key' is not possible; give --admin-cert FILE"),
        (
            "127.0.0.1:0",
            ("certificate", "key"),
            "admin_cert: '{}/certificate, {}/key' is not possible; give PEM",
        ),
        ("none", ("certificate", "key"), "admin_cert: '{}/certificate' is not possible; with --admin none"),
        ("none", ("token",), "admin_token: '{}/token' is not possible; with --admin none"),
        ("127.0.0.1:0", ("token",), "admin_token: '{}/token' is not possible; give a file with one line of"),
        ("no-such-host.invalid:0", (), "admin: 'no-such-host.invalid:0' is not possible; the name"),
    ],
)
def test_admin_options_that_cannot_be_meant(
    admin: str, files: tuple[str, ...], told: str, tmp_path: Path
) -> None:
    with pytest.raises(SettingError) as raised:
        access(admin, **{name: tmp_path / name for name in files})
    assert str(raised.value).startswith(told.replace("{}", str(tmp_path)))


def test_a_host_to_listen_on_has_an_address() -> None:
    for host in ("127.0.0.1", "::", "0.0.0.0", "localhost"):  # noqa: S104  (nothing is bound)
        check_host("listen", host, host)
    for host in ("no-such-host.invalid", "x" * 70):
        with pytest.raises(
            SettingError, match=r"^listen: .* cannot be resolved \(.+\): give a name or an address"
        ):
            check_host("listen", f"{host}:0", host)
