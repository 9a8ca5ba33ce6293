import contextlib

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from wire import AddressError, Array, format_address, parse_address
from wire.push_socket import url_of


@pytest.mark.parametrize(
    ("text", "host", "port"),
    [
        ("127.0.0.1:7700", "127.0.0.1", 7700),
        ("node-3.example.org:1", "node-3.example.org", 1),
        ("a:65535", "a", 65535),
        ("[::1]:7700", "::1", 7700),
        ("[fe80::1%eth0]:80", "fe80::1%eth0", 80),
        ("[::ffff:192.0.2.1]:80", "::ffff:192.0.2.1", 80),
        ("a" * 63 + ".b:80", "a" * 63 + ".b", 80),
    ],
)
def test_addresses_read_and_written(text: str, host: str, port: int) -> None:
    assert parse_address(text) == (host, port)
    assert format_address(host, port) == text


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("", "no port"),
        ("localhost", "no port"),
        (":80", "no usable host"),
        ("::1:80", "no usable host"),
        ("a b:80", "no usable host"),
        ("evil/../path:80", "no usable host"),
        ("user@host:80", "no usable host"),
        ("host:", "port ''"),
        ("host:0", "port '0'"),
        ("host:65536", "port '65536'"),
        ("host:٣", "port '٣'"),
        ("host:+80", "port '+80'"),
        ("h" * 300 + ":80", "at most 261"),
        ("[::::]:1", "no IPv6 address: write [IPv6]:PORT"),
        ("[192.0.2.1]:1", "no IPv6 address"),
        ("[::::%eth0]:1", "no IPv6 address"),
        ("a..b:1", "write 1 to 63 bytes between two dots"),
        ("a" * 64 + ".b:1", "write 1 to 63 bytes between two dots"),
    ],
)
def test_a_bad_address_is_named_with_its_remedy(text: str, problem: str) -> None:
    with pytest.raises(AddressError) as caught:
        parse_address(text)
    assert problem in str(caught.value)
    assert isinstance(caught.value, ValueError)


def test_count_is_in_elements() -> None:
    assert Array("<f4", bytes(12)).count == 3
    assert Array("<f8", memoryview(bytes(16))).count == 2


LABELS = st.text("abz09-_.", max_size=70) | st.sampled_from(["xn--a", "xn--", "0x7f", "999"])
HOSTS = st.lists(LABELS, min_size=1, max_size=4).map(".".join)
BRACKETED = st.text("0123456789abcdefF:.%-_", max_size=45).map("[{}]".format)


@given(
    st.builds("{}:{}".format, HOSTS | BRACKETED | st.text(max_size=20), st.integers(0, 70_000)) | st.text()
)
@example("[::1%-._]:1")
@example("xn--a:1")
@example("[::::]:1")
@example("a" * 64 + ".b:1")
def test_whatever_is_accepted_can_be_dialled(text: str) -> None:
    """A stranger writes addresses: what passes here must reach the resolver, not end the sender."""
    with contextlib.suppress(AddressError):
        host, port = parse_address(text)
        url = url_of(text, "/v1/push")
        assert url.port == port
        assert url.raw_host
        url.raw_host.encode("idna")
        host.encode("idna")
