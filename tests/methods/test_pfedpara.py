"""pFedPara: one half of the factors is everyone's, the other stays with the client."""

from __future__ import annotations

import pytest
import torch
from aggregation import STREAMS
from helpers import (
    CNN,
    RESNET,
    Recorder,
    batch_of,
    cohort_of,
    federation,
    initial,
    method_of,
    selections_of,
    small_task,
)
from torch import Tensor, nn

from bench.api import Method, Selection, Server, Update
from bench.families.hadamard import FACTOR
from bench.models.hadamard import composed
from bench.numerics.runtime import prepared
from bench.simulation.simulator import Simulation

OWN = {f"conv2.weight_{letter}2" for letter in "toi"}


def pfedpara(levels: tuple[float, ...] = (0.5,)) -> tuple[Method, Server]:
    task, method = small_task(CNN), method_of("pfedpara", init="matched", rank_rule="share")
    method.levels = levels
    return method, method.setup(initial(task), task)


def trained(method: Method, server: Server, selection: Selection, seed: int) -> Update:
    """Return what comes of a client that moved all it trains by normal noise."""
    submodel = method.extract(server, selection)
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for tensor in submodel.parameters():
            tensor += 0.05 * torch.randn(tensor.shape, generator=generator)
    return Update(selection, method.upload(submodel), local=method.local_state(submodel))


def kernel_of(first: dict[str, Tensor], second: dict[str, Tensor]) -> Tensor:
    """Return ``W_1 * (W_2 + 1)`` from factors by their names in a sub-model, by einsum."""
    halves = [
        torch.einsum("xyhw,xo,yi->oihw", *(factors[f"conv2.weight_{letter}{half}"].double() for letter in "toi"))
        for half, factors in (("1", first), ("2", second))
    ]
    return (halves[0] * (halves[1] + 1)).float()


def factors_of(server: Server) -> dict[str, Tensor]:
    return {name.removeprefix(FACTOR): tensor for name, tensor in server.memory.items() if name.startswith(FACTOR)}


def test_the_servers_model_has_the_initial_half_of_a_client_that_never_took_part() -> None:
    method, server = pfedpara()
    factors = factors_of(server)
    torch.testing.assert_close(server.model.get_parameter("conv2.weight").detach(), kernel_of(factors, factors))
    assert method.full_model(server) is server.model
    (selection,) = selections_of(method, server, cohort_of(0.5))
    inputs = batch_of(small_task(CNN), 3)
    torch.testing.assert_close(method.extract(server, selection)(inputs), server.model(inputs), rtol=1e-4, atol=1e-5)
    assert method.personal_model(server, selection.client) is None


def test_clients_keep_their_own_halves_and_share_the_other() -> None:
    method, server = pfedpara()
    start = {name: tensor.clone() for name, tensor in factors_of(server).items()}
    first, second, third = selections_of(method, server, cohort_of(0.5, 0.5, 0.5))
    updates = [trained(method, server, selection, seed) for seed, selection in enumerate((first, second))]
    assert all(set(update.local) == OWN and not OWN & set(update.parameters) for update in updates)
    following = method.aggregate(server, iter(updates), STREAMS)
    shared = factors_of(following)
    assert all(torch.equal(shared[name], start[name]) for name in OWN)
    for name in shared.keys() - OWN:
        torch.testing.assert_close(
            shared[name], (10 * updates[0].parameters[name] + 20 * updates[1].parameters[name]) / 30
        )
    for selection, own in ((first, updates[0].local), (second, updates[1].local), (third, start)):
        held = dict(method.extract(following, selection).named_parameters())
        assert all(torch.equal(held[name], own[name]) for name in OWN)
        assert all(torch.equal(held[name], shared[name]) for name in shared.keys() - OWN)
    # The first client sits a round out; what it keeps stays with it.
    later = method.aggregate(following, iter([trained(method, following, second, 7)]), STREAMS)
    held = dict(method.extract(later, first).named_parameters())
    assert all(torch.equal(held[name], updates[0].local[name]) for name in OWN)
    assert not any(torch.equal(later.memory[f"client/1/{name}"], updates[1].local[name]) for name in OWN)


def test_a_personal_model_is_the_shared_half_with_the_clients_own() -> None:
    method, server = pfedpara()
    (selection, other) = selections_of(method, server, cohort_of(0.5, 0.5))
    update = trained(method, server, selection, 3)
    following = method.aggregate(server, iter([update]), STREAMS)
    personal = method.personal_model(following, selection.client)
    assert personal is not None and method.personal_model(following, other.client) is None
    dense = initial(small_task(CNN))
    dense.load_state_dict(following.model.state_dict())
    dense.get_parameter("conv2.weight").data = kernel_of(factors_of(following), dict(update.local))
    inputs = batch_of(small_task(CNN), 3)
    torch.testing.assert_close(personal(inputs), dense(inputs), rtol=1e-4, atol=1e-5)
    assert not torch.allclose(personal(inputs), following.model(inputs), atol=1e-3)


def test_what_a_client_keeps_does_not_share_memory_with_the_update() -> None:
    method, server = pfedpara()
    (selection,) = selections_of(method, server, cohort_of(0.5))
    update = trained(method, server, selection, 3)
    following = method.aggregate(server, iter([update]), STREAMS)
    for tensor in update.local.values():
        tensor.fill_(7)
    assert not any((following.memory[f"client/0/{name}"] == 7).any() for name in OWN)


@pytest.mark.parametrize("name", [CNN, RESNET])
def test_a_run_keeps_halves_over_rounds_and_counts_the_bytes_of_the_others(name: str) -> None:
    training = {"rounds": 4, "clients": 3, "cohort": 2}
    built = federation("pfedpara", name, keep=0.5, parameters={"init": "matched"}, training=training)
    engine = Recorder(built)
    simulation = Simulation(built, engine)
    with prepared():
        rounds = list(simulation.rounds())
    kept: dict[int, dict[str, Tensor]] = {}
    for (job, _), result in zip(engine.jobs, engine.results, strict=True):
        held = dict(job.submodel.named_parameters())
        sent = sum(tensor.nbytes for tensor in result.parameters.values())
        own = sum(tensor.nbytes for tensor in result.local.values())
        assert result.parameters.keys().isdisjoint(result.local) and own > 0
        assert {*result.parameters, *result.local} == set(held)
        assert sent + own == 4 * sum(tensor.numel() for tensor in held.values())
        kept[job.client] = result.local
    members = [member for this in rounds for member in this.members]
    for member, result in zip(members, engine.results, strict=True):
        sent = sum(tensor.nbytes for tensor in result.parameters.values())
        assert member.up_bytes == member.down_bytes == sent
        assert member.cost.down_bytes > member.down_bytes
    for client, local in kept.items():
        for factor, tensor in local.items():
            assert torch.equal(simulation.server.memory[f"client/{client}/{factor}"], tensor)
    assert len(kept) == 3
    assert rounds[0].personal_acc is None and all(this.personal_acc is not None for this in rounds[1:])


def test_a_client_starts_a_round_with_what_it_kept() -> None:
    training = {"rounds": 3, "clients": 2, "cohort": 2}
    built = federation("pfedpara", CNN, keep=0.5, parameters={"init": "matched"}, training=training)
    starts: list[tuple[int, dict[str, Tensor]]] = []
    extract = built.method.extract

    def noted(server: Server, selection: Selection) -> nn.Module:
        submodel = extract(server, selection)
        held = {name: tensor.detach().clone() for name, tensor in submodel.named_parameters() if name in OWN}
        starts.append((selection.client.number, held))
        return submodel

    built.method.extract = noted  # type: ignore[method-assign]
    engine = Recorder(built)
    with prepared():
        list(Simulation(built, engine).rounds())
    last: dict[int, dict[str, Tensor]] = {}
    for (client, held), result in zip(starts, engine.results, strict=True):
        if client in last:
            assert all(torch.equal(held[name], last[client][name]) for name in OWN)
            assert not any(torch.equal(held[name], result.local[name]) for name in OWN)
        last[client] = {name: tensor.clone() for name, tensor in result.local.items()}
    assert len(starts) == 6


def test_composition_adds_one_to_the_second_half() -> None:
    ones = {"o": torch.ones(1, 2), "i": torch.full((1, 3), 2.0)}
    assert torch.equal(composed(ones, ones, 1.0), torch.full((2, 3), 6.0))
