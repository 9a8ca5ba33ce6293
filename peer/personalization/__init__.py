"""What is personal about a personal model, one file each; `contract` says how they work, `registry` has all.

Outer hyperparameters are taught by everybody's validation loss, local inner variables by the agent's own
training loss: DESIGN, section 1.
"""

from peer.personalization.bias import OutputBias
from peer.personalization.class_weights import ClassWeights
from peer.personalization.combination import Combination, combine
from peer.personalization.contract import Ground, Part, Personalization
from peer.personalization.features import Features
from peer.personalization.head import Head
from peer.personalization.interpolation import Interpolation
from peer.personalization.logits import Logits
from peer.personalization.lora import LowRank
from peer.personalization.mixture import Mixture
from peer.personalization.none import NoPersonalization
from peer.personalization.proximal import Proximal
from peer.personalization.registry import PERSONALIZATIONS, known_names, personalization
from peer.personalization.regularization import Regularization
from peer.personalization.sample_weights import SampleWeights

__all__ = [
    "PERSONALIZATIONS",
    "ClassWeights",
    "Combination",
    "Features",
    "Ground",
    "Head",
    "Interpolation",
    "Logits",
    "LowRank",
    "Mixture",
    "NoPersonalization",
    "OutputBias",
    "Part",
    "Personalization",
    "Proximal",
    "Regularization",
    "SampleWeights",
    "combine",
    "known_names",
    "personalization",
]
