"""What methods change in local training: nothing that is not said, and nothing said that is not so."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from helpers import CNN, RESNET, cohort_of, initial, method_of, selections_of, small_task

from bench.api import Method
from bench.api.local_training import HOOKS
from bench.plugins import registry

KNOWN: dict[str, str] = {
    "fedavg": "",
    "origdrop": "",
    "small_model": "",
    "inclusivefl": "",
    "depthfl": "local_loss",
    "scalefl": "local_loss",
    "inclusive_kdd": "",
    "nefl": "",
    "splitmix": "local_loss",
    "fedpara": "",
    "orthdrop": "penalty, decay_free",
    "prism": "penalty, decay_free",
    "unbiased": "penalty, decay_free, adjust_gradients",
    "heterofl": "local_loss",
    "fedhm": "penalty, decay_free",
    "fedlama": "cohort_rounds",
    "fiarse": "",
    "flanc": "penalty",
    "fedlmt": "",
    "pfedlmt": "local_loss, penalty, decay_free",
    "fiarse_channels": "",
}


@pytest.mark.parametrize(("name", "words"), KNOWN.items())
def test_a_method_says_what_it_changes(name: str, words: str) -> None:
    kind = registry.method(name).kind
    assert kind is not None
    assert ", ".join(kind().departures()) == words


SWITCHED: list[tuple[str, dict[str, Any], str]] = [
    ("prism", {"client_momentum": "carry"}, "penalty, decay_free, initial_momentum, returns_momentum"),
    ("prism", {"gradient_clip": 5.0}, "penalty, decay_free, adjust_gradients"),
    ("prism", {"first_epoch_lr": "stale"}, "penalty, decay_free, learning_rates"),
    ("prism", {"full_batches": True}, "penalty, decay_free, drop_last"),
    ("unbiased", {"clip_tau": None}, "penalty, decay_free"),
    ("heterofl", {"masked_loss": False}, ""),
    ("depthfl", {"feddyn": 0.1}, "local_loss, adjust_gradients"),
    ("heterofl", {"masked_loss": False, "gradient_clip": 1.0}, "adjust_gradients"),
    ("fedhm", {"masked_loss": True, "factor_decay": True}, "local_loss, penalty"),
]


@pytest.mark.parametrize(("name", "values", "words"), SWITCHED)
def test_switches_show(name: str, values: dict[str, Any], words: str) -> None:
    assert ", ".join(method_of(name, **values).departures()) == words


def does_nothing(method: Method, hook: str) -> bool:
    """Return whether a hook leaves a client's training as it is, seen from what it returns and changes."""
    task = small_task(CNN if method.name == "unbiased" else RESNET)
    server = method.setup(initial(task), task)
    (selection,) = selections_of(method, server, cohort_of(0.5, round_number=2))
    submodel = method.extract(server, selection).train()
    if hook == "adjust_gradients":
        for parameter in submodel.parameters():
            parameter.grad = torch.full_like(parameter, 10.0)
        method.adjust_gradients(submodel)
        return all(bool((p.grad == 10.0).all()) for p in submodel.parameters() if p.grad is not None)
    if hook == "learning_rates":
        return method.learning_rates(server, selection, 2) is None
    if hook == "initial_momentum":
        return method.initial_momentum(server, selection) is None
    if hook == "decay_free":
        return not method.decay_free(submodel)
    if hook == "penalty":
        return method.penalty(submodel) is None
    return method.local_loss(submodel, lambda: torch.zeros(4, 10), torch.zeros(4, dtype=torch.int64)) is None


@pytest.mark.parametrize("name", [*KNOWN, "fedrolex", "collective", "pfedpara", "federated_dropout"])
def test_a_hook_that_is_called_idle_does_nothing(name: str) -> None:
    method = method_of(name)
    for hook in set(HOOKS) & method.idle_hooks():
        assert does_nothing(method, hook), hook
