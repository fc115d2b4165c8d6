"""Where models can end: their hidden states, what is left of a shortened model, and the heads at its exits."""

from __future__ import annotations

import pytest
import torch
from helpers import CNN, LSTM, RESNET, TASKS, batch_of, initial, small_task, values_of
from torch import nn
from torch.nn import functional

from bench.models.base import Model
from bench.models.heads import Bottleneck, Classifier, ConvolvedHead, Head, stage_exits
from bench.models.multi_exit import MultiExit, ended, with_heads

HEADS: tuple[type[Head], ...] = (Classifier, ConvolvedHead, Bottleneck)
SMALL = {RESNET: (8, 4), CNN: (2, 2), LSTM: (2, 2)}
"""Exits, and those at which a stage ends."""


def multi_exit(name: str, early: type[Head] = Classifier, ensemble: bool = True) -> tuple[MultiExit, Model]:
    """Return a model with heads at the ends of its stages, and the model that it was made of."""
    task = small_task(name)
    model, plain = initial(task), initial(task)
    whole = with_heads(model, stage_exits(model), early, ensemble, torch.Generator().manual_seed(0))
    return whole, plain


@pytest.mark.parametrize("name", TASKS)
def test_the_last_hidden_state_is_what_the_classifier_reads(name: str) -> None:
    whole, plain = multi_exit(name)
    assert (len(plain.exits()), len(stage_exits(plain))) == SMALL[name]
    inputs = batch_of(small_task(name), 4)
    with whole.each_head():
        outputs = whole.eval()(inputs)
    assert torch.equal(outputs[-1], plain.eval()(inputs))
    torch.testing.assert_close(whole(inputs), outputs.mean(0))
    assert torch.equal(multi_exit(name, ensemble=False)[0].eval()(inputs), outputs[-1])


def test_hidden_states_of_the_lstm_are_its_layers_last_steps() -> None:
    model, inputs = initial(small_task(LSTM)), batch_of(small_task(LSTM), 4)
    first = nn.LSTM(6, 8, batch_first=True)
    first.load_state_dict({n: t for n, t in model.lstm.state_dict().items() if n.endswith("0")})
    states, _ = first(model.embedding(inputs))
    one, two = model.hidden_states(inputs)
    torch.testing.assert_close(one, states[:, -1])
    torch.testing.assert_close(two, model.lstm(model.embedding(inputs))[0][:, -1])


@pytest.mark.parametrize("name", TASKS)
def test_a_shortened_model_has_the_first_parameters_alone(name: str) -> None:
    whole = initial(small_task(name))
    inputs, values = batch_of(small_task(name), 2), values_of(whole)
    states = list(whole.eval().hidden_states(inputs))
    for count in range(1, len(whole.exits()) + 1):
        model = initial(small_task(name)).eval()
        model.shorten(count)
        left = values_of(model)
        assert all(torch.equal(values[parameter], value) for parameter, value in left.items())
        assert not any(parameter.startswith("classifier") for parameter in left)
        assert set(model.factorable) == set(whole.factorable) & left.keys()
        own = list(model.hidden_states(inputs))
        assert len(own) == count and all(map(torch.equal, own, states))


@pytest.mark.parametrize("early", HEADS)
@pytest.mark.parametrize("name", TASKS)
def test_axes_and_parts_say_what_a_model_with_heads_is_made_of(name: str, early: type[Head]) -> None:
    whole, _ = multi_exit(name, early)
    sizes, axes = whole.channels(), whole.axes()
    for parameter, tensor in whole.named_parameters():
        for length, axis in zip(tensor.shape, axes[parameter], strict=True):
            assert axis is None or axis.outer * axis.inner * sizes[axis.group] == length
        assert sum(parameter.startswith(prefix) for part in whole.parts() for prefix in part) == 1
    half = {group: torch.arange(0, size, 2) for group, size in sizes.items()}
    for count in range(1, len(whole.places) + 1):
        part = ended(whole, whole.places[:count], half)
        assert part(batch_of(small_task(name), 2)).shape == whole(batch_of(small_task(name), 2)).shape
        assert {*part.axes()} == {parameter for parameter, _ in part.named_parameters()}


@pytest.mark.parametrize("early", HEADS)
@pytest.mark.parametrize("name", TASKS)
def test_a_part_computes_what_the_whole_computes_up_to_there(name: str, early: type[Head]) -> None:
    whole, _ = multi_exit(name, early)
    inputs = batch_of(small_task(name), 3)
    with whole.each_head():
        outputs = whole.eval()(inputs)
    for count in range(1, len(whole.places) + 1):
        part = ended(whole, whole.places[:count])
        torch.testing.assert_close(part.eval()(inputs), outputs[:count].mean(0))
        part.heads[str(whole.places[0])].requires_grad_(False).apply(_zero)
        assert torch.equal(whole(inputs), outputs.mean(0)), "it shares no memory with the whole"


def _zero(module: nn.Module) -> None:
    for tensor in module.parameters(recurse=False):
        tensor.data.zero_()


def test_the_bottleneck_is_attention_separable_convolutions_mean_and_linear() -> None:
    """Against the same written down with PyTorch's functions, at the last exit but one."""
    whole, _ = multi_exit(RESNET, Bottleneck)
    place = str(whole.places[-2])
    t = {name.removeprefix(f"heads.{place}."): tensor for name, tensor in whole.named_parameters()}

    def pair(inputs: torch.Tensor, at: str) -> torch.Tensor:
        hidden = functional.conv2d(inputs, t[f"{at}.depth1.weight"], stride=2, padding=1, groups=inputs.shape[1])
        hidden = norm(functional.conv2d(hidden, t[f"{at}.point1.weight"]), f"{at}.norm1")
        hidden = functional.conv2d(hidden, t[f"{at}.depth2.weight"], padding=1, groups=inputs.shape[1])
        return norm(functional.conv2d(hidden, t[f"{at}.point2.weight"]), f"{at}.norm2")

    def norm(inputs: torch.Tensor, at: str) -> torch.Tensor:
        normed = functional.batch_norm(inputs, None, None, t[f"{at}.weight"], t[f"{at}.bias"], training=True)
        return functional.relu(normed)

    hidden = torch.randn(5, 16, 8, 8, generator=torch.Generator().manual_seed(1))
    looked = norm(pair(hidden, "attention"), "attention_norm")
    attended = functional.interpolate(looked, scale_factor=2, mode="bilinear").sigmoid() * hidden
    expected = pair(attended, "pairs.0").mean((2, 3)) @ t["linear.weight"].T + t["linear.bias"]
    torch.testing.assert_close(whole.heads[place](hidden), expected, rtol=1e-4, atol=1e-4)
