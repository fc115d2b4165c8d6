"""The round loop: repeatable to the bit, the same for any number of workers, and honest in what it measures."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest
import torch
from helpers import (
    CNN,
    LSTM,
    RESNET,
    TASKS,
    Recorder,
    assert_equal,
    federation,
    global_states,
    numbers,
    run,
    run_with,
    small_cell,
    used_global_states,
    values_of,
)
from thinned import every, thinned
from torch import nn

from bench.api import Cohort, Selection, Server, Streams, Update
from bench.cost.cost import cost_of
from bench.errors import BenchError
from bench.families.spectral import SpectralServer
from bench.federation.federation import Federation
from bench.numerics.runtime import prepared
from bench.plugins import registry
from bench.simulation.diagnostics.rank import layer_ranks
from bench.simulation.simulator import Simulation, _is_finite
from bench.training.evaluation import batch_count, score_batches, total_score
from bench.training.local import Diverged, Job, train_client

METHODS: list[tuple[str, dict[str, Any]]] = [
    ("fedavg", {}),
    ("prism", {}),
    ("prism", {"sigma": "absorbed", "client_momentum": "carry"}),
    ("prism", {"as_released": True}),
    ("orthdrop", {"tail": "drop"}),
    ("unbiased", {}),
    ("collective", {"aggregate": "product"}),
    ("origdrop", {}),
    ("origdrop", {"variant": "released"}),
    ("fedlama", {}),
]


@pytest.mark.parametrize(("method", "parameters"), thinned(METHODS, every(3)))
def test_two_runs_are_equal_to_the_bit(method: str, parameters: dict[str, Any]) -> None:
    task = CNN if parameters or method != "prism" else RESNET  # the larger one takes three times as long
    runs = [run(federation(method, task, keep=0.4, parameters=parameters)) for _ in range(2)]
    assert numbers(runs[0][0]) == numbers(runs[1][0])
    assert_equal(runs[0][1], runs[1][1])


@pytest.mark.parametrize("task", [CNN, LSTM])
def test_two_runs_of_the_other_tasks_are_equal_to_the_bit(task: str) -> None:
    runs = [run(federation("prism", task, keep=0.4)) for _ in range(2)]
    assert numbers(runs[0][0]) == numbers(runs[1][0])
    assert_equal(runs[0][1], runs[1][1])


def test_two_workers_give_the_same_bits_as_this_process() -> None:
    settings: dict[str, Any] = {"keep": 0.4, "parameters": {"client_momentum": "carry"}, "diagnostics": "all"}
    inline, parallel = (run_with(federation("prism", RESNET, **settings), workers) for workers in (1, 2))
    assert inline[0] == parallel[0]
    assert inline[0][1]["cosine_fedavg"] is not None
    assert_equal(inline[1], parallel[1])


MANY = [(name, task) for name in ("fedavg", "prism", "origdrop", "fjord", "inclusivefl", "fedlama") for task in TASKS]


@pytest.mark.slow
@pytest.mark.parametrize(("method", "task"), [*MANY, ("heterofl", CNN), ("heterofl", RESNET)])
def test_any_number_of_workers_gives_the_same_bits(method: str, task: str) -> None:
    training = {"cohort": 4, "samples_per_client": 30}
    runs = [run_with(federation(method, task, keep="0.4:0.5,1:0.5", training=training), n) for n in (1, 2, 3)]
    for parallel in runs[1:]:
        assert runs[0][0] == parallel[0]
        assert_equal(runs[0][1], parallel[1])


@pytest.mark.parametrize("task", TASKS)
@pytest.mark.parametrize("method", ["fedavg", "prism", "origdrop"])
def test_a_run_leaves_the_global_random_state_alone(method: str, task: str) -> None:
    before = used_global_states()
    run(federation(method, task, keep=0.4))
    assert global_states() == before


def test_a_run_does_not_depend_on_the_global_random_state() -> None:
    state = torch.get_rng_state()
    results = []
    for seed in (1, 2):
        torch.manual_seed(seed)
        results.append(run(federation("prism", CNN, keep=0.4)))
    torch.set_rng_state(state)
    assert numbers(results[0][0]) == numbers(results[1][0])


@pytest.mark.parametrize("method", ["fedavg", "prism", "origdrop"])
def test_all_methods_start_from_the_same_score(method: str) -> None:
    first, _ = run(federation(method, CNN, keep=0.4))
    reference, _ = run(federation("fedavg", CNN))
    assert first[0].score == reference[0].score
    assert first[0].number == 0 and first[0].train_loss is None and not first[0].costs


@pytest.mark.parametrize(("method", "parameters"), METHODS)
def test_bytes_operations_and_losses_are_those_of_the_jobs(method: str, parameters: dict[str, Any]) -> None:
    built = federation(method, CNN, keep=0.4, parameters=parameters)
    engine = Recorder(built)
    rounds = list(Simulation(built, engine).rounds())[1:]
    for this in rounds:
        places = slice(2 * (this.number - 1), 2 * this.number)
        jobs, results = engine.jobs[places], engine.results[places]
        assert [job.client for job, _ in jobs] == [client.number for client in built.cohort(this.number).clients]
        assert all(job.round_number == this.number for job, _ in jobs)
        assert this.down_bytes == sum(sent for _, sent in jobs)
        tensors = [t for result in results for t in (*result.parameters.values(), *result.momentum.values())]
        assert this.up_bytes == sum(tensor.nbytes for tensor in tensors)
        assert this.costs == [cost_of(job.submodel, built.task) for job, _ in jobs]
        assert this.forward_macs == sum(c.macs * r.passes for c, r in zip(this.costs, results, strict=True))
        assert this.train_loss == pytest.approx(np.average([r.loss for r in results], weights=[40, 40]))
        assert this.clients == 2 and this.lr == built.task.recipe.lr_of(this.number)


def test_momentum_is_carried_from_round_to_round() -> None:
    for carried in (False, True):
        parameters = {"client_momentum": "carry"} if carried else {}
        built = federation("prism", CNN, keep=0.4, parameters=parameters)
        engine = Recorder(built)
        list(Simulation(built, engine).rounds())
        momenta = [job.momentum for job, _ in engine.jobs]
        assert momenta[:2] == [None, None]
        assert all(bool(momentum) is carried for momentum in momenta[2:])


def test_the_train_loss_weighs_clients_by_their_samples() -> None:
    training = {"samples_per_client": None, "cohort": 4}
    built = federation("fedavg", CNN, partition="dirichlet", alpha=0.5, training=training)
    engine = Recorder(built)
    rounds = list(Simulation(built, engine).rounds())
    results = engine.results[:4]
    assert len({result.passes for result in results}) > 1
    expected = np.average([result.loss for result in results], weights=[result.passes for result in results])
    assert rounds[1].train_loss == pytest.approx(expected)


@pytest.mark.parametrize("task", TASKS)
def test_the_score_is_that_of_all_test_samples(task: str) -> None:
    built = federation("fedavg", task, training={"evaluation_batch": 16, "standin_test": 60})
    model, test = built.initial_model(), built.dataset.test
    assert batch_count(built) == 4
    score = total_score(score_batches(model, built, range(4)))
    outputs = []
    with torch.no_grad():
        for start in range(0, 60, 16):
            outputs.append(model(built.task.prepare(torch.from_numpy(np.array(test.inputs[start : start + 16])))))
    logits, labels = torch.cat(outputs).double(), torch.from_numpy(np.array(test.labels))
    if task == LSTM:
        loss, right = nn.functional.binary_cross_entropy_with_logits(logits, labels.double()), (logits > 0) == labels
    else:
        loss, right = nn.functional.cross_entropy(logits, labels), logits.argmax(1) == labels
    assert score.loss == pytest.approx(float(loss), rel=1e-5)
    assert score.acc == pytest.approx(float(right.double().mean()))


def test_the_score_does_not_depend_on_who_scores_which_batch() -> None:
    built = federation("fedavg", RESNET, training={"evaluation_batch": 7})
    model = built.initial_model()
    shares = [[8, 2], [], [0, 1, 3], [7, 6, 5, 4]]
    scattered = [score for share in shares for score in score_batches(model, built, share)]
    assert total_score(scattered) == total_score(score_batches(model, built, range(9)))


def test_rounds_are_evaluated_every_so_often_and_at_the_end() -> None:
    training = {"rounds": 11, "evaluate_every": 4, "samples_per_client": 4, "cohort": 1}
    rounds, _ = run(federation("fedavg", CNN, training=training))
    evaluated = [this.number for this in rounds if this.score is not None]
    assert evaluated == [0, 4, 8, 9, 10, 11]  # the headline is the mean of the last three
    assert all(bool(this.ranks) == (this.score is not None) for this in rounds)


def test_the_reported_ranks_are_those_of_the_server_model() -> None:
    rounds, after = run(federation("prism", CNN, keep=0.4))
    built = federation("prism", CNN)
    model = built.initial_model()
    for name, tensor in model.named_parameters():
        tensor.data = after[name]
    assert rounds[-1].ranks == layer_ranks(model)
    assert rounds[0].ranks != rounds[-1].ranks


@pytest.mark.parametrize("method", ["fedavg", "prism", "origdrop"])
@pytest.mark.parametrize("lr", thinned([1e12, 1e20, 1e30, 1e38], every(3)))
def test_divergence_is_raised_whatever_overflows(method: str, lr: float) -> None:
    """One batch a round: the loss is taken before the step that overflows, if it is not the product of the factors."""
    training = {"lr": lr, "batch_size": 64, "rounds": 4}
    with pytest.raises(Diverged, match=r"^round \d: "):
        run(federation(method, CNN, keep=0.5, training=training))


def test_a_layer_without_singular_values_is_a_divergence() -> None:
    built = federation("unbiased", RESNET)

    def select(server: SpectralServer, cohort: Cohort, streams: Streams) -> Any:
        with torch.no_grad():
            for name in server.model.factorable:
                server.model.get_parameter(name).fill_(3e38)
        return type(built.method).select(built.method, server, cohort, streams)

    built.method.select = select  # type: ignore[assignment]
    with pytest.raises(Diverged, match=r"^round 1: the singular values of '.*weight' are beyond the largest"):
        run(built)


@pytest.mark.slow
def test_divergence_in_a_worker_reaches_the_parent() -> None:
    built = federation("fedavg", CNN, training={"lr": 1e20, "batch_size": 4})
    with pytest.raises(Diverged, match="training loss of client"):
        run_with(built, 2)


@pytest.mark.parametrize("bad", [math.nan, math.inf, -math.inf])
def test_one_entry_that_is_not_finite_is_found(bad: float) -> None:
    model = nn.Sequential(nn.Linear(40, 30), nn.Linear(30, 1))
    assert _is_finite(model)
    with torch.no_grad():
        model[1].weight[0, 17] = bad
    assert not _is_finite(model)


def test_a_method_that_forgets_a_client_is_told_so() -> None:
    built = federation("fedavg", CNN)
    select = built.method.select

    def forgetful(server: Server, cohort: Cohort, streams: Streams) -> list[Selection]:
        return select(server, cohort, streams)[1:]

    built.method.select = forgetful  # type: ignore[method-assign]
    with pytest.raises(BenchError, match="select returned 1 selections for 2 clients"):
        run(built)


def test_a_round_is_the_methods_own_steps() -> None:
    """The loop written out once more, without engine or measures."""
    _, after = run(federation("prism", CNN, keep=0.4))
    built = federation("prism", CNN, keep=0.4)
    method = built.method
    with prepared():
        server = method.setup(built.initial_model(), built.task)
        for number in (1, 2):
            selections = method.select(server, built.cohort(number), built.streams("selection", number))
            updates = []
            for selection in selections:
                submodel = method.extract(server, selection)
                trained = train_client(Job(selection.client.number, number, submodel), built)
                updates.append(Update(selection, trained.parameters))
            server = method.aggregate(server, updates, built.streams("aggregation", number))
    assert_equal(after, values_of(server.model))


@pytest.mark.parametrize("task", TASKS)
def test_training_lowers_the_loss(task: str) -> None:
    training = {"rounds": 3, "cohort": 4, "samples_per_client": 100, "lr": 0.3 if task == LSTM else 0.05}
    rounds, _ = run(federation("prism", task, keep=0.8, training=training))
    losses = [this.train_loss or math.inf for this in rounds[1:]]
    assert losses[-1] < losses[0]


def test_a_cell_is_built_with_its_own_recipe() -> None:
    cell = small_cell("prism", RESNET, training={"lr": 0.07})
    recipe = registry.task(RESNET).build(cell).recipe
    assert (recipe.lr, recipe.rounds, recipe.cohort) == (0.07, 2, 2)
    with pytest.raises(BenchError, match="cohort = 9"):
        Federation.build(small_cell("prism", RESNET, training={"cohort": 9}))
