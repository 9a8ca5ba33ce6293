"""Short texts and their classes, with word vectors and a recurrent network.

`hyperpush swarm --task task.py` runs it as it is; then put your own texts and your own network in.
`hyperpush check task.py` says what is wrong with it before a swarm does.
"""

import random

import torch
from torch import Tensor, nn

import peer

# What agents should do otherwise than by default; `hyperpush run --help` lists all. Steps choose themselves.
# Without "hyper_step_size" nothing personal is learned; None: each agent chooses the rate.
settings = {"hyper_step_size": None}

CLASSES = ("complaint", "praise")
TEXTS = 60
WORDS = 8  # of one text; longer ones are cut, shorter ones filled up
SUBJECTS = ("pump", "screen", "battery", "cable", "motor", "sensor", "lamp", "valve")
GOOD = ("reliable", "quiet", "bright", "solid", "quick", "clean", "sturdy", "exact", "cheap", "handy", "safe")
BAD = ("broken", "loud", "dim", "loose", "slow", "dirty", "fragile", "wrong", "costly", "clumsy", "risky")
REST = ("the", "is", "was", "really", "always", "again", "since", "today", "my", "and")
VOCABULARY = {word: number for number, word in enumerate(("", "?", *SUBJECTS, *GOOD, *BAD, *REST))}


def load(shard: int, seed: int) -> tuple[list[str], list[int]]:
    """The texts of this agent, and their classes.

    On a machine with texts of its own, read them here and leave `shard` alone; a data set of Hugging Face
    that was tokenized can be given as it is (`columns=` of `peer.ModuleProblem`). These are made up: all
    write about other things, and nobody has enough of them to know all words.
    """
    rng = random.Random(f"{seed}/{shard}")
    texts, classes = [], []
    for _ in range(TEXTS):
        good = rng.random() < 0.5
        subject = SUBJECTS[(shard + rng.choice((0, 0, 1, 2))) % len(SUBJECTS)]
        words = ["the", subject, rng.choice(REST), rng.choice(GOOD if good else BAD), rng.choice(REST)]
        texts.append(" ".join(words))
        classes.append(int(good))
    return texts, classes


def numbered(texts: list[str]) -> Tensor:
    """Texts as numbers of words, (n, WORDS). The vocabulary is in the program: all must have the same."""
    rows = [
        [VOCABULARY.get(word, VOCABULARY["?"]) for word in text.lower().split()][:WORDS] for text in texts
    ]
    return torch.tensor([row + [0] * (WORDS - len(row)) for row in rows])


class Network(nn.Module):
    """Any module that maps what `numbered` gives to one number for each class."""

    def __init__(self) -> None:
        super().__init__()
        self.vectors = nn.Embedding(len(VOCABULARY), 16, padding_idx=0)
        self.reads = nn.GRU(16, 16, batch_first=True)
        self.outputs = nn.Linear(16, len(CLASSES))

    def forward(self, words: Tensor) -> Tensor:
        """(n, WORDS) to (n, classes)."""
        read, _ = self.reads(self.vectors(words))
        outputs: Tensor = self.outputs(read.mean(1))
        return outputs


def problem(shard: int, agents: int, seed: int, personalization: peer.Personalization) -> peer.ModuleProblem:
    """What agent `shard` of `agents` learns. The same arguments give the same, on every machine."""
    del agents
    texts, classes = load(shard, seed)
    inputs, targets = numbered(texts), torch.tensor(classes)
    order = torch.randperm(len(targets), generator=torch.Generator().manual_seed(seed + shard))
    train, validation, test = order.tensor_split([int(0.5 * len(order)), int(0.75 * len(order))])
    torch.manual_seed(seed)  # all models begin equal
    return peer.ModuleProblem(
        Network(),
        (inputs[train], targets[train]),  # the shared model learns from these,
        (inputs[validation], targets[validation]),  # what is personal from these,
        (inputs[test], targets[test]),  # and these say how good both are
        personalization=personalization,
        weight_decay=1e-4,
        batch_size=32,
        seed=seed + shard,
    )
