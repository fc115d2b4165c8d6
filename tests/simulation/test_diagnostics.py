"""What is measured of a round: coverage to be expected, diversity of the draws, agreement with FedAvg."""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest
import torch
from helpers import CNN, LSTM, RESNET, assert_equal, federation, numbers, run
from thinned import every, thinned
from torch import Tensor, nn
from toy import algorithm_1, algorithm_2, draw, successive_inclusion, toy

from bench.families.spectral import Spectral, SpectralParams
from bench.federation.federation import Federation
from bench.models.base import matrix
from bench.simulation.diagnostics.agreement import fedavg_parameters, update_cosine
from bench.simulation.diagnostics.coverage import Coverage
from bench.simulation.round import Round
from bench.simulation.rows import rank_rows, round_row
from bench.simulation.simulator import Simulation
from bench.spectral.decompose import rank_of
from bench.spectral.designs import Chosen, FixedSize, Leading
from bench.store.schema import LAYER_MEASURES, RANKS, ROUNDS, table_of
from bench.training.engine import InlineEngine
from bench.training.local import Diverged, Job, train_client
from methods.fedavg import FedAvg

ERRORS = ("weight_norm2", "submodel_error", "cohort_error", "aggregation_error", "update_norm2")
EXPECTED_ERRORS = ("submodel_error_expected", "cohort_error_expected")
BOTH = "0.2:0.5,0.6:0.5"
ALL_FOUR = {"clients": 4, "cohort": 4, "samples_per_client": 8, "standin_test": 20}


def test_the_coverage_to_be_expected_is_one_minus_the_chance_to_be_missed_by_all() -> None:
    first, second = np.array([1.0, 0.5, 0.3, 0.2, 0.0]), np.array([0.9, 0.6, 0.5, 0.0, 0.0])
    coverage = Coverage()
    coverage.expect({"a": [FixedSize(first), FixedSize(second)], "b": [Leading(4, 3)]})
    coverage.expect({"a": [FixedSize(second)], "b": [Leading(4, 1)]})
    expected = []
    for unit in range(5):
        missed = 1.0
        for inclusion in (first, second, second):
            missed *= 1 - inclusion[unit]
        expected.append(1 - missed)
    assert coverage.expected_by_piece() == pytest.approx({"a": np.mean(expected), "b": 0.75})
    coverage.add({"a": (torch.tensor([0]), 5), "b": (torch.tensor([0, 1, 2]), 4)})
    assert coverage.expected_share() == pytest.approx((sum(expected) + 3) / 9)
    assert coverage.share() == pytest.approx(4 / 9)


def test_no_coverage_is_expected_where_a_law_is_not_known() -> None:
    coverage = Coverage()
    coverage.add({"a": (torch.tensor([0]), 5), "b": (torch.tensor([0]), 4)})
    coverage.expect({"a": [Leading(5, 1)]})
    assert coverage.expected_share() is None and Coverage().expected_share() is None


@pytest.mark.parametrize("name", ["prism", "unbiased", "collective"])
def test_expected_coverage_is_the_mean_of_the_coverage_seen(name: str) -> None:
    """Two rounds of three clients from the same spectrum, many times over."""
    method, server = toy(name)
    shares: list[Any] = []
    expected: Any = None
    for repetition in range(800):
        coverage = Coverage()
        for number in (1, 2):
            selections = draw(method, server, (0.2, 0.4, 0.4), 2 * repetition + number)
            coverage.expect(method.designs(server, selections))
            for selection in selections:
                coverage.add(method.coverage(server, selection))
        shares.append(coverage.share())
        expected = coverage.expected_share()
    assert 0.45 < expected < 0.99
    assert abs(np.mean(shares) - expected) < 4.5 * np.std(shares) / math.sqrt(len(shares)) + 1e-12


def entropy_share(inclusion: np.ndarray, size: int) -> float:
    """Return the ANME of one layer: mean binary entropy in bits over that of equal probabilities."""

    def bits(p: float) -> float:
        return 0.0 if p in (0, 1) else -p * math.log2(p) - (1 - p) * math.log2(1 - p)

    return float(np.mean([bits(min(p, 1.0)) for p in inclusion])) / bits(size / len(inclusion))


def singular_values(weights: dict[str, Tensor], name: str) -> list[float]:
    return np.linalg.svd(matrix(weights[name]).double().numpy(), compute_uv=False).tolist()


def states(built: Federation) -> Iterator[tuple[Round, dict[str, Tensor]]]:
    """Run a federation; yield each round after the first and the server's weights before it."""
    simulation = Simulation(built, InlineEngine(built))
    before: dict[str, Tensor] = {}
    for this in simulation.rounds():
        if before:
            yield this, before
        before = simulation.state()["model"]


@pytest.mark.parametrize("name", ["unbiased", "collective"])
def test_rank_rows_have_the_diversity_of_each_rounds_draws(name: str) -> None:
    """By the paper's algorithms from the weights before the round, mean over clients of different capacity."""
    built = federation(name, CNN, keep=BOTH, training=ALL_FOUR)
    for this, before in states(built):
        sigma = singular_values(before, "conv2.weight")
        keeps = [client.keep for client in built.cohort(this.number).clients]
        assert sorted(keeps) == [0.2, 0.2, 0.6, 0.6]
        sizes = [rank_of(keep, 64) for keep in keeps]
        laws = [algorithm_1(sigma, size) if name == "unbiased" else algorithm_2(sigma, size, 2)[0] for size in sizes]
        (row,) = rank_rows(this)
        expected = np.mean([entropy_share(law, size) for law, size in zip(laws, sizes, strict=True)])
        assert row["anme"] == pytest.approx(expected, abs=1e-5)
        assert 0.5 < row["anme"] < 1


def test_the_diversity_of_prism_is_that_of_successive_sampling() -> None:
    built = federation("prism", RESNET, keep=0.5)
    this, before = next(states(built))
    rows = {row["layer"]: row for row in rank_rows(this)}
    small = [name for name in before if f"{name.removesuffix('.weight')}" in rows and len(before[name]) == 4]
    assert len(small) == 4
    for name in small:
        weights = [value**2.5 for value in singular_values(before, name)]
        row = rows[name.removesuffix(".weight")]
        assert row["anme"] == pytest.approx(entropy_share(successive_inclusion(weights, 2), 2), abs=1e-4)


@pytest.mark.parametrize(("method", "keep"), [("orthdrop", 0.4), ("prism", 1.0), ("unbiased", 1.0)])
def test_laws_without_chance_have_no_diversity(method: str, keep: float) -> None:
    rounds, _ = run(federation(method, CNN, keep=keep))
    for this in rounds[1:]:
        assert [row["anme"] for row in rank_rows(this)] == [0.0]
        assert this.coverage_expected == this.coverage == pytest.approx(rank_of(keep, 64) / 64)


def own(this: Round) -> set[str]:
    return {name for row in rank_rows(this) for name in LAYER_MEASURES if row[name] is not None}


@pytest.mark.parametrize("diagnostics", ["basic", "errors", "cosine", "all"])
def test_each_setting_measures_what_it_says_in_evaluated_rounds(diagnostics: str) -> None:
    training = {"rounds": 6, "evaluate_every": 2, "samples_per_client": 8, "cohort": 1}
    rounds, _ = run(federation("prism", CNN, keep=0.3, diagnostics=diagnostics, training=training))
    expected = {"coverage", "coverage_expected", "anme", "weight_norm2", *EXPECTED_ERRORS}
    expected |= set(ERRORS) if diagnostics in ("errors", "all") else set()
    expected |= {"cosine_fedavg"} if diagnostics in ("cosine", "all") else set()
    for this in rounds:
        evaluated = this.number in (2, 4, 5, 6)
        assert own(this) == (expected if evaluated else set())
        assert (this.cosine_fedavg is not None) == (evaluated and diagnostics in ("cosine", "all"))
        assert (this.coverage_expected is not None) == (this.number > 0)
    table_of([round_row(this) for this in rounds], ROUNDS)
    table_of([row for this in rounds for row in rank_rows(this)], RANKS)


@pytest.mark.parametrize(("method", "task"), [("unbiased", CNN), ("collective", LSTM)])
def test_a_runs_errors_are_those_of_the_weights_before_the_round(method: str, task: str) -> None:
    built = federation(method, task, keep=BOTH, diagnostics="errors", training=ALL_FOUR)
    for this, before in states(built):
        for row in rank_rows(this):
            weight = matrix(before[f"{row['layer']}.weight"] if task == CNN else before[row["layer"]]).double()
            assert row["weight_norm2"] == pytest.approx(float(weight.square().sum()), rel=1e-5)
            assert 0 < row["cohort_error"] < row["submodel_error"]
            assert row["cohort_error_expected"] < row["submodel_error_expected"]
            assert row["submodel_error"] == pytest.approx(row["submodel_error_expected"], rel=0.7)
            assert row["aggregation_error"] > 0 and row["update_norm2"] > 0


def test_nothing_is_expected_of_a_piece_once_one_law_was_not_known() -> None:
    coverage = Coverage()
    for designs in ([Leading(4, 1)], [Leading(4, 1), Chosen(lambda sigma, size, rng: np.arange(1), np.ones(4), 1)]):
        coverage.add({"a": (torch.tensor([0]), 4), "b": (torch.tensor([0]), 4)})
        coverage.expect({"a": designs, "b": [Leading(4, 1)]})
    assert coverage.expected_by_piece() == {"b": 0.25} and coverage.expected_share() is None
    coverage.expect({"a": [Leading(4, 1)], "b": [Leading(4, 1)]})
    assert coverage.expected_share() is None and coverage.share() == 0.25


class Last(Spectral):
    """A plugin whose law of drawing is not known."""

    def choose(self, sigma: np.ndarray, rank: int, rng: np.random.Generator) -> np.ndarray:
        return np.arange(len(sigma) - rank, len(sigma))


def test_of_an_unknown_law_only_what_was_seen_is_measured() -> None:
    built = federation("orthdrop", CNN, keep=0.25, diagnostics="all")
    built.method = Last(SpectralParams())
    rounds, _ = run(built)
    for this in rounds[1:]:
        assert own(this) == {"coverage", "cosine_fedavg", *ERRORS}
        assert this.coverage == 0.25 and this.coverage_expected is None and this.cosine_fedavg is not None


@pytest.mark.parametrize(
    ("method", "parameters"), [("origdrop", {}), ("origdrop", {"variant": "released"}), ("fedavg", {})]
)
def test_methods_of_other_families_have_no_errors(method: str, parameters: dict[str, Any]) -> None:
    rounds, _ = run(federation(method, CNN, keep=0.5, diagnostics="all", parameters=parameters))
    for this in rounds:
        assert own(this) == ({"cosine_fedavg"} if this.number else set())
        known = method == "origdrop" and this.number > 0
        assert (this.coverage, this.coverage_expected) == ((0.5, 0.5) if known else (None, None))
        assert (this.cosine_fedavg is not None) == (this.number > 0)


SIZES = {"partition": "dirichlet", "alpha": 0.5}
UNEQUAL = {"samples_per_client": None, "cohort": 3, "clients": 8, "local_epochs": 1, "standin_test": 20}


def fedavg_by_hand(this: Round, before: dict[str, Tensor]) -> dict[str, np.ndarray]:
    """Return FedAvg's weights after one round from given ones, clients by samples, in double precision."""
    built = federation("fedavg", CNN, training=UNEQUAL, **SIZES)
    total: dict[str, Any] = dict.fromkeys(before, 0.0)
    clients = built.cohort(this.number).clients
    assert len({client.samples for client in clients}) > 1
    for client in clients:
        model = built.initial_model()
        model.load_state_dict(before)
        done = train_client(Job(client.number, this.number, model), built)
        for name, value in done.parameters.items():
            total[name] = total[name] + client.samples * value.double().numpy()
    return {name: value / sum(client.samples for client in clients) for name, value in total.items()}


def cosine(first: dict[str, np.ndarray], second: dict[str, np.ndarray], start: dict[str, Tensor]) -> float:
    a, b = (
        np.concatenate([(x[name] - start[name].double().numpy()).ravel() for name in start]) for x in (first, second)
    )
    return float(a @ b / np.linalg.norm(a) / np.linalg.norm(b))


@pytest.mark.parametrize("method", ["orthdrop", "unbiased"])
def test_the_cosine_is_that_of_the_servers_update_and_fedavgs(method: str) -> None:
    built = federation(method, CNN, keep=0.3, diagnostics="cosine", training=UNEQUAL, **SIZES)
    found = list(states(built))
    _, last = run(federation(method, CNN, keep=0.3, training=UNEQUAL, **SIZES))
    afters = [*(before for _, before in found[1:]), last]
    for (this, before), after in zip(found, afters, strict=True):
        expected = cosine(
            {key: value.double().numpy() for key, value in after.items()}, fedavg_by_hand(this, before), before
        )
        assert this.cosine_fedavg == pytest.approx(expected, abs=1e-5)
        assert abs(expected) < 0.999


@pytest.mark.parametrize("weights", ["samples", "uniform"])
def test_fedavg_agrees_with_itself(weights: str) -> None:
    parameters = {"weights": weights}
    rounds, _ = run(federation("fedavg", CNN, diagnostics="cosine", parameters=parameters, training=UNEQUAL, **SIZES))
    for this in rounds[1:]:
        assert this.cosine_fedavg is not None
        assert (this.cosine_fedavg == pytest.approx(1, abs=1e-12)) == (weights == "samples")


def test_an_update_without_direction_has_no_cosine() -> None:
    start, moved = {"a": torch.zeros(2)}, {"a": torch.tensor([3.0, 4.0])}
    assert update_cosine(start, start, moved) is None and update_cosine(start, moved, start) is None
    assert update_cosine(start, moved, {"a": torch.tensor([4.0, 3.0])}) == pytest.approx(0.96)
    assert update_cosine(start, moved, {"a": torch.tensor([4.0, math.inf])}) is None


class Exploding(FedAvg):
    """A FedAvg that diverges in its second batch."""

    def penalty(self, submodel: nn.Module) -> Tensor:
        return 1e38 * torch.stack([tensor.sum() for tensor in submodel.parameters()]).sum()


def test_a_reference_that_diverges_has_no_cosine_and_ends_nothing() -> None:
    results = []
    for diagnostics in ("basic", "cosine"):
        built = federation("orthdrop", CNN, keep=0.3, diagnostics=diagnostics, training={"batch_size": 8})
        built.__dict__["reference"] = Exploding()
        with pytest.raises(Diverged, match="training loss of client"):
            fedavg_parameters(built.initial_model(), built.cohort(1).clients, 1, InlineEngine(built))
        results.append(run(built))
    (rounds, expected), (others, after) = results
    assert [this.cosine_fedavg for this in others] == [None, None, None]
    assert numbers(rounds) == numbers(others)
    assert_equal(expected, after)


def undiagnosed(rounds: list[Any]) -> list[Any]:
    """Return numbers of rounds without those that only some settings measure."""
    return [{**this, "layers": None, "cosine_fedavg": None} for this in rounds]


@pytest.mark.parametrize(
    ("method", "parameters", "task"),
    thinned(
        [
            ("prism", {"as_released": True}, RESNET),
            ("prism", {"aggregate": "product"}, CNN),
            ("unbiased", {}, LSTM),
            ("origdrop", {}, CNN),
            ("heterofl", {}, CNN),
            ("fjord", {}, RESNET),
            ("fedavg", {}, CNN),
        ],
        every(3),
    ),
)
def test_measuring_never_changes_the_training(method: str, parameters: dict[str, Any], task: str) -> None:
    training = {"samples_per_client": 10}
    runs = [
        run(federation(method, task, keep=0.4, parameters=parameters, training=training, diagnostics=diagnostics))
        for diagnostics in ("basic", "all")
    ]
    (basic, expected), (full, after) = ((numbers(rounds), values) for rounds, values in runs)
    assert undiagnosed(basic) == undiagnosed(full)
    assert basic != full
    assert_equal(expected, after)
