"""OrthDrop's sub-models of several keep ratios, which lie in one another."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from helpers import CNN, LSTM, batch_of, initial, method_of, small_task


@pytest.mark.parametrize("name", [CNN, LSTM])
@pytest.mark.parametrize("sigma", ["frozen", "absorbed"])
def test_nested_models_of_orthdrop_are_the_best_approximations_of_each_level(name: str, sigma: str) -> None:
    task, method = small_task(name), method_of("orthdrop", sigma=sigma)
    method.levels = (0.25, 1.0)
    server = method.setup(initial(task), task)
    models, inputs = dict(method.nested_models(server)), batch_of(task, 3)
    assert list(models) == [0.25, 1.0]
    for keep, model in models.items():
        dense = initial(task)
        for parameter in dense.factorable:  # type: ignore[attr-defined]
            weight = dense.get_parameter(parameter)
            u, s, v = np.linalg.svd(weight.detach().double().flatten(1).numpy(), full_matrices=False)
            rank = math.ceil(keep * len(s))
            weight.data = torch.from_numpy((u[:, :rank] * s[:rank]) @ v[:rank]).float().view_as(weight)
        torch.testing.assert_close(model(inputs), dense(inputs), rtol=1e-4, atol=1e-5)
    method.levels = (0.25,)
    assert list(method.nested_models(server)) == []
