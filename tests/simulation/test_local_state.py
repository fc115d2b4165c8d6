"""What clients keep for themselves, cohorts that stay, and accuracy by class: harness and tables."""

from __future__ import annotations

import math
import re
from pathlib import Path

import numpy as np
import pytest
import torch
from helpers import CNN, LSTM, SMALL_MODEL, SMALL_TRAINING, federation, run, small_cell
from keeper import KEEPER
from tiny import write

from bench.api import Skip
from bench.config.cells import make_cell
from bench.config.possible import check_possible
from bench.conformance import check_method
from bench.errors import BenchError
from bench.federation.federation import Federation
from bench.launch.running import run_cell
from bench.numerics.runtime import prepared
from bench.simulation.simulator import Simulation
from bench.store.cells import Store
from bench.training.engine import InlineEngine
from bench.training.evaluation import BatchScore, expected_acc, total_score


@pytest.fixture
def keeper(tmp_path: Path) -> Path:
    return write(tmp_path / "keeper.py", KEEPER)


def kept(keeper: Path, task: str = CNN, rounds: int = 4) -> Federation:
    values = {
        "task": task,
        "method": "keeper",
        "partition": "lda",
        "alpha": 0.5,
        "model": SMALL_MODEL[task],
        "training": {**SMALL_TRAINING, "rounds": rounds},
    }
    return Federation.build(make_cell(values, "test", [keeper]), [keeper])


@pytest.mark.slow
def test_a_method_with_local_state_conforms(keeper: Path) -> None:
    # Among the checks: the same bytes by another count, two workers, a resumed run.
    assert check_method("keeper", [keeper], tasks=[CNN]).failures == []


def test_what_clients_keep_costs_no_bytes(keeper: Path) -> None:
    built = kept(keeper)
    with prepared():
        rounds = list(Simulation(built, InlineEngine(built)).rounds())
    model = built.initial_model()
    shared = sum(4 * tensor.numel() for name, tensor in model.named_parameters() if not name.startswith("classifier"))
    for this in rounds[1:]:
        assert this.up_bytes == this.down_bytes == shared * this.clients
        assert [(m.up_bytes, m.down_bytes) for m in this.members] == [(shared, shared)] * this.clients


def test_a_client_goes_on_with_what_it_kept(keeper: Path) -> None:
    built = kept(keeper, rounds=2)
    with prepared():
        simulation = Simulation(built, InlineEngine(built))
        list(simulation.rounds())
    first, second = built.cohort(1).clients
    mine, theirs = (simulation.server.memory[f"client/{client.number}/classifier.weight"] for client in (first, second))
    assert not torch.equal(mine, theirs)
    # Nobody averages it: the server's stays as it was.
    servers = simulation.server.model.get_parameter("classifier.weight")
    assert torch.equal(servers, built.initial_model().get_parameter("classifier.weight"))
    own = built.method.personal_model(simulation.server, first)
    assert own is not None and torch.equal(own.get_parameter("classifier.weight"), mine)


@pytest.mark.parametrize("task", [CNN, LSTM])
def test_personal_accuracy_counts_each_class_as_often_as_the_client_has_it(keeper: Path, task: str) -> None:
    built = kept(keeper, task, rounds=1)
    with prepared():
        simulation = Simulation(built, InlineEngine(built))
        last = list(simulation.rounds())[-1]
    accs = []
    labels = np.asarray(built.dataset.test.labels)
    inputs = built.task.prepare(torch.from_numpy(np.array(built.dataset.test.inputs)))
    for client in built.cohort(1).clients:
        model = built.method.personal_model(simulation.server, client)
        assert model is not None
        with torch.no_grad():
            outputs = model.eval()(inputs)
        predicted = (outputs > 0).long() if task == LSTM else outputs.argmax(1)
        _, own = built.client_data(client.number)
        hits = {k: float((predicted.numpy() == labels)[labels == k].mean()) for k in np.unique(labels)}
        seen = [hits[int(label)] for label in own if int(label) in hits]
        accs.append(sum(seen) / len(seen))
    assert last.personal_acc == pytest.approx(sum(accs) / len(accs))
    # Clients whose models are the server's have nothing to gain.
    built.method.personal_model = lambda server, client: server.model  # type: ignore[method-assign]
    simulation._evaluate_personal(simulation.server, last)
    assert last.personal_base_acc == last.personal_acc


def test_fedavg_has_no_personal_accuracy() -> None:
    rounds, _ = run(federation("fedavg", CNN))
    assert all(this.personal_acc is None for this in rounds)


def test_accuracy_by_class_is_of_all_batches() -> None:
    scores = [BatchScore(2.0, 3, 4, ((1, 2), (2, 2), (0, 0))), BatchScore(1.0, 1, 2, ((0, 1), (1, 1), (0, 0)))]
    score = total_score(scores)
    assert score.acc == 4 / 6 and score.class_acc[:2] == (1 / 3, 1.0) and math.isnan(score.class_acc[2])
    # A class that the test set lacks is left out, one that the client lacks counts nothing.
    assert expected_acc(score.class_acc, [3, 1, 5]) == pytest.approx((3 / 3 + 1) / 4)
    assert math.isnan(expected_acc(score.class_acc, [0, 0, 2]))


def test_a_cohort_stays_as_long_as_a_method_needs_it(keeper: Path) -> None:
    built = kept(keeper, rounds=6)
    cohorts = [[client.number for client in built.cohort(number).clients] for number in range(1, 7)]
    assert cohorts[0::2] == cohorts[1::2]
    # They are cohorts that all other methods see too, those of the rounds in which they are drawn.
    others = federation("fedavg", CNN)
    assert cohorts[0::2] == [[client.number for client in others.cohort(number).clients] for number in (1, 3, 5)]
    assert len({tuple(cohort) for cohort in cohorts}) > 1


@pytest.mark.parametrize(("rounds", "stays"), [(1, 2), (2, 2), (4, 4)])
def test_the_recipe_may_let_all_cohorts_stay(keeper: Path, rounds: int, stays: int) -> None:
    built = kept(keeper)
    built = Federation.build(
        make_cell(
            {"task": CNN, "method": "keeper", "training": {**SMALL_TRAINING, "cohort_rounds": rounds}}, "t", [keeper]
        ),
        [keeper],
    )
    assert built.cohort_rounds == stays
    plain = federation("fedavg", CNN, training={"cohort_rounds": rounds})
    assert plain.cohort_rounds == rounds
    assert plain.cohort(rounds).clients == plain.cohort(1).clients


def test_cohorts_that_stay_for_a_wrong_number_of_rounds_are_refused(keeper: Path) -> None:
    values = {"task": CNN, "method": "keeper", "training": {**SMALL_TRAINING, "cohort_rounds": 3}}
    built = Federation.build(make_cell(values, "test", [keeper]), [keeper])
    with pytest.raises(BenchError, match=r"cohort_rounds = 3 is not possible .* allowed: 1 or a multiple of 2"):
        built.cohort(1)


def test_clients_know_their_classes() -> None:
    built = federation("fedavg", CNN, partition="lda", alpha=0.2)
    for number in range(len(built.partition)):
        _, labels = built.client_data(number)
        assert list(built._client(number, 1).labels) == sorted(set(labels.tolist()))


def test_a_method_that_needs_full_clients_is_skipped_without_them() -> None:
    built = federation("fedavg", CNN)

    class Needy(type(built.method)):  # type: ignore[misc]
        needs_full_clients = True

    for levels, reason in (((0.2, 0.4), r"the largest keep ratio is 0\.4"), ((0.2, 1.0), "")):
        method = Needy()
        method.levels = levels
        if reason:
            with pytest.raises(Skip, match=reason):
                method.setup(built.initial_model(), built.task)
        else:
            method.setup(built.initial_model(), built.task)


def test_mixed_cells_leave_a_table_of_their_clients(tmp_path: Path) -> None:
    store = Store(tmp_path)
    mixed, uniform = small_cell("prism", CNN, keep="0.2:0.5,0.6:0.5"), small_cell("prism", CNN, keep=0.2)
    for cell in (mixed, uniform):
        assert run_cell(cell, store=store).status == "done"
    assert len(store.read(uniform, "clients")) == 0
    rows, rounds = store.read(mixed, "clients").to_pylist(), store.read(mixed, "rounds").to_pylist()
    built = Federation.build(mixed)
    for number in (1, 2):
        members = [row for row in rows if row["round"] == number]
        cohort = built.cohort(number).clients
        assert [(row["client"], row["capacity"], row["samples"]) for row in members] == [
            (client.number, client.keep, client.samples) for client in cohort
        ]
        for column in ("up_bytes", "down_bytes"):
            assert sum(row[column] for row in members) == rounds[number][column]
        passes = SMALL_TRAINING["local_epochs"] * SMALL_TRAINING["samples_per_client"]
        assert sum(row["macs"] * passes for row in members) == rounds[number]["forward_macs"]
        mean = sum(row["train_loss"] for row in members) / len(members)
        assert mean == pytest.approx(rounds[number]["train_loss"])


@pytest.mark.parametrize(
    ("hook", "body", "words"),
    [
        ("local_loss(self, submodel, forward, targets)", "1.5", "local_loss returned 1.5; allowed: a scalar tensor"),
        (
            "local_loss(self, submodel, forward, targets)",
            "forward().sum(1)",
            r"local_loss returned a tensor of shape \(32,\); allowed: a scalar tensor",
        ),
        ("local_state(self, submodel)", "None", "local_state returned None; allowed: tensors by name"),
        ("local_state(self, submodel)", "{'x': 3}", "local_state returned {'x': 3}; allowed: tensors by name"),
        ("received(self, server, selection, submodel)", "['x']", r"received named \['x'\]; allowed: tensors"),
        ("personal_model(self, server, client)", "'x'", "personal_model gave 'x'; allowed: a module"),
        ("nested_models(self, server)", "[(0.5, 'x')]", "nested_models gave 'x'; allowed: a module"),
        ("nested_models(self, server)", "[('half', server.model)]", "could not convert string to float: 'half'"),
    ],
)
def test_a_hook_that_returns_something_else_fails_its_cell_with_a_reason(
    tmp_path: Path, hook: str, body: str, words: str
) -> None:
    path = write(tmp_path / "keeper.py", KEEPER + f"\n    def {hook}:\n        return {body}\n")
    values = {"task": CNN, "method": "keeper", "training": {**SMALL_TRAINING, "rounds": 1}}
    outcome = run_cell(make_cell(values, "test", [path]), store=Store(tmp_path / "results"), plugins=[path])
    assert outcome.status == "failed" and re.search(words, outcome.reason)


def test_cohorts_that_cannot_stay_are_refused_before_the_first_cell(tmp_path: Path) -> None:
    values = {"task": CNN, "method": "fedlama", "training": {**SMALL_TRAINING, "cohort_rounds": 3}}
    with pytest.raises(BenchError, match="cohort_rounds = 3 is not possible for the method 'fedlama'"):
        check_possible([make_cell(values, "test")], "cpu")
