import pytest

from wire import AddressError, Array, format_address, parse_address


@pytest.mark.parametrize(
    ("text", "host", "port"),
    [
        ("127.0.0.1:7700", "127.0.0.1", 7700),
        ("node-3.example.org:1", "node-3.example.org", 1),
        ("a:65535", "a", 65535),
        ("[::1]:7700", "::1", 7700),
        ("[fe80::1%eth0]:80", "fe80::1%eth0", 80),
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
