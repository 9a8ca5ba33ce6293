import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule

from wire import Outbox

TARGETS = st.sampled_from(["a", "b", "c"])
BLOCKS = st.integers(0, 4)


class OutboxAgainstDict(RuleBasedStateMachine):
    """The same operations on the outbox and on one plain dict of (target, block)."""

    def __init__(self) -> None:
        super().__init__()
        self.outbox = Outbox()
        self.model: dict[tuple[str, int], bytes] = {}

    def _waiting(self, target: str) -> list[tuple[str, int]]:
        return [key for key in self.model if key[0] == target]

    @rule(to=TARGETS, block=BLOCKS, frame=st.binary(max_size=4))
    def put(self, to: str, block: int, frame: bytes) -> None:
        assert self.outbox.put(to, block, frame) == ((to, block) in self.model)
        self.model[to, block] = frame

    @rule(to=TARGETS)
    def take(self, to: str) -> None:
        waiting = self._waiting(to)
        expected = self.model.pop(waiting[0]) if waiting else None
        assert self.outbox.take(to) == expected

    @rule(to=TARGETS)
    def forget(self, to: str) -> None:
        waiting = self._waiting(to)
        for key in waiting:
            del self.model[key]
        assert self.outbox.forget(to) == len(waiting)

    @invariant()
    def as_many_wait(self) -> None:
        for target in ("a", "b", "c", "never named"):
            assert self.outbox.waiting(target) == len(self._waiting(target))


TestOutboxAgainstDict = OutboxAgainstDict.TestCase
TestOutboxAgainstDict.settings = settings(max_examples=100, stateful_step_count=30, deadline=None)


def test_a_replaced_block_keeps_its_place() -> None:
    """DESIGN 2, "Newest wins"; and a block pushed more often than the others must not starve behind them."""
    outbox = Outbox()
    assert not outbox.put("a", 7, b"old")
    assert not outbox.put("a", 8, b"other")
    assert outbox.put("a", 7, b"new")
    assert [outbox.take("a"), outbox.take("a"), outbox.take("a")] == [b"new", b"other", None]


def test_one_bytes_object_waits_for_all_targets() -> None:
    outbox, frame = Outbox(), b"x" * 1000
    for target in ("a", "b"):
        outbox.put(target, 0, frame)
    assert outbox.take("a") is frame
    assert outbox.take("b") is frame


def test_caps() -> None:
    outbox = Outbox(targets_max=1, blocks_max=2)
    outbox.put("a", 0, b"")
    outbox.put("a", 1, b"")
    assert outbox.put("a", 0, b"newer")
    with pytest.raises(ValueError, match="block 2 is one too many"):
        outbox.put("a", 2, b"")
    with pytest.raises(ValueError, match="target 'b' is one too many"):
        outbox.put("b", 0, b"")
    outbox.forget("a")
    assert not outbox.put("b", 0, b"")
