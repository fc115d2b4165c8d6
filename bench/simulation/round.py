"""What is known of one communication round."""

from __future__ import annotations

from dataclasses import dataclass, field

from bench.api import Client, Measures
from bench.cost.cost import Cost
from bench.simulation.diagnostics.rank import LayerRank
from bench.training.evaluation import Score


@dataclass(frozen=True)
class Member:
    """A client of a round's cohort: what it held, sent and received, and its mean training loss."""

    client: Client
    cost: Cost
    down_bytes: int
    up_bytes: int
    loss: float


@dataclass(frozen=True)
class Level:
    """The nested sub-model of one keep ratio: its score and its cost."""

    keep: float
    score: Score
    cost: Cost


@dataclass
class Round:
    """What is known of one communication round; round 0 is the initial model, before any training.

    Attributes:
        number: rounds completed.
        lr: learning rate of the round.
        clients: size of the cohort.
        train_loss: mean training loss over all samples passed by the cohort; None in round 0.
        score: loss and accuracy on the whole test set, or on all that is held out for validation; None where the round
            was not evaluated.
        validates: True where the score is one of validation.
        coverage: share of kernels or channels trained so far; None where a method has nothing to cover.
        coverage_expected: the share to be expected by the laws of the draws; None where they are not known.
        cosine_fedavg: cosine between the server's update and the one FedAvg would have made; None where not measured.
        ranks: effective rank of each factorable layer; empty where the round was not evaluated.
        layers: further measures of each piece of the model by name; empty where the round was not evaluated.
        levels: score of the nested sub-model of each keep ratio, in evaluated rounds of methods that have them.
        personal_acc: mean over the cohort of the accuracy of each client's own model, each class of the test set
            counted as often as the client has it; None where clients have no own models or it was not evaluated.
        personal_base_acc: the same of the server's model with the same clients, from which own models gain or lose.
        costs: cost of each client's sub-model.
        members: the clients of the cohort, in its order.
        up_bytes, down_bytes: bytes the cohort sent and received in this round.
        forward_macs: multiply-accumulates of all forward passes of the cohort's training.
        train_macs: those of its backward passes too.
        ideal_forward_macs, ideal_train_macs: the same without products with weights that are masked.
        peak_memory_bytes: largest so far, of all processes, diagnostics included.
        seconds: time spent in each phase.
    """

    number: int
    lr: float = 0.0
    clients: int = 0
    train_loss: float | None = None
    score: Score | None = None
    validates: bool = False
    coverage: float | None = None
    coverage_expected: float | None = None
    cosine_fedavg: float | None = None
    ranks: list[LayerRank] = field(default_factory=list)
    layers: Measures = field(default_factory=dict)
    levels: list[Level] = field(default_factory=list)
    personal_acc: float | None = None
    personal_base_acc: float | None = None
    costs: list[Cost] = field(default_factory=list)
    members: list[Member] = field(default_factory=list)
    up_bytes: int = 0
    down_bytes: int = 0
    forward_macs: int = 0
    train_macs: int = 0
    ideal_forward_macs: int = 0
    ideal_train_macs: int = 0
    peak_memory_bytes: int = 0
    seconds: dict[str, float] = field(default_factory=dict)
