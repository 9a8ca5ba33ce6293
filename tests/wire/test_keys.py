import base64
import itertools

import pytest
from hypothesis import given
from hypothesis import strategies as st

from wire import PEER_ID_BYTES_MAX
from wire.errors import KeyFileError
from wire.keys import (
    ALLOWED_MAX,
    SWARM_KEYS_MAX,
    KeyRing,
    SigningIdentity,
    display_fingerprint,
    fingerprint_of_peer,
    parse_allow_list,
    parse_fingerprint,
    peer_name,
    public_fingerprint,
)
from wire.messages import name_problem

SECRET = bytes(range(32))
LINE = "hyperpush-swarm-key-1 AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8="
FINGERPRINT = "7afw4pkxhbgvuxbzwmau"


def swarm_line(index: int) -> str:
    return KeyRing.new(index.to_bytes(32, "little")).to_text()


def test_golden_files_and_fingerprints() -> None:
    """These texts lie in files and on other machines: a change here needs a new name in front of the line."""
    ring = KeyRing.new(SECRET)
    assert ring.to_text() == LINE + "\n"
    assert ring.key_ids == ("33744114",)
    # RFC 8032, 7.1, test 1.
    identity = SigningIdentity(
        bytes.fromhex("9d61b19deffd5a60ba844af492ec2cc44449c5697b326919703bac031cae7f60")
    )
    assert identity.public.hex() == "d75a980182b10ab7d54bfed3c964073a0ee172f3daa62325af021a68f707511a"
    assert (
        identity.sign(b"")
        .hex()
        .startswith("e5564300c360ac729086e2cc806e828a84877f1eb8e5d974d873e06522490155")
    )
    assert identity.to_text() == "hyperpush-identity-key-1 nWGxne/9WmC6hEr0kuwsxERJxWl7MmkZcDusAxyuf2A=\n"
    assert identity.fingerprint == public_fingerprint(identity.public) == FINGERPRINT


@given(st.lists(st.binary(min_size=32, max_size=32), min_size=1, max_size=SWARM_KEYS_MAX, unique=True))
def test_a_ring_keeps_the_order_of_its_file(secrets: list[bytes]) -> None:
    rings = [KeyRing.new(secret) for secret in secrets]
    ring = KeyRing.parse("\n# comment\n".join(one.to_text() for one in rings))
    assert [key.secret for key in ring.keys] == secrets
    assert ring.sealing.secret == secrets[0]
    assert KeyRing.parse(ring.to_text()) == ring
    for one in rings:
        assert ring.find(bytes.fromhex(one.key_ids[0])) == one.sealing
    assert ring.find(b"none") is None


def test_a_file_may_come_from_any_editor() -> None:
    text = f"\ufeff# ours\r\n\r\n  {LINE}   # since May\r\n"
    assert KeyRing.parse(text) == KeyRing.new(SECRET)
    assert (
        SigningIdentity.parse(text.replace("swarm-key", "identity-key")).public
        == SigningIdentity(SECRET).public
    )


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("", "no key: make a key file"),
        ("# only this\n", "no key"),
        (f"{LINE}\n{LINE}", "line 2 repeats the key of line 1: remove one"),
        ("".join(map(swarm_line, range(SWARM_KEYS_MAX + 1))), "line 9 is one key too many, at most 8"),
        ("\n" + LINE.replace("key-1", "key-2"), "line 2 does not begin with `hyperpush-swarm-key-1 `"),
        (LINE.split()[1], "line 1 does not begin with"),
        (LINE.replace("swarm", "identity"), "line 1 does not begin with"),
        (LINE[:-1], "line 1 has no base64"),
        (LINE.replace("Aw", "A!"), "line 1 has no base64"),
        (LINE + " " + LINE, "line 1 has no base64"),
        (LINE.replace("Aw", "Äw"), "line 1 has no base64"),
        ("hyperpush-swarm-key-1", "line 1 holds 0 bytes, a key has 32: copy the whole line again"),
        (LINE[:-4], "line 1 holds 30 bytes"),
    ],
)
def test_key_files_that_cannot_be_read(text: str, problem: str) -> None:
    with pytest.raises(KeyFileError) as caught:
        KeyRing.parse(text)
    assert problem in str(caught.value)


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("", "expected one line `hyperpush-identity-key-1 BASE64`, there are 0"),
        (2 * SigningIdentity(SECRET).to_text(), "there are 2"),
        (LINE, "line 1 does not begin with `hyperpush-identity-key-1 `"),
    ],
)
def test_identity_files_that_cannot_be_read(text: str, problem: str) -> None:
    with pytest.raises(KeyFileError) as caught:
        SigningIdentity.parse(text)
    assert problem in str(caught.value)


def test_keys_have_one_length() -> None:
    for make in (KeyRing.new, SigningIdentity):
        with pytest.raises(KeyFileError, match="has 32 bytes, not 31"):
            make(SECRET[:31])


def test_no_secret_is_shown() -> None:
    """Neither in what is printed for debugging, nor in an error about the line that holds it."""
    ring, identity = KeyRing.new(SECRET), SigningIdentity(SECRET)
    shown = [repr(ring), repr(ring.sealing), str(ring), repr(identity), f"{identity}", *ring.key_ids]
    for line in (LINE[:-4], LINE[10:], LINE + LINE, LINE.replace("key", "kex")):
        with pytest.raises(KeyFileError) as caught:
            KeyRing.parse(line)
        shown.append(repr(caught.value))
        assert caught.value.__context__ is None or caught.value.__suppress_context__
    encoded = base64.b64encode(SECRET).decode()
    for text, part in itertools.product(shown, (encoded[4:12], SECRET[:8].hex(), repr(SECRET)[2:-1][:16])):
        assert part not in text


def test_only_its_identity_signs() -> None:
    one, other = SigningIdentity(SECRET), SigningIdentity(SECRET[::-1])
    assert one.sign(b"this") == SigningIdentity.parse(one.to_text()).sign(b"this")
    assert len({one.sign(b"this"), one.sign(b"that"), other.sign(b"this")}) == 3
    assert one.fingerprint != other.fingerprint


def test_fingerprints_are_read_as_people_write_them() -> None:
    grouped = display_fingerprint(FINGERPRINT)
    assert grouped == "7afw-4pkx-hbgv-uxbz-wmau"
    for written in (FINGERPRINT, grouped, grouped.upper(), grouped.replace("-", " "), f" {grouped}\n"):
        assert parse_fingerprint(written) == FINGERPRINT
    for wrong in ("", FINGERPRINT[1:], FINGERPRINT + "a", FINGERPRINT[:-1] + "1", FINGERPRINT[:-1] + "ä"):
        assert parse_fingerprint(wrong) is None


def test_allow_lists() -> None:
    other = FINGERPRINT[::-1]
    text = f"# ours\n{display_fingerprint(FINGERPRINT)}  # the one in the attic\n\n{other}\n{other}\n"
    assert parse_allow_list(text) == {FINGERPRINT, other}
    with pytest.raises(KeyFileError, match="line 2 is no fingerprint: write the 20 letters"):
        parse_allow_list(f"{other}\nsomebody\n")
    with pytest.raises(KeyFileError, match="there is no fingerprint: nobody could be heard"):
        parse_allow_list("# nobody\n")
    letters = itertools.islice(itertools.product("abcdefgh", repeat=5), ALLOWED_MAX + 1)
    many = ["".join(some) + FINGERPRINT[5:] for some in letters]
    assert len(parse_allow_list("\n".join(many[:-1]))) == ALLOWED_MAX
    with pytest.raises(KeyFileError, match=f"line {ALLOWED_MAX + 1} is one identity too many"):
        parse_allow_list("\n".join(many))


@given(st.text(max_size=100))
def test_names_carry_the_fingerprint_and_are_names(base: str) -> None:
    name = peer_name(base, FINGERPRINT)
    assert name_problem(name, PEER_ID_BYTES_MAX) is None
    assert fingerprint_of_peer(name) == FINGERPRINT


def test_names_stay_readable() -> None:
    assert peer_name("node-3.example", FINGERPRINT) == f"node-3.example-{FINGERPRINT}"
    assert peer_name("Zoë's laptop", FINGERPRINT) == f"Zo-s-laptop-{FINGERPRINT}"
    assert peer_name("--", FINGERPRINT) == f"agent-{FINGERPRINT}"
    assert peer_name("x" * 99, FINGERPRINT) == f"{'x' * 43}-{FINGERPRINT}"
    for other in (FINGERPRINT, f"-{FINGERPRINT}", f"a{FINGERPRINT}", f"a-{FINGERPRINT}b", "agent-3", ""):
        assert fingerprint_of_peer(other) is None
