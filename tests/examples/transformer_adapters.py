"""A transformer whose base is frozen: shared adapters of low rank in the first layer, own ones in the second.

    pip install transformers peft
    hyperpush swarm --task tests/examples/transformer_adapters.py --personalization 'own:*layer.1*lora_*'

Nothing is downloaded: the base is drawn at random, the same everywhere. With a base that was trained, put
`AutoModelForSequenceClassification.from_pretrained` in its place. What is frozen is neither sent nor kept
twice: a base of 100 million parameters with 1 % of them learned costs 1 %.

Here: 2 layers, 32 wide, 18,626 frozen parameters; 578 are shared, 512 of each agent's own.
"""

from __future__ import annotations

import random

import peft
import torch
import transformers
from torch import Tensor, nn

import peer

settings = {"hyper_step_size": None}

WORDS = 64
LENGTH = 10
TEXTS = 80


class Classifier(nn.Module):
    """A module with one tensor in and one out, as agents want it."""

    def __init__(self, seed: int) -> None:
        super().__init__()
        config = transformers.BertConfig(
            vocab_size=WORDS,
            hidden_size=32,
            num_hidden_layers=2,
            num_attention_heads=2,
            intermediate_size=48,
            max_position_embeddings=LENGTH,
            num_labels=2,
            attn_implementation="eager",  # fused kernels have no second derivative
        )
        torch.manual_seed(seed)  # all models begin equal
        base = transformers.BertForSequenceClassification(config)
        adapters = peft.LoraConfig(r=4, target_modules=["query", "value"], modules_to_save=["classifier"])
        self.model = peft.get_peft_model(base, adapters)
        self.eval()  # no dropout

    def forward(self, words: Tensor) -> Tensor:
        """(n, LENGTH) numbers of words to (n, 2)."""
        outputs: Tensor = self.model(input_ids=words).logits
        return outputs


def texts(shard: int, seed: int) -> tuple[Tensor, Tensor]:
    """Made up: the class is which of two groups of words a text has more of; who writes adds noise."""
    rng = random.Random(f"{seed}/{shard}")
    rows, classes = [], []
    for _ in range(TEXTS):
        kind = rng.random() < 0.5
        own = [rng.randrange(2, 12) + 10 * kind for _ in range(4)]
        rest = [rng.randrange(22 + 4 * (shard % 8), 32 + 4 * (shard % 8)) for _ in range(LENGTH - 4)]
        row = own + rest
        rng.shuffle(row)
        rows.append(row)
        classes.append(int(kind))
    return torch.tensor(rows), torch.tensor(classes)


def problem(shard: int, agents: int, seed: int, personalization: peer.Personalization) -> peer.ModuleProblem:
    """What agent `shard` learns."""
    del agents
    words, classes = texts(shard, seed)
    train, validation, test = ((words[a:b], classes[a:b]) for a, b in ((0, 30), (30, 50), (50, TEXTS)))
    return peer.ModuleProblem(
        Classifier(seed),
        train,
        validation,
        test,
        personalization=personalization,
        weight_decay=1e-3,
        batch_size=16,
        seed=seed + shard,
    )
