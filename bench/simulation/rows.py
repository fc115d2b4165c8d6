"""A round as rows of the tables that runs leave behind."""

from __future__ import annotations

from typing import Any

from bench.simulation.round import Round
from bench.store.schema import LAYER_MEASURES


def round_row(this: Round) -> dict[str, Any]:
    """Return a round as a row of ``ROUNDS``; seconds of phases that did not happen are 0."""
    trained = this.number > 0
    mean_of = max(len(this.costs), 1)
    score = (this.score.loss, this.score.acc) if this.score else (None, None)
    test, validation = ((None, None), score) if this.validates else (score, (None, None))
    means = {
        f"client_{name}": sum(getattr(cost, name) for cost in this.costs) / mean_of if trained else None
        for name in ("parameters", "macs", "trained_parameters", "activations", "ideal_macs")
    }
    seconds = {
        f"{phase}_s": this.seconds.get(phase, 0.0)
        for phase in ("select", "extract", "train", "aggregate", "evaluate", "diagnose", "round")
    }
    seconds["diagnose_s"] += this.seconds.get("count", 0.0)
    return {
        "round": this.number,
        "clients": this.clients,
        "lr": this.lr if trained else None,
        "train_loss": this.train_loss,
        "test_loss": test[0],
        "test_acc": test[1],
        "validation_loss": validation[0],
        "validation_acc": validation[1],
        "personal_acc": this.personal_acc,
        "personal_base_acc": this.personal_base_acc,
        "coverage": this.coverage,
        "coverage_expected": this.coverage_expected,
        "cosine_fedavg": this.cosine_fedavg,
        "down_bytes": this.down_bytes,
        "up_bytes": this.up_bytes,
        **means,
        "forward_macs": this.forward_macs,
        "train_macs": this.train_macs,
        "ideal_forward_macs": this.ideal_forward_macs,
        "ideal_train_macs": this.ideal_train_macs,
        **seconds,
        "server_s": seconds["select_s"] + seconds["extract_s"] + seconds["aggregate_s"],
        "peak_memory_bytes": this.peak_memory_bytes,
    }


def rank_rows(this: Round) -> list[dict[str, Any]]:
    """Return the layers of an evaluated round as rows of ``RANKS``."""
    return [
        {
            "round": this.number,
            "layer": rank.layer.removesuffix(".weight"),
            "kernels": rank.kernels,
            "required_kernels": rank.required_kernels,
            "required_kernels_renyi": rank.required_kernels_renyi,
            **{name: this.layers.get(rank.layer, {}).get(name) for name in LAYER_MEASURES},
        }
        for rank in this.ranks
    ]


def level_rows(this: Round) -> list[dict[str, Any]]:
    """Return the nested sub-models of an evaluated round as rows of ``LEVELS``."""
    return [
        {
            "round": this.number,
            "level": level.keep,
            "level_loss": level.score.loss,
            "level_acc": level.score.acc,
            "validates": this.validates,
            "parameters": level.cost.parameters,
            "macs": level.cost.macs,
            "ideal_macs": level.cost.ideal_macs,
        }
        for level in this.levels
    ]


def client_rows(this: Round) -> list[dict[str, Any]]:
    """Return the clients of a round as rows of ``CLIENTS``."""
    return [
        {
            "round": this.number,
            "client": member.client.number,
            "capacity": member.client.keep,
            "samples": member.client.samples,
            "parameters": member.cost.parameters,
            "trained_parameters": member.cost.trained_parameters,
            "activations": member.cost.activations,
            "macs": member.cost.macs,
            "train_macs": member.cost.train_macs,
            "ideal_macs": member.cost.ideal_macs,
            "ideal_train_macs": member.cost.ideal_train_macs,
            "down_bytes": member.down_bytes,
            "up_bytes": member.up_bytes,
            "train_loss": member.loss,
        }
        for member in this.members
    ]
