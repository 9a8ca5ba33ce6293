"""Whatever is thrown at the admin listener: an answer or a closed socket, no bug, no change nobody meant."""

from __future__ import annotations

import asyncio
import contextlib
import json
import math
import tracemalloc
from typing import TYPE_CHECKING

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

import peer.admin
from peer.admin import AdminServer
from peer.admin_groups import fault_routes, health_routes, status_routes
from peer.admin_input import bearer_matches, read_fault_request, read_peer
from peer.admin_routes import compose
from peer.errors import SettingError
from tests.fuzz.admin_sockets import no_problems
from wire import FaultPlan, LiveFaults
from wire.addresses import host_is_loopback

if TYPE_CHECKING:
    from collections.abc import Iterator

TOKEN = "0123456789abcdef"  # noqa: S105  (of these tests only)
RIGHT = f"Bearer {TOKEN}".encode()
ANSWER_S = 5.0
MEMORY_BYTES_MAX = 3_000_000  # of client and listener together; kept, what is thrown would take more
PART_BYTES = 65_536

SCALARS = (
    st.none()
    | st.booleans()
    | st.integers()
    | st.sampled_from([10**400, -(10**400), 2**64, 0, 1, -1])
    | st.floats()
    | st.text(max_size=20)
    | st.sampled_from(["20ms", "lognormal:50ms:0.5", "256kbit", "1e999s", "9" * 300 + "s", "b", "\ud800"])
)
VALUES = st.recursive(
    SCALARS,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
)
FAULTS = st.dictionaries(
    st.sampled_from(
        ["drop", "delay_s", "duplicate", "reorder", "reorder_window_s", "bandwidth_bits_per_s", "x"]
    ),
    VALUES,
    max_size=4,
)
REQUESTS = st.dictionaries(
    st.sampled_from(["to", "faults", "for_s", "x"]), VALUES | FAULTS, max_size=4
) | st.fixed_dictionaries({"faults": FAULTS, "to": st.none() | st.text(max_size=70), "for_s": SCALARS})
BODIES = REQUESTS.map(lambda values: json.dumps(values).encode()) | st.binary(max_size=200)


@given(BODIES)
@settings(max_examples=200, deadline=None)
def test_a_body_is_a_change_that_can_be_made_or_is_refused_in_few_words(body: bytes) -> None:
    try:
        asked = read_fault_request(body)
    except SettingError as error:
        refused = str(error)
    else:
        refused = ""
        live = LiveFaults(FaultPlan())
        live.set(asked.to, asked.faults, 5.0, asked.duration_s)
        json.dumps(live.to_dict(), allow_nan=False)
        faults = live.faults_on("a", asked.to or "b", 5.0)
        assert (faults is None) == (asked.faults is None)
        assert asked.duration_s is None or 0 < asked.duration_s < math.inf
    assert len(refused) < 600


@given(st.none() | st.text(st.characters()), VALUES)
@settings(max_examples=300, deadline=None)
def test_headers_and_names_are_believed_or_not(text: str | None, value: object) -> None:
    assert not bearer_matches(text, TOKEN)
    assert isinstance(host_is_loopback(text), bool)
    with contextlib.suppress(SettingError):
        assert read_peer(value) == value


class Target:
    """A listener in a loop of its own, thrown at example by example."""

    def __init__(self, runner: asyncio.Runner) -> None:
        self.runner = runner
        self.faults = LiveFaults(FaultPlan())
        self.trouble: list[dict[str, object]] = []
        self.answered = self.changed = 0
        routes = compose(
            health_routes(no_problems),
            status_routes(lambda: {"peer": "a"}),
            fault_routes(self.faults, lambda: 1.0),
        )
        self.server = AdminServer("127.0.0.1", 0, routes, token=TOKEN)
        runner.get_loop().set_exception_handler(lambda _, context: self.trouble.append(context))
        runner.run(self.server.start())

    async def throw(self, data: bytes) -> bytes:
        """What comes back until the listener closes, which it does soon: see `target`."""
        answer = b""
        reader, writer = await asyncio.open_connection(self.server.host, self.server.port)
        try:
            async with asyncio.timeout(ANSWER_S):
                for start in range(0, len(data), PART_BYTES):
                    writer.write(data[start : start + PART_BYTES])
                    await writer.drain()
                while part := await reader.read(PART_BYTES):
                    answer += part
        except ConnectionError:
            pass  # closed before all was written or read
        finally:
            writer.close()
            with contextlib.suppress(ConnectionError):
                await writer.wait_closed()
        return answer

    def healthy(self) -> bool:
        asked = b"GET /healthz HTTP/1.1\r\nHost: localhost\r\n\r\n"
        return b'{"ok": true,' in self.runner.run(self.throw(asked))


@pytest.fixture(scope="module")
def target() -> Iterator[Target]:
    with pytest.MonkeyPatch.context() as monkeypatch, asyncio.Runner() as runner:
        monkeypatch.setattr(peer.admin, "CONNECTION_S", 0.2)
        monkeypatch.setattr(peer.admin, "SWEEP_S", 0.02)
        found = Target(runner)
        yield found
        assert found.healthy()
        runner.run(found.server.close())
        assert not found.trouble, found.trouble
        assert found.server._failed is not None
        assert not found.server._failed.done()


NAMES = st.sampled_from(
    [
        *("Host", "Authorization", "Content-Length", "Transfer-Encoding", "Content-Type"),
        *("Content-Encoding", "Connection", "Upgrade", "Expect", "Origin", "Cookie", "Range"),
    ]
)
HEADER_VALUES = st.binary(max_size=30) | st.sampled_from(
    [
        *(b"localhost", b"127.0.0.1", b"chunked", b"gzip", b"deflate", b"br", b"0", b"5", b"-1", b"9" * 20),
        *(b"close", b"keep-alive", b"upgrade", b"websocket", b"100-continue", b"bytes=0-", RIGHT),
    ]
)
METHODS = st.sampled_from([b"GET", b"PUT", b"PUT", b"DELETE", b"HEAD", b"OPTIONS", b"POST", b"CONNECT", b"x"])
PATHS = st.sampled_from(
    [
        *(b"/v1/status", b"/v1/faults", b"/v1/faults", b"/v1/faults?to=b", b"/v1/faults?to=%ff%00"),
        *(b"/", b"//", b"*", b"http://[::1", b"/%2e?%", b"/healthz"),
    ]
)
REQUEST_LINES = st.binary(max_size=40) | st.builds(b"%b %b HTTP/1.1".__mod__, st.tuples(METHODS, PATHS))


@st.composite
def requests(draw: st.DrawFn) -> bytes:
    """Bytes that are more or less a request."""
    line, body = draw(REQUEST_LINES), draw(BODIES)
    headers = draw(st.lists(st.tuples(NAMES, HEADER_VALUES), max_size=3))
    if draw(st.booleans()):  # much of it right, else little is understood
        line = draw(st.sampled_from([b"PUT /v1/faults HTTP/1.1", b"DELETE /v1/faults?to=b HTTP/1.1"]))
        body = draw(st.sampled_from([b'{"faults": null}', b'{"faults": {"drop": 1}}', body]))
        length = draw(st.sampled_from([len(body), len(body), len(body) + 1, 0]))
        headers = [
            ("Host", b"localhost"),
            ("Content-Length", b"%d" % length),
            *draw(st.sampled_from([[], [("Authorization", RIGHT)]])),
            *headers[:1],
        ]
    head = b"".join(name.encode() + b": " + value + b"\r\n" for name, value in headers)
    return line + b"\r\n" + head + b"\r\n" + body


@given(st.lists(requests(), min_size=12, max_size=12))
@settings(max_examples=40, deadline=None, suppress_health_check=list(HealthCheck))
def test_any_bytes_get_an_answer_or_a_closed_socket(target: Target, thrown: list[bytes]) -> None:
    before = target.faults.plan

    async def throw_all() -> list[bytes]:
        return await asyncio.gather(*(target.throw(data) for data in thrown))

    for answer in target.runner.run(throw_all()):
        assert b" 500 " not in answer.split(b"\r\n", 1)[0]
        target.answered += answer.startswith(b"HTTP/1.")
    if not any(RIGHT in data for data in thrown):
        assert target.faults.plan is before, "nobody changes faults without the token"
    target.changed += target.faults.plan is not before
    target.faults.clear()


def test_some_of_it_was_understood(target: Target) -> None:
    """Else the test before has thrown at a closed door."""
    assert target.answered > 100
    assert target.changed > 0


@pytest.mark.parametrize(
    "data",
    [
        b"GET / HTTP/1.1\r\n" + b"X-Header: " + b"x" * 4_000_000,
        b"GET / HTTP/1.1\r\n" + b"".join(b"X-%d: x\r\n" % number for number in range(400_000)),
        b"GET /" + b"x" * 4_000_000,
        b"PUT /v1/faults HTTP/1.1\r\nHost: localhost\r\nAuthorization: Bearer 0123456789abcdef\r\n"
        b"Content-Length: 4000000\r\n\r\n" + b" " * 4_000_000,
        b"GET /healthz HTTP/1.1\r\nHost: localhost\r\n\r\n" * 120_000,
        b"\r\n" * 3_000_000,
    ],
    ids=["one long header", "many headers", "a long path", "a long body", "many requests", "empty lines"],
)
def test_memory_is_bounded_whatever_comes(target: Target, data: bytes) -> None:
    async def flood() -> int:
        await target.throw(data[:PART_BYTES])
        tracemalloc.start()
        try:
            await target.throw(data)
            return tracemalloc.get_traced_memory()[1]
        finally:
            tracemalloc.stop()

    assert target.runner.run(flood()) < MEMORY_BYTES_MAX
    assert target.healthy()
