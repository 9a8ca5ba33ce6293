"""Asks the admin listener of a live agent. An edge: asyncio and aiohttp."""

from __future__ import annotations

import asyncio
import io
import json
import ssl
from pathlib import Path
from typing import TYPE_CHECKING, Final, NamedTuple

import aiohttp
import yarl

from peer.admin_access import read_token
from peer.admin_input import JSON_TYPE
from peer.errors import HyperpushError, SettingError
from peer.options import admin_address
from peer.problem_details import read_problem
from wire import AddressError, TransportError, format_address
from wire.addresses import WILDCARDS

if TYPE_CHECKING:
    from collections.abc import Mapping

DEFAULT_ADMIN: Final = "127.0.0.1:7701"  # of an agent that was told nothing else
URL, TOKEN, CERTIFICATE = "HYPERPUSH_ADMIN", "HYPERPUSH_ADMIN_TOKEN", "HYPERPUSH_ADMIN_CERT"


class Body(NamedTuple):
    """What is sent, and its media type."""

    content: bytes
    kind: str


class Limits(NamedTuple):
    """Of one request and its answer."""

    timeout_s: float
    answer_bytes_max: int


LIMITS: Final = Limits(10.0, 8 * 2**20)  # the status of an agent that knows as many peers as it may


def admin_client(url: str | None, token: Path | None, environment: Mapping[str, str]) -> AdminClient:
    """Asks `url`, showing what the file `token` has; what is None comes from where `run` takes it.

    With $HYPERPUSH_ADMIN_CERT an address without a scheme is asked by https, and that certificate is trusted.
    Raises `SettingError`.
    """
    secret, certificate = environment.get(TOKEN), environment.get(CERTIFICATE)
    return AdminClient(
        url or _listener(environment.get(URL) or DEFAULT_ADMIN),
        token if token is not None or not secret else Path(secret),
        token_named="token" if token is not None or not secret else TOKEN,
        certificate=Path(certificate) if certificate else None,
    )


def _listener(told: str) -> str:
    """Where to ask an agent whose `run` was told this by $HYPERPUSH_ADMIN. Raises `SettingError`."""
    try:
        where = admin_address(told)
    except AddressError as error:
        raise SettingError(URL, told, str(error)) from None
    if where is None:
        raise SettingError(URL, told, "such an agent cannot be asked: give the URL of another one")
    host, port = where
    if port == 0:
        raise SettingError(URL, told, "the agent took a free port: give the URL that `run` printed")
    host = {4: "127.0.0.1", 6: "::1"}.get(WILDCARDS.get(host, 0), host)  # all addresses: also this one
    scheme, separator, _ = told.rpartition("://")
    return f"{scheme}{separator}{format_address(host, port)}"


class AdminClient:
    """Of one agent, by the URL of its `--admin`."""

    def __init__(
        self,
        url: str,
        token: Path | None,
        *,
        token_named: str = "token",  # noqa: S107
        certificate: Path | None = None,
    ) -> None:
        """`token` is the file that has it, given as the option `token_named`; `certificate` is trusted.

        Without a scheme in `url` it is https if there is such a certificate. Raises `SettingError`.
        """
        self.url = url if "://" in url else f"{'http' if certificate is None else 'https'}://{url}"
        try:
            parsed = yarl.URL(self.url)
        except ValueError:
            parsed = yarl.URL()
        if parsed.scheme not in ("http", "https") or parsed.host is None:
            raise SettingError("url", url, "give that of the agent's --admin, such as http://127.0.0.1:7701")
        self._headers = {} if token is None else {"Authorization": f"Bearer {read_token(token, token_named)}"}
        self._token_file = token
        self._token_named = token_named
        self._tls = _trusting(certificate) if parsed.scheme == "https" else None

    def ask(
        self,
        method: str,
        path: str,
        *,
        query: Mapping[str, str] | None = None,
        content: object = None,
        body: Body | None = None,
        limits: Limits = LIMITS,
    ) -> Mapping[str, object]:
        """The object that the agent answers. `content` is sent as JSON, `body` as it is; give one at most.

        Raises `wire.TransportError` if there is no agent, `SettingError` if it refuses.
        """
        if content is not None:
            body = Body(json.dumps(content).encode(), JSON_TYPE)
        try:
            status, text = asyncio.run(self._send(method, path, query, body, limits))
        except aiohttp.ClientConnectorCertificateError as error:
            remedy = "set SSL_CERT_FILE to the certificate that the agent uses, and ask by a name in it"
            raise TransportError(f"{self.url} is not trusted: {error}; {remedy}") from None
        except (aiohttp.ClientError, TimeoutError, OSError, ValueError) as error:
            reason = str(error) or type(error).__name__
            raise TransportError(f"no answer from {self.url}: {reason}; {self._remedy(error)}") from None
        try:
            answer: object = json.loads(text)
        except (ValueError, RecursionError):
            answer = None
        if not isinstance(answer, dict):
            raise TransportError(f"what answers at {self.url} is no agent: HTTP status {status}")
        if status == 200:
            return answer
        if status == 401:
            remedy = "give --token FILE, with the file of the agent's --admin-token"
            if self._token_file is None:
                raise HyperpushError(f"{self.url} asks for a token; {remedy}")
            raise SettingError(self._token_named, str(self._token_file), remedy)
        refused = read_problem(answer)
        if refused is None:
            raise TransportError(f"what answers at {self.url} is no agent: HTTP status {status}")
        raise refused

    def _remedy(self, error: Exception) -> str:
        scheme, _, rest = self.url.partition("://")
        if scheme == "http" and isinstance(
            error, aiohttp.ServerDisconnectedError | aiohttp.ClientResponseError
        ):
            return f"does the agent have --admin-cert? Then ask https://{rest}"
        if isinstance(error, aiohttp.ClientConnectorSSLError):
            return f"does the agent have no --admin-cert? Then ask http://{rest}"
        return "is the agent running, and is this the URL it printed for its --admin?"

    async def _send(
        self, method: str, path: str, query: Mapping[str, str] | None, body: Body | None, limits: Limits
    ) -> tuple[int, bytes]:
        timeout = aiohttp.ClientTimeout(total=limits.timeout_s)
        url = yarl.URL(self.url).with_path(path).with_query(query)
        data = None if body is None else io.BytesIO(body.content)  # as a file, which is sent in parts
        headers = {} if body is None else {"Content-Type": body.kind}
        async with (
            aiohttp.ClientSession(timeout=timeout, headers={**self._headers, **headers}) as session,
            session.request(method, url, data=data, allow_redirects=False, ssl=self._tls or True) as response,
        ):
            text = bytearray()
            async for chunk in response.content.iter_any():
                text += chunk
                if len(text) > limits.answer_bytes_max:
                    raise ValueError(f"it is longer than {limits.answer_bytes_max} bytes")
            return response.status, bytes(text)


def _trusting(certificate: Path | None) -> ssl.SSLContext:
    """Trusts what the system does, and this certificate. Raises `SettingError`."""
    context = ssl.create_default_context()
    if certificate is not None:
        context.verify_flags |= ssl.VERIFY_X509_PARTIAL_CHAIN  # itself, whoever has signed it
        try:
            context.load_verify_locations(certificate)
        except OSError as error:  # those of TLS are some
            raise SettingError(CERTIFICATE, str(certificate), f"give a PEM file: {error}") from None
    return context
