"""What strangers send to an agent, and what must hold of the program that reads it."""

from __future__ import annotations

import io
import json
from typing import Any

import msgpack
import numpy as np
import torch

from peer.admin_input import bearer_matches, check_token, read_fault_request, read_peer
from peer.errors import SettingError
from peer.predicting import Form, read_array, read_json
from peer.problem_details import problem_details
from wire import (
    Array,
    DecodeError,
    FaultPlan,
    Heard,
    Heartbeat,
    LiveFaults,
    PeerRecord,
    Push,
    decode_push,
    encode_push,
    peer_mark,
)
from wire.addresses import host_is_loopback
from wire.envelope import SEALED_OVERHEAD, SENDERS_REMEMBERED, Opener, Sealer
from wire.keys import KeyRing, SigningIdentity
from wire.known_peers import KnownPeers
from wire.records import PEERS_KNOWN_MAX, read_names, read_record, read_told

STEPS_MAX = 64  # of one input
REFUSAL_MAX = 1_000  # characters: what a stranger says must not fill our logs
RING = KeyRing(tuple(KeyRing.new(bytes([number]) * 32).sealing for number in (1, 2)))
STRANGE_RING = KeyRing.new(bytes([3]) * 32)
IDENTITIES = tuple(SigningIdentity(bytes([number]) * 32) for number in range(4, 8))

PUSHES = (
    Push("swarm", "model", "agent-0", 0, 1, 0, 1, 0, 0.05, "", ()),
    Push(
        *("swarm", "model", "agent-1", 3, 7, 1, 9, 400, 0.05, "192.0.2.7:7700"),
        (Array("<f4", bytes(12)), Array("<f8", bytes(16))),
        (peer_mark("agent-2"), peer_mark("agent-3")),
        (
            Heartbeat("agent-1", 3, 300, "[2001:db8::1]:7700", False, (Heard(b"hears-it", 258, 3),)),
            Heartbeat("agent-4", 0, 1, "", True, None, (b"liar-one",)),
        ),
    ),
)


def refused(error: Exception, *, by_user: bool = False) -> str:
    """That a refusal is fit for a log; of what the user's own files say it may cite anything, on one line."""
    text = str(error)
    assert by_user or len(text) <= REFUSAL_MAX, f"a refusal of {len(text)} characters"
    assert "\n" not in text, f"a refusal on several lines: {text!r}"
    assert by_user or text.isprintable(), f"a refusal that a terminal might act on: {text!r}"
    return str(error.reason) if isinstance(error, DecodeError) else f"refused by {type(error).__name__}"


class Decoder:
    """Bare frames of both versions."""

    name = "decoder"
    files = ("wire/codec.py", "wire/digest.py", "wire/checks.py", "wire/messages.py")

    def seeds(self) -> list[bytes]:
        return [encode_push(push, version) for push in PUSHES for version in (1, 2)]

    def read(self, data: bytes) -> Any:
        length = int.from_bytes(data[4:8], "little")
        header = msgpack.unpackb(data[8 : 8 + length], strict_map_key=False)
        behind = 8 + length + -length % 8
        return [list(data[2:4]), header, data[behind:]]

    def write(self, tree: Any) -> bytes:
        (version, flags), header, behind = tree
        packed = msgpack.packb(header)
        padding = bytes(-len(packed) % 8) if behind else b""
        return b"HP" + bytes((version, flags)) + len(packed).to_bytes(4, "little") + packed + padding + behind

    def throw(self, data: bytes) -> str:
        """What is accepted can be sent on, and is read as the same again; it is not larger than its frame."""
        try:
            push = decode_push(data)
        except DecodeError as error:
            return refused(error)
        assert sum(array.data.nbytes for array in push.arrays) <= len(data)
        assert decode_push(encode_push(push, data[2])) == push
        return "accepted"


class Envelope:
    """Sequences of sealed frames by members, by others, and altered on the way: a list of

    [index of the identity, incarnation, session, key, frame, [offset, bytes put there] ..., times delivered]
    """

    name = "envelope"
    files = ("wire/envelope.py", "wire/keys.py")

    def seeds(self) -> list[bytes]:
        frame = encode_push(PUSHES[1])
        return [
            self.write([[0, 1, b"s", 0, frame, [], 1], [0, 1, b"s", 0, frame, [], 2]]),
            self.write([[1, 2, b"t", 1, b"", [[3, b"\1"]], 1], [1, 3, b"t", 0, frame, [], 1]]),
            self.write([[2, 0, b"", 2, frame, [[80, b"\0"]], 1], [3, 2**64 - 1, b"u", 0, frame, [], 1]]),
        ]

    def read(self, data: bytes) -> Any:
        return msgpack.unpackb(data, strict_map_key=False)

    def write(self, tree: Any) -> bytes:
        return bytes(msgpack.packb(tree))

    def throw(self, data: bytes) -> str:
        """Nothing is opened that its signer has not sealed, nothing twice; who is refused is not noted."""
        try:
            content = self.read(data)
        except (ValueError, TypeError):
            return "no sequence"
        steps = [self._made(step) for step in (content if isinstance(content, list) else [])[:STEPS_MAX]]
        opener = Opener(RING, frozenset(one.fingerprint for one in IDENTITIES[:3]), {})
        sealed_by: dict[tuple[str, bytes], bytes] = {}
        taken: set[bytes] = set()
        outcome = "empty"
        for fingerprint, frame, sealed, altered, times in steps:
            sealed_by[fingerprint, sealed] = frame
            for _ in range(times):
                before = opener.marks()
                try:
                    opened = opener.open(altered)
                except DecodeError as error:
                    outcome = refused(error)
                    assert opener.marks() == before
                    continue
                outcome = "opened"
                assert sealed_by[opened.fingerprint, altered] == opened.frame, "forged"
                assert altered not in taken, "replayed"
                taken.add(altered)
                assert len(opener.marks()) <= SENDERS_REMEMBERED
                try:
                    opener.check_sender(f"name-{fingerprint}", opened)
                except DecodeError as error:
                    raise AssertionError("an honest name refused") from error
        return outcome

    def _made(self, step: Any) -> tuple[str, bytes, bytes, bytes, int]:
        parts = [*step, *[None] * 7] if isinstance(step, list) else [None] * 7
        identity = IDENTITIES[_whole(parts[0]) % len(IDENTITIES)]
        ring = (RING, KeyRing(RING.keys[::-1]), STRANGE_RING)[_whole(parts[3]) % 3]
        sealer = Sealer(ring, identity, _whole(parts[1]), _bytes(parts[2])[:16].ljust(16, b"\0"))
        frame = _bytes(parts[4])
        sealed = sealer.seal(frame)
        altered = bytearray(sealed)
        for edit in parts[5] if isinstance(parts[5], list) else []:
            offset, part = ([*edit, 0, b""])[:2] if isinstance(edit, list) else (0, edit)
            at = _whole(offset) % (len(altered) + 1)
            altered[at : at + len(_bytes(part))] = _bytes(part)
        return identity.fingerprint, frame, sealed, bytes(altered), _whole(parts[6]) % 4


class Sealed(Envelope):
    """One sealed frame, as bytes."""

    name = "sealed"

    def seeds(self) -> list[bytes]:
        return [Sealer(RING, one, 7, bytes(16)).seal(encode_push(PUSHES[0])) for one in IDENTITIES[:2]]

    def throw(self, data: bytes) -> str:
        if data in self._honest:
            return "opened"
        try:
            Opener(RING, None, {}).open(data)
        except DecodeError as error:
            return refused(error)
        raise AssertionError(f"a forged frame of {len(data) - SEALED_OVERHEAD} bytes was opened")

    def __init__(self) -> None:
        self._honest = frozenset(self.seeds())


class Records:
    """What is found by discovery: lists of announcements as JSON, each under a name."""

    name = "records"
    files = ("wire/records.py", "wire/known_peers.py", "wire/messages.py")
    own = PeerRecord("agent-0", 0, "127.0.0.1:1", "swarm", "model", keys=("00000000",))

    def seeds(self) -> list[bytes]:
        fields = self.own.to_fields()
        others = [{**fields, "peer": f"agent-{number}", "incarnation": str(number)} for number in range(3)]
        told = {"peers": ["192.0.2.1:7700", "[::1]:9"], "hears": ["agent-1"], "heard_by": []}
        return [
            json.dumps([["name", {**others[1], **told}], ["name", others[2]], ["other", None]]).encode(),
            json.dumps([["a", {**others[2], "oldest": 1, "keys": None}], ["b", {"protocol": 1}]]).encode(),
        ]

    def read(self, data: bytes) -> Any:
        return json.loads(data)

    def write(self, tree: Any) -> bytes:
        return json.dumps(tree).encode()

    def throw(self, data: bytes) -> str:
        """Own announcements are not heard, strangers are no peers, tables stay small."""
        try:
            steps = json.loads(data)
        except (ValueError, RecursionError):
            return "no JSON"
        if not isinstance(steps, list):
            return "no list"
        seen: list[PeerRecord] = []
        known = KnownPeers(self.own, seen.append, None)
        outcome = "empty"
        for step in steps:
            if not isinstance(step, list) or len(step) != 2 or not isinstance(step[0], str):
                continue
            name, fields = step
            if not isinstance(fields, dict):
                known.lost(name)
                continue
            for address in read_told(fields):
                assert len(address) <= 300
            for key in ("hears", "heard_by"):
                assert all(len(peer.encode()) <= 64 for peer in read_names(fields, key) or ())
            try:
                known.heard(name, read_record(fields, "192.0.2.9:1", tuple(map(str, fields))))
            except DecodeError as error:
                outcome = refused(error)
                continue
            outcome = "heard"
            assert all(found.swarm == self.own.swarm for found in seen[-1:])
            assert all(found.peer != self.own.peer for found in seen[-1:])
            assert len(known) <= 2 * PEERS_KNOWN_MAX
        return outcome


class Admin:
    """Requests to the admin listener, after the HTTP: [body, Authorization, Host, peer, token] as JSON."""

    name = "admin"
    files = ("peer/admin_input.py", "peer/fault_words.py", "wire/link_faults.py", "wire/delays.py")
    token = "0123456789abcdef"  # noqa: S105  (of these tests only)

    def seeds(self) -> list[bytes]:
        bodies = [
            {"to": "b", "faults": {"drop": 0.5, "delay_s": "lognormal:50ms:0.5"}, "for_s": "30s"},
            {"faults": {"bandwidth_bits_per_s": "256kbit", "duplicate": 1, "reorder": 0.1}, "for_s": 3},
            {"faults": None},
        ]
        return [
            json.dumps([body, "Bearer x", "localhost:80", "peer-1", "0123456789012345"]).encode()
            for body in bodies
        ]

    def read(self, data: bytes) -> Any:
        return json.loads(data)

    def write(self, tree: Any) -> bytes:
        return json.dumps(tree).encode()

    def throw(self, data: bytes) -> str:
        """A change that can be made and told, or a refusal; nobody guesses the token."""
        try:
            body, *texts = json.loads(data)
            raw = json.dumps(body).encode()
        except (ValueError, TypeError, RecursionError):
            raw, texts = data, []
        for text in texts:
            if isinstance(text, str):
                assert not bearer_matches(text, self.token) or self.token in text
                host_is_loopback(text)
            for check, value in ((read_peer, text), (check_token, str(text))):
                try:
                    check(value)  # type: ignore[operator]
                except SettingError as error:
                    refused(error)
        try:
            asked = read_fault_request(raw)
        except SettingError as error:
            return refused(error)
        live = LiveFaults(FaultPlan())
        live.set(asked.to, asked.faults, 5.0, asked.duration_s)
        json.dumps(live.to_dict(), allow_nan=False)
        faults = live.faults_on("a", asked.to or "b", 5.0)
        assert (faults is None) == (asked.faults is None)
        return "accepted"


class Predictions:
    """Bodies of POST /v1/predict, after the HTTP: [form, body as hexadecimal digits or as JSON] as JSON."""

    name = "predictions"
    files = ("peer/predicting.py", "peer/data/npy.py", "peer/admin_input.py")
    forms = (Form((2,), torch.float32), Form((2, 2), torch.uint8), Form((1,), torch.bfloat16))

    def seeds(self) -> list[bytes]:
        arrays = [np.ones((3, 2)), np.zeros((1, 2, 2), np.uint8), np.arange(4, dtype=">i8").reshape(4, 1)]
        written = []
        for number, array in enumerate(arrays):
            stored = io.BytesIO()
            np.save(stored, array)
            written += [[number, stored.getvalue().hex()], [number, {"inputs": array.tolist()}]]
        return [json.dumps(one).encode() for one in written]

    def read(self, data: bytes) -> Any:
        return json.loads(data)

    def write(self, tree: Any) -> bytes:
        return json.dumps(tree).encode()

    def throw(self, data: bytes) -> str:
        """Inputs that are finite, of the form, and no larger than what came allows; or a refusal."""
        try:
            number, body = json.loads(data)
            form = self.forms[_whole(number) % len(self.forms)]
            raw = bytes.fromhex(body) if isinstance(body, str) else json.dumps(body).encode()
        except (ValueError, TypeError, RecursionError):
            form, body, raw = self.forms[0], "", data
        try:
            found = read_array(raw, form) if isinstance(body, str) else read_json(raw, form)
        except SettingError as error:
            json.dumps(problem_details(error), allow_nan=False)
            return refused(error)
        assert found.dtype is form.dtype
        assert tuple(found.shape[1:]) == form.shape
        assert bool(torch.isfinite(found).all())
        assert 0 < found.numel() <= len(raw)
        return "accepted"


def _whole(value: object) -> int:
    return value % 2**64 if isinstance(value, int) else 0


def _bytes(value: object) -> bytes:
    return value if isinstance(value, bytes) else b""
