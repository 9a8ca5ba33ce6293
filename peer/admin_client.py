"""Asks the admin listener of a live agent. An edge: asyncio and aiohttp."""

from __future__ import annotations

import asyncio
import json
from typing import TYPE_CHECKING, Final

import aiohttp
import yarl

from peer.admin import read_token
from peer.errors import SettingError
from wire import TransportError

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

TIMEOUT_S: Final = 10.0
ANSWER_BYTES_MAX: Final = 8 * 2**20  # the status of an agent that knows as many peers as it may


class AdminClient:
    """Of one agent, by the URL of its `--admin`."""

    def __init__(self, url: str, token: Path | None) -> None:
        """`token` is the file that has it. Raises `SettingError`."""
        self.url = url if "://" in url else f"http://{url}"
        try:
            parsed = yarl.URL(self.url)
            usable = parsed.scheme in ("http", "https") and parsed.host is not None
        except ValueError:
            usable = False
        if not usable:
            raise SettingError("url", url, "give that of the agent's --admin, such as http://127.0.0.1:7701")
        self._headers = {} if token is None else {"Authorization": f"Bearer {read_token(token)}"}
        self._token_file = token

    def ask(
        self, method: str, path: str, *, query: Mapping[str, str] | None = None, content: object = None
    ) -> Mapping[str, object]:
        """The object that the agent answers.

        Raises `wire.TransportError` if there is no agent, `SettingError` if it refuses.
        """
        body = None if content is None else json.dumps(content).encode()
        try:
            status, text = asyncio.run(self._send(method, path, query, body))
        except aiohttp.ClientConnectorCertificateError as error:
            remedy = "set SSL_CERT_FILE to the file of the certificate that the agent uses"
            raise TransportError(f"{self.url} is not trusted: {error}; {remedy}") from None
        except (aiohttp.ClientError, TimeoutError, OSError, ValueError) as error:
            reason = str(error) or type(error).__name__
            remedy = "is the agent running, and is this the URL it printed for its --admin?"
            raise TransportError(f"no answer from {self.url}: {reason}; {remedy}") from None
        try:
            answer: object = json.loads(text)
        except (ValueError, RecursionError):
            answer = None
        if not isinstance(answer, dict):
            raise TransportError(f"what answers at {self.url} is no agent: HTTP status {status}")
        if status == 200:
            return answer
        if status == 401:
            shown = None if self._token_file is None else str(self._token_file)
            raise SettingError(
                "token", shown, "give --token FILE, with the file of the agent's --admin-token"
            )
        said = answer.get("error")
        refused = said if isinstance(said, dict) else {}
        field, remedy = (_printable(refused.get(name)) for name in ("field", "remedy"))
        raise SettingError(field, refused.get("value"), remedy)

    async def _send(
        self, method: str, path: str, query: Mapping[str, str] | None, body: bytes | None
    ) -> tuple[int, bytes]:
        timeout = aiohttp.ClientTimeout(total=TIMEOUT_S)
        url = yarl.URL(self.url).with_path(path).with_query(query)
        async with (
            aiohttp.ClientSession(timeout=timeout, headers=self._headers) as session,
            session.request(method, url, data=body, allow_redirects=False) as response,
        ):
            text = b""
            async for chunk in response.content.iter_any():
                text += chunk
                if len(text) > ANSWER_BYTES_MAX:
                    raise ValueError(f"it is longer than {ANSWER_BYTES_MAX} bytes")
            return response.status, text


def _printable(text: object) -> str:
    return "".join(letter if letter.isprintable() else "?" for letter in str(text))
