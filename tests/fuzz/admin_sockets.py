"""Requests thrown at a real admin listener on loopback."""

from __future__ import annotations

import asyncio
import contextlib
import json
import re
from typing import Any

import torch

from peer.admin import AdminServer
from peer.admin_groups import description_routes, fault_routes, health_routes, status_routes
from peer.admin_predict import predict_routes
from peer.admin_routes import compose
from peer.predicting import Form, PersonalModel
from wire import FaultPlan, LiveFaults

TOKEN = "0123456789abcdef"  # noqa: S105  (of these tests only)
SILENT_S = 0.05  # after which the rest of a request is not to be expected
STATUS = re.compile(rb"HTTP/1\.[01] ([0-9]{3}) ")


async def no_problems() -> list[str]:
    """All agents work."""
    return []


class AdminSockets:
    """One connection per input, closed when nothing more comes."""

    name = "sockets"
    files = (
        *("peer/admin.py", "peer/admin_groups.py", "peer/admin_input.py", "peer/admin_predict.py"),
        *("peer/admin_routes.py", "peer/predicting.py"),
        *("peer/fault_words.py", "peer/problem_details.py"),
    )

    def __init__(self) -> None:
        self._runner = asyncio.Runner()
        self._faults = LiveFaults(FaultPlan())
        self._trouble: list[dict[str, Any]] = []
        routes = compose(
            health_routes(no_problems),
            description_routes(),
            status_routes(lambda: {"peer": "a"}),
            fault_routes(self._faults, lambda: 1.0),
            predict_routes(self._personal),
        )
        self._server = AdminServer("127.0.0.1", 0, routes, token=TOKEN)
        self._runner.get_loop().set_exception_handler(lambda _, context: self._trouble.append(context))
        self._runner.run(self._server.start())

    async def _personal(self) -> PersonalModel:
        return PersonalModel("a", 1, 1, torch.nn.Identity(), Form((2,), torch.float32), 2)

    def close(self) -> None:
        self._runner.run(self._server.close())
        self._runner.close()

    def seeds(self) -> list[bytes]:
        body = json.dumps({"to": "b", "faults": {"drop": 0.5}}).encode()
        right, length = f"Bearer {TOKEN}", ["Content-Length", "x"]
        inputs, right_kind = b'{"inputs": [[1, 2]]}', ["Content-Type", "application/json"]
        requests = [
            ["GET", "/v1/status", [["Host", "localhost"], ["Authorization", right]], b""],
            ["POST", "/v1/predict", [["Host", "a"], right_kind, ["Authorization", right], length], inputs],
            ["GET", "/healthz", [["Host", "localhost"]], b""],
            ["PUT", "/v1/faults", [["Host", "a"], ["Authorization", right], ["Content-Length", "x"]], body],
            ["PUT", "/v1/faults", [["Transfer-Encoding", "chunked"]], b"4\r\n{}  \r\n0\r\n\r\n"],
            ["DELETE", "/v1/faults?to=b", [["Authorization", right], ["Connection", "close"]], b""],
        ]
        return [self.write(request) for request in requests]

    def read(self, data: bytes) -> Any:
        head, _, body = data.partition(b"\r\n\r\n")
        line, *headers = head.decode("latin-1").split("\r\n")
        method, _, path = line.partition(" ")
        return [method, path.removesuffix(" HTTP/1.1"), [header.split(": ", 1) for header in headers], body]

    def write(self, tree: Any) -> bytes:
        method, path, headers, body = tree
        known = [[str(part) for part in header] for header in headers]
        length = [
            ["Content-Length", str(len(body))] if name == ["Content-Length", "x"] else name for name in known
        ]
        head = "\r\n".join([f"{method} {path} HTTP/1.1", *(": ".join(header) for header in length)])
        return head.encode("latin-1", errors="replace") + b"\r\n\r\n" + body

    def throw(self, data: bytes) -> str:
        """An answer that is no bug of ours, or a closed socket; without the token nothing changes."""
        before = self._faults.plan
        answer = self._runner.run(self._ask(data))
        assert not self._trouble, self._trouble
        status = STATUS.match(answer)
        assert status is None or status[1] != b"500", answer[:300]
        if TOKEN.encode() not in data:
            assert self._faults.plan is before, "nobody changes faults without the token"
        self._faults.clear()
        return "closed" if status is None else status[1].decode()

    async def _ask(self, data: bytes) -> bytes:
        reader, writer = await asyncio.open_connection(self._server.host, self._server.port)
        answer = b""
        try:
            writer.write(data)
            while part := await asyncio.wait_for(reader.read(65_536), SILENT_S):
                answer += part
        except (ConnectionError, TimeoutError):
            pass  # closed before all was written or read; or it waits for more
        finally:
            writer.close()
            with contextlib.suppress(ConnectionError):
                await writer.wait_closed()
        return answer
