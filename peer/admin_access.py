"""Who may ask the admin listener of an agent, and how: all of it checked before anything is opened. An edge.

Reads the files that the options name; listens nowhere.
"""

from __future__ import annotations

import shlex
import socket
import ssl
from dataclasses import dataclass
from typing import TYPE_CHECKING

from cryptography import x509

from peer.admin_input import check_token
from peer.errors import SettingError
from wire import format_address
from wire.addresses import is_loopback

if TYPE_CHECKING:
    from pathlib import Path


@dataclass(frozen=True, slots=True)
class AdminAccess:
    """Where people ask, and what they have to show."""

    host: str
    port: int  # 0: a free one
    token: str | None = None
    tls: ssl.SSLContext | None = None
    or_a_free_port: bool = False  # if that one is taken
    asked_with: tuple[str, str] = ("", "")  # what stands around `hyperpush status URL`, for a shell

    @property
    def shows_its_token(self) -> bool:
        """Whether the token travels where others may read it."""
        return self.token is not None and self.tls is None and not is_loopback(self.host)

    def command(self, url: str) -> str:
        """What to type, to be told the status."""
        before, after = self.asked_with
        return f"{before}hyperpush status {url}{after}"


def admin_access(
    where: tuple[str, int] | None,
    given: str,
    *,
    token: Path | None,
    certificate: Path | None,
    key: Path | None,
    or_a_free_port: bool,
) -> AdminAccess | None:
    """What these options of `run` come to; None if nothing is to listen.

    `given` is what `--admin` was given, which means `where`. Raises `SettingError` for what cannot be meant
    together, and for files that do not hold what they should.
    """
    named = {"admin_token": token, "admin_cert": certificate, "admin_key": key}
    if where is None:
        for field, path in named.items():
            if path is not None:
                remedy = (
                    f"with --admin {given} there is nobody to ask: leave it out, or give --admin HOST:PORT"
                )
                raise SettingError(field, str(path), remedy)
        return None
    for field, path, other in (
        ("admin_cert", certificate, ("--admin-key", key)),
        ("admin_key", key, ("--admin-cert", certificate)),
    ):
        if path is not None and other[1] is None:
            raise SettingError(field, str(path), f"give {other[0]} FILE as well, or neither of them")
    scheme = "http" if certificate is None else "https"
    if "://" in given and not given.startswith(f"{scheme}://"):
        remedy = "with --admin-cert and --admin-key it is https://, without them http://"
        raise SettingError("admin", given, remedy)
    host, port = where
    check_host("admin", given, host)
    secret = None if token is None else read_token(token, "admin_token")
    check_reach(host, port, secret)
    tls = None if certificate is None or key is None else read_tls(certificate, key)
    before = after = ""
    if certificate is not None and _is_self_signed(certificate):
        before = f"SSL_CERT_FILE={shlex.quote(str(certificate))} "
    if token is not None:
        after = f" --token {shlex.quote(str(token))}"
    return AdminAccess(host, port, secret, tls, or_a_free_port, (before, after))


def check_reach(host: str, port: int, token: str | None) -> None:
    """Raise `SettingError` if anybody on the network could ask without a token."""
    if token is None and not is_loopback(host):
        remedy = "without a token it listens on this machine only: give 127.0.0.1:PORT, or --admin-token FILE"
        raise SettingError("admin", format_address(host, port), remedy)


def check_host(field: str, given: str, host: str) -> None:
    """Raise `SettingError` if a host to listen on is a name that has no address."""
    try:
        socket.getaddrinfo(host, None, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE)
    except (OSError, UnicodeError) as error:
        reason = (error.strerror if isinstance(error, OSError) else None) or str(error)
        remedy = f"the name {host!r} cannot be resolved ({reason}): give a name or an address of this machine"
        raise SettingError(field, given, remedy) from None


def read_token(path: Path, field: str = "token") -> str:
    """The token in this file. Raises `SettingError` for the option `field`, not showing the token."""
    try:
        text = path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        reason = (error.strerror if isinstance(error, OSError) else None) or str(error)
        raise SettingError(field, str(path), f"give a file with one line of text: {reason}") from None
    try:
        return check_token(text)
    except SettingError as error:
        raise SettingError(field, str(path), f"it holds {error.value}: {error.remedy}") from None


def read_tls(certificate: Path, key: Path) -> ssl.SSLContext:
    """To listen with these files. Raises `SettingError`."""
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    try:
        context.load_cert_chain(certificate, key)
    except (OSError, ssl.SSLError) as error:
        remedy = f"give PEM files of a certificate and, with --admin-key, of its private key: {error}"
        raise SettingError("admin_cert", f"{certificate}, {key}", remedy) from None
    return context


def _is_self_signed(certificate: Path) -> bool:
    """Nobody trusts it who was not given it. What is no certificate is told by `read_tls`."""
    try:
        found = x509.load_pem_x509_certificate(certificate.read_bytes())
    except (OSError, ValueError):
        return False
    return found.issuer == found.subject
