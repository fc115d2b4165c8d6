"""FedPara: weights as entry-wise products, their ranks and initial values, and averages of their factors."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

import numpy as np
import pytest
import torch
from aggregation import STREAMS, assert_close, random_tensor
from helpers import (
    CNN,
    LSTM,
    RESNET,
    batch_of,
    cohort_of,
    federation,
    initial,
    method_of,
    numbers,
    paper_task,
    run,
    selections_of,
    small_task,
    update_of,
    values_of,
)
from torch import Tensor, nn

from bench.api import Method, Server, Skip
from bench.conformance.compare import tensors_in
from bench.cost.cost import cost_of, factored_parameters
from bench.families.hadamard import FACTOR, factor_names
from bench.families.hadamard_rank import factor_deviations, rank_for
from bench.models.hadamard import HadamardLSTM, composed, hadamard_layer
from bench.tasks.base import Task
from bench.training.shape import shape_of

LARGE_LSTM = {"hidden": 40, "embedding": 6, "length": 7}


def fedpara(task: Task, levels: tuple[float, ...] = (0.5,), seed: int = 0, **parameters: Any) -> tuple[Method, Server]:
    method = method_of("fedpara", **parameters)
    method.levels, method.seed = levels, seed
    return method, method.setup(initial(task), task)


def half_by_loops(factors: Mapping[str, Tensor]) -> np.ndarray:
    """Return ``sum_x,y T[x, y] O[x, o] I[y, i]``, or ``sum_r O[r, m] I[r, n]``, entry by entry."""
    o, i = factors["o"].double().numpy(), factors["i"].double().numpy()
    if "t" not in factors:
        matrix = np.zeros((o.shape[1], i.shape[1]))
        for m, n in np.ndindex(*matrix.shape):
            matrix[m, n] = sum(o[r, m] * i[r, n] for r in range(len(o)))
        return matrix
    t = factors["t"].double().numpy()
    kernel = np.zeros((o.shape[1], i.shape[1], *t.shape[2:]))
    for a, b, height, width in np.ndindex(*kernel.shape):
        kernel[a, b, height, width] = o[:, a] @ t[:, :, height, width] @ i[:, b]
    return kernel


def by_letter(factors: Mapping[str, Tensor], weight: str, half: str) -> dict[str, Tensor]:
    names = {letter: f"{weight}_{letter}{half}" for letter in "toi"}
    return {letter: factors[name].detach() for letter, name in names.items() if name in factors}


@pytest.mark.parametrize("kernel", [(), (3, 3), (2, 5)])
@pytest.mark.parametrize(("offset", "tanh"), [(0.0, False), (1.0, False), (0.0, True), (1.0, True)])
def test_weights_are_products_of_the_sums_over_both_ranks(kernel: tuple[int, ...], offset: float, tanh: bool) -> None:
    shapes = {"o": (3, 5), "i": (3, 4)} | ({"t": (3, 3, *kernel)} if kernel else {})
    halves = [
        {letter: random_tensor(*shape, seed=10 * half + place) for place, (letter, shape) in enumerate(shapes.items())}
        for half in range(2)
    ]
    first, second = (half_by_loops(half) for half in halves)
    if tanh:
        first, second = np.tanh(first), np.tanh(second)
    weight = composed(halves[0], halves[1], offset, tanh)
    assert weight.shape == (5, 4, *kernel)
    assert_close(weight, first * (second + offset))


def test_a_product_reaches_the_rank_that_its_halves_cannot() -> None:
    first, second = (
        {"o": random_tensor(3, 9, seed=half).double(), "i": random_tensor(3, 9, seed=half + 7).double()}
        for half in range(2)
    )
    assert int(torch.linalg.matrix_rank(first["o"].T @ first["i"])) == 3
    assert int(torch.linalg.matrix_rank(composed(first, second))) == 9


def counted(shape: tuple[int, ...], rank: int) -> int:
    """Return ``2 R (O + I + R k1 k2)``, or ``2 R (m + n)``."""
    core = rank * math.prod(shape[2:]) if len(shape) > 2 else 0
    return 2 * rank * (shape[0] + shape[1] + core)


@pytest.mark.parametrize("init", ["fan_in", "fan_out", "matched"])
@pytest.mark.parametrize("shape", [(128, 100, 3, 3), (300, 200)])
@pytest.mark.parametrize("offset", [0.0, 1.0])
def test_initial_weights_are_as_large_as_their_formulae_say(init: str, shape: tuple[int, ...], offset: float) -> None:
    rank, rng = 12, np.random.default_rng(0)
    area, sides = math.prod(shape[2:]), shape[0] * shape[1]
    deviations = factor_deviations(shape, rank, init, 0.07, offset)  # type: ignore[arg-type]
    letters = {"o": (rank, shape[0]), "i": (rank, shape[1])} | ({"t": (rank, rank, *shape[2:])} if area > 1 else {})
    squares = []
    for _ in range(20):
        halves = [
            {name: torch.from_numpy(deviations[name] * rng.standard_normal(of)) for name, of in letters.items()}
            for _ in range(2)
        ]
        squares.append(float(composed(halves[0], halves[1], offset).square().mean()))
    if init == "matched":
        expected = 0.07
    elif area > 1:
        half = 8 * rank / (area * sides) if init == "fan_in" else 8 / (rank * area)
        expected = math.sqrt(half * (half + offset**2))
    else:
        half = 4 * rank / sides if init == "fan_in" else 4 / rank
        expected = math.sqrt(half * (half + offset**2))
    assert math.sqrt(np.mean(squares)) == pytest.approx(expected, rel=0.08)


def test_which_weights_are_made_of_factors() -> None:
    blocks = [
        f"stages.{stage}.{block}.conv{conv}.weight" for stage in range(4) for block in range(2) for conv in (1, 2)
    ]
    notebook = fedpara(paper_task(RESNET), rank_rule="share")[0]
    assert list(notebook.factored) == blocks  # type: ignore[attr-defined]
    paper = fedpara(paper_task(RESNET, factored="all"))[0]
    assert list(paper.factored) == ["stem.weight", *blocks]  # type: ignore[attr-defined]
    notebook = fedpara(paper_task(CNN), rank_rule="share")[0]
    assert list(notebook.factored) == ["conv2.weight"]  # type: ignore[attr-defined]
    paper = fedpara(paper_task(CNN))[0]
    assert list(paper.factored) == ["conv1.weight", "conv2.weight"]  # type: ignore[attr-defined]
    matrices = [f"lstm.weight_{kind}_l{layer}" for layer in (0, 1) for kind in ("ih", "hh")]
    # Of the paper's size the first one, 1024 x 64, would have 2 * 32 * 1088 numbers and not 65,536.
    small = small_task(LSTM, hidden=64, embedding=64)
    for task, rule, expected in (
        (paper_task(LSTM), "share", matrices[1:]),
        (small, "share", matrices),
        (paper_task(LSTM), "interpolated", matrices),
    ):
        assert sorted(fedpara(task, rank_rule=rule)[0].factored) == sorted(expected)  # type: ignore[attr-defined]


def test_a_model_without_large_weights_is_skipped() -> None:
    with pytest.raises(Skip, match="no weight of SentimentLSTM is large enough"):
        fedpara(small_task(LSTM, hidden=4))
    with pytest.raises(Skip, match="no weight of Linear"):
        method_of("fedpara").setup(nn.Linear(2, 2), small_task(CNN))


@pytest.mark.parametrize(("name", "model"), [(CNN, {}), (RESNET, {}), (LSTM, LARGE_LSTM)])
@pytest.mark.parametrize("tanh", [False, True])
def test_a_sub_model_computes_what_the_servers_model_does_and_trains_all_factors(
    name: str, model: dict[str, Any], tanh: bool
) -> None:
    task = small_task(name, **model)
    method, server = fedpara(task, (0.3, 0.6), init="matched", tanh=tanh)
    first, second = selections_of(method, server, cohort_of(0.3, 0.6))
    submodel, other = method.extract(server, first), method.extract(server, second)
    inputs = batch_of(task, 4)
    torch.testing.assert_close(submodel(inputs), server.model(inputs), rtol=2e-4, atol=2e-4)
    submodel(inputs).square().sum().backward()
    for parameter, tensor in submodel.named_parameters():
        assert tensor.grad is not None
        embedded = parameter == "embedding.weight"
        # A normalised layer does not see the biases before it, and an LSTM none of what it did not read.
        assert embedded or tensor.grad.any() or "norm" in parameter, parameter
    assert shape_of(other) == shape_of(method.extract(server, first))
    assert {p: t.shape for p, t in submodel.named_parameters()} == {p: t.shape for p, t in other.named_parameters()}


def test_an_lstm_holds_small_matrices_as_they_are() -> None:
    method, server = fedpara(small_task(LSTM, **LARGE_LSTM))
    (selection,) = selections_of(method, server, cohort_of(0.5))
    names = {name for name, _ in method.extract(server, selection).named_parameters()}
    assert "lstm.weight_ih_l0" in names and "lstm.weight_hh_l0_o1" in names and "lstm.weight_hh_l0" not in names


def test_layers_without_this_form_are_refused() -> None:
    for layer in (nn.Conv2d(4, 4, 3, groups=2), nn.LSTM(3, 3, batch_first=True, bidirectional=True), nn.ReLU()):
        with pytest.raises(TypeError, match="no form"):
            hadamard_layer(layer, {}, 0.0, False)


def test_a_long_short_term_memory_is_torchs() -> None:
    dense = nn.LSTM(5, 6, 2, batch_first=True)
    layer, inputs = HadamardLSTM(dense, {}, 0.0, False), random_tensor(3, 4, 5)
    assert torch.equal(layer(inputs)[0], dense(inputs)[0])


@pytest.mark.parametrize(("name", "model"), [(CNN, {}), (LSTM, LARGE_LSTM)])
def test_the_server_averages_factors_and_whole_layers_and_multiplies_out(name: str, model: dict[str, Any]) -> None:
    for weights in ("samples", "uniform"):
        method, server = fedpara(small_task(name, **model), weights=weights)
        updates = [update_of(method, server, s, 0.05) for s in selections_of(method, server, cohort_of(0.5, 0.5, 0.5))]
        counts = [10.0, 20.0, 30.0] if weights == "samples" else [1.0, 1.0, 1.0]
        means = {
            sent: sum(
                count * update.parameters[sent].double().numpy() for count, update in zip(counts, updates, strict=True)
            )
            / sum(counts)
            for sent in updates[0].parameters
        }
        following = method.aggregate(server, updates, STREAMS)
        after, factored = values_of(following.model), set(method.factored)  # type: ignore[attr-defined]
        assert after.keys() - factored < means.keys() and factored
        for parameter, value in after.items():
            if parameter in factored:
                tensors = {sent: torch.from_numpy(mean) for sent, mean in means.items()}
                first, second = (half_by_loops(by_letter(tensors, parameter, half)) for half in "12")
                assert_close(value, first * second)
            else:
                assert_close(value, means[parameter])
        assert {f"{FACTOR}{sent}" for sent in means.keys() - after.keys()} == following.memory.keys()
        for key, factor in following.memory.items():
            assert_close(factor, means[key.removeprefix(FACTOR)])


def test_clients_that_do_nothing_leave_everything_exactly_as_it_is() -> None:
    method, server = fedpara(small_task(RESNET))
    before, memory = values_of(server.model), {name: tensor.clone() for name, tensor in server.memory.items()}
    updates = [update_of(method, server, s) for s in selections_of(method, server, cohort_of(0.5, 0.5))]
    following = method.aggregate(server, updates, STREAMS)
    assert all(torch.equal(value, before[name]) for name, value in values_of(following.model).items())
    assert all(torch.equal(value, memory[name]) for name, value in following.memory.items())


@pytest.mark.parametrize("rank_rule", ["share", "interpolated"])
def test_only_factors_and_whole_layers_are_held_and_sent(rank_rule: str) -> None:
    task = paper_task(CNN)
    method, server = fedpara(task, (0.4,), rank_rule=rank_rule)
    (selection,) = selections_of(method, server, cohort_of(0.4))
    submodel = method.extract(server, selection)
    shapes = {"conv2": (64, 64, 3, 3)} | ({"conv1": (64, 1, 5, 5)} if rank_rule == "interpolated" else {})
    factors = sum(counted(shape, rank_for(shape, 0.4, rank_rule)) for shape in shapes.values())  # type: ignore[arg-type]
    dense = sum(math.prod(shape) for shape in shapes.values())
    cost = cost_of(submodel, task)
    assert cost.parameters == 233_086 - dense + factors
    assert cost.down_bytes == 4 * cost.parameters == sum(tensor.nbytes for tensor in tensors_in(submodel))
    assert factored_parameters(submodel) == factors
    assert sum(tensor.numel() for tensor in method.upload(submodel).values()) == cost.parameters
    rank = {name: rank_for(shape, 0.4, rank_rule) for name, shape in shapes.items()}  # type: ignore[arg-type]
    products = sum(
        2 * shape[2] * shape[3] * (rank[name] ** 2 * shape[1] + shape[0] * rank[name] * shape[1])
        for name, shape in shapes.items()
    )
    # A batch makes the products once, and its samples share them.
    assert cost.macs == cost_of(server.model, task).macs + math.ceil(products / task.recipe.batch_size)


def test_all_clients_have_the_rank_of_the_weakest() -> None:
    task = small_task(CNN)
    _, weak = fedpara(task, (0.2,))
    _, mixed = fedpara(task, (0.2, 0.9))
    assert mixed.memory.keys() == weak.memory.keys()
    assert all(torch.equal(tensor, weak.memory[name]) for name, tensor in mixed.memory.items())
    assert len(fedpara(task, (0.9,))[1].memory[f"{FACTOR}conv2.weight_o1"]) > len(
        weak.memory[f"{FACTOR}conv2.weight_o1"]
    )


def test_factors_depend_on_the_seed_and_halves_and_layers_differ() -> None:
    task = small_task(RESNET)
    (_, first), (_, again), (_, other) = (fedpara(task, seed=seed) for seed in (1, 1, 2))
    assert all(torch.equal(tensor, again.memory[name]) for name, tensor in first.memory.items())
    assert not any(torch.equal(tensor, other.memory[name]) for name, tensor in first.memory.items())
    unlike = [tensor.flatten()[:9].tolist() for tensor in first.memory.values()]
    assert len({tuple(values) for values in unlike}) == len(unlike)


def test_matched_weights_are_as_large_as_the_tasks_own() -> None:
    task = paper_task(RESNET, width=32)
    own = values_of(initial(task))
    method, server = fedpara(task, (0.4,), init="matched", rank_rule="share")
    for name in method.factored:  # type: ignore[attr-defined]
        assert float(server.model.get_parameter(name).detach().std()) == pytest.approx(float(own[name].std()), rel=0.3)


@pytest.mark.parametrize(("name", "model", "usual"), [(RESNET, {}, "fan_in"), (CNN, {}, "matched")])
def test_the_authors_law_is_usual_where_weights_are_normalised(name: str, model: dict[str, Any], usual: str) -> None:
    task = small_task(name, **model)
    (method, server), (_, expected) = fedpara(task), fedpara(task, init=usual)
    assert method.implied(task) == {"init": usual}
    assert all(torch.equal(tensor, expected.memory[key]) for key, tensor in server.memory.items())


def test_the_names_of_factors_are_told_by_half() -> None:
    method, server = fedpara(small_task(CNN))
    (selection,) = selections_of(method, server, cohort_of(0.5))
    submodel = method.extract(server, selection)
    assert factor_names(submodel, "2") == {f"conv{layer}.weight_{letter}2" for layer in (1, 2) for letter in "toi"}


def test_a_run_of_an_lstm_learns_and_repeats() -> None:
    built = [federation("fedpara", LSTM, model=LARGE_LSTM, keep=0.5, parameters={"init": "matched"}) for _ in range(2)]
    (rounds, after), (again, repeated) = (run(one) for one in built)
    assert numbers(rounds) == numbers(again)
    assert all(torch.equal(value, repeated[name]) for name, value in after.items())
    start = fedpara(built[0].task, init="matched")[1]
    assert not torch.equal(after["lstm.weight_hh_l1"], start.model.get_parameter("lstm.weight_hh_l1"))
