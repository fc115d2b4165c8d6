"""Transformers: their sizes, what they compute, where they are cut, and the low-rank forms of their layers."""

from __future__ import annotations

import copy

import pytest
import torch
from attentive import CONTEXT, HEADS, KINDS, VOCABULARY, inputs_of, small, written_down
from torch import Tensor, nn
from torch.nn import functional

from bench.models.attention import attend
from bench.models.base import Model, blank, matrix
from bench.models.cct import CCT, initialise_cct
from bench.models.factorise import factorised, narrowed, with_layers
from bench.models.gpt import GPT, initialise_gpt
from bench.models.hadamard import composed, factor_shapes, hadamard_layer, half_of, names_of
from bench.models.low_rank import Factors
from bench.models.masked import Kept, masked_layer
from bench.models.recompute import blocks_of, recomputing
from bench.models.transformer import Block


def count_of(model: nn.Module) -> int:
    return sum(tensor.numel() for tensor in model.parameters())


def whole_cct(classes: int, side: int) -> CCT:
    with torch.device("meta"):
        return CCT(CCT.default_channels(), 4, classes, (side, side))


@pytest.mark.parametrize(
    ("classes", "side", "published"), [(10, 32, 3_326_923), (100, 32, 3_350_053), (200, 64, 3_424_905)]
)
def test_cct_6_3x2_has_the_parameters_of_its_layers(classes: int, side: int, published: int) -> None:
    """3.33 M with 10 classes in the authors' table; the number is that of their code's layers, counted by hand."""
    e, m = 256, 512
    tokeniser, positions = 9 * 3 * 64 + 9 * 64 * e, (side // 4) ** 2 * e
    attention, mlp = 3 * e * e + (e * e + e), (e * m + m) + (m * e + e)
    block = 2 * (2 * e) + attention + mlp
    expected = tokeniser + positions + 6 * block + 2 * e + (e + 1) + (e * classes + classes)
    assert count_of(whole_cct(classes, side)) == expected == published


def test_gpt_has_the_parameters_of_its_layers() -> None:
    """GPT-2's small model has 124,439,808 with tied matrices; those of ours are two, and the last has biases."""
    e, vocabulary, context = 768, 50_257, 1024
    with torch.device("meta"):
        model = GPT(GPT.default_channels(e, 12, 12), 12, vocabulary, context)
    assert count_of(model) == 124_439_808 + vocabulary * (e + 1)


@pytest.mark.parametrize("kind", KINDS)
def test_the_outputs_are_those_of_plain_layers(kind: str) -> None:
    model, inputs = small(kind), inputs_of(kind)
    torch.testing.assert_close(model(inputs), written_down(model, inputs), rtol=1e-4, atol=1e-4)
    assert model(inputs).shape == ((3, CONTEXT, VOCABULARY) if kind == "gpt" else (3, 5))


@pytest.mark.parametrize("causal", [True, False])
def test_fused_attention_is_the_softmax_written_down(causal: bool) -> None:
    query, key, value = torch.randn(3, 2, 3, 7, 5, generator=torch.Generator().manual_seed(0)).unbind()
    scores = query @ key.mT / 5**0.5
    if causal:
        scores = scores.masked_fill(torch.ones(7, 7).triu(1).bool(), -torch.inf)
    torch.testing.assert_close(attend(query, key, value, causal), scores.softmax(-1) @ value)


def test_no_position_of_gpt_sees_what_follows_it() -> None:
    model, tokens = small("gpt"), inputs_of("gpt")
    others = tokens.clone()
    others[:, 5] = (tokens[:, 5] + 1) % VOCABULARY
    before, after = model(tokens), model(others)
    assert torch.equal(before[:, :5], after[:, :5])
    assert not torch.isclose(before[:, 5:], after[:, 5:]).all(-1).any()
    torch.testing.assert_close(model(tokens[:, :4]), before[:, :4])


@pytest.mark.parametrize("kind", KINDS)
def test_axes_parts_and_outputs_say_what_the_model_is_made_of(kind: str) -> None:
    model = small(kind)
    sizes, axes, named = model.channels(), model.axes(), dict(model.named_parameters())
    assert axes.keys() == named.keys()
    for name, tensor in named.items():
        for length, axis in zip(tensor.shape, axes[name], strict=True):
            assert axis is None or axis.outer * axis.inner * sizes[axis.group] == length
        assert sum(name.startswith(prefix) for part in model.parts() for prefix in part) == 1
    assert len(model.parts()) == (4 if kind == "gpt" else 5)  # the tokeniser's convolutions are two
    assert len(blocks_of(model)) == 2 and {*model.factorable} <= {*named}
    assert all(len(named[name]) == model.classes for name in model.outputs)


@pytest.mark.parametrize("kind", KINDS)
def test_what_is_factored_is_all_between_the_first_and_the_last_or_the_mlp(kind: str) -> None:
    within = [f"attention.{part}" for part in ("query", "key", "value", "output")] + ["expand", "contract"]
    inner = [f"blocks.{block}.{name}.weight" for block in range(2) for name in within]
    tokeniser = ["tokeniser.conv2.weight"] if kind == "cct" else []
    assert list(small(kind).factorable) == tokeniser + inner
    mlp = [name for name in inner if "attention" not in name]
    assert list(small(kind, factored="mlp").factorable) == mlp


@pytest.mark.parametrize("kind", KINDS)
def test_all_channels_are_the_full_model(kind: str) -> None:
    model, inputs = small(kind), inputs_of(kind)
    whole = narrowed(model, {group: torch.arange(size) for group, size in model.channels().items()})
    assert torch.equal(whole.eval()(inputs), model(inputs))


def uneven(model: Model) -> dict[str, Tensor]:
    """Return some channels of each group, in no even share."""
    sizes = model.channels()
    return {
        group: torch.tensor([*range(1, size, 2), *([0] if size > 4 else [])]).sort()[0] for group, size in sizes.items()
    }


def test_a_narrowed_block_is_one_of_sliced_heads() -> None:
    """Each head keeps the same channels, and divides by the root of its own size: with weights sliced by hand."""
    model = small("gpt")
    kept = uneven(model)
    narrow, block = narrowed(model, kept).eval(), model.blocks[1]
    assert isinstance(block, Block)
    e, h, m = (kept[group].tolist() for group in ("embedding", "block1.head", "block1.mlp"))
    assert (len(e), len(h)) == (5, 2) and narrow.channels()["block1.head"] == 2
    hidden = torch.randn(3, 6, len(e), generator=torch.Generator().manual_seed(0))

    def normed(layer: nn.Module, inputs: Tensor) -> Tensor:
        assert isinstance(layer, nn.LayerNorm)
        return functional.layer_norm(inputs, (len(e),), layer.weight[e], layer.bias[e])

    inputs, own = normed(block.norm1, hidden), block.attention
    read = torch.zeros(3, 6, len(e))
    for head in range(HEADS):
        rows = [head * 4 + channel for channel in h]
        query, key, value = (
            inputs @ layer.weight[rows][:, e].T + layer.bias[rows] for layer in (own.query, own.key, own.value)
        )
        scores = (query @ key.mT / len(h) ** 0.5).masked_fill(torch.ones(6, 6).triu(1).bool(), -torch.inf)
        read += scores.softmax(-1) @ value @ own.output.weight[e][:, rows].T
    hidden_after = hidden + read + own.output.bias[e]
    wide = normed(block.norm2, hidden_after) @ block.expand.weight[m][:, e].T + block.expand.bias[m]
    wide = functional.gelu(wide, approximate="tanh")
    expected = hidden_after + wide @ block.contract.weight[e][:, m].T + block.contract.bias[e]
    inner = narrow.get_submodule("blocks.1")
    torch.testing.assert_close(inner(hidden), expected, rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("kind", KINDS)
def test_a_narrow_model_computes_what_its_channels_do(kind: str) -> None:
    model, inputs = small(kind), inputs_of(kind)
    narrow = narrowed(model, uneven(model)).eval()
    if kind == "cct":  # that of GPT is compared block by block: PyTorch's layers want as many channels as heads have
        assert narrow.tokeniser.conv2.weight.shape == (5, 1, 3, 3)
    assert narrow(inputs).shape == model(inputs).shape
    half = narrowed(model, {group: torch.arange(size // 2) for group, size in model.channels().items()}).eval()
    torch.testing.assert_close(half(inputs), written_down(half, inputs), rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("kind", KINDS)
def test_shallower_models_are_the_first_blocks(kind: str) -> None:
    model, inputs = small(kind, layers=3), inputs_of(kind)
    shallow = model.shallower()
    assert [one.depth for one in shallow] == [2, 1]
    for one in shallow:
        blank(one)
        one.load_state_dict({name: tensor for name, tensor in model.state_dict().items() if name in one.state_dict()})
        torch.testing.assert_close(one.eval()(inputs), written_down(one, inputs), rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("kind", KINDS)
def test_exits_see_the_stream_normalised_and_the_last_what_the_classifier_reads(kind: str) -> None:
    model, inputs = small(kind, layers=3), inputs_of(kind)
    states = list(model.hidden_states(inputs))
    assert len(model.exits()) == len(states) == 3
    torch.testing.assert_close(model.classifier(states[-1]), model(inputs))
    streams: list[Tensor] = []
    handles = [block.register_forward_hook(lambda *given: streams.append(given[2])) for block in model.blocks]
    model(inputs)
    for handle in handles:
        handle.remove()
    for stream, state in zip(streams[:-1], states[:-1], strict=True):
        plain = (stream - stream.mean(-1, keepdim=True)) / (stream.var(-1, correction=0, keepdim=True) + 1e-5).sqrt()
        torch.testing.assert_close(state, plain if kind == "gpt" else plain.mean(1))
    for count in (1, 2, 3):
        short = copy.deepcopy(model)
        short.shorten(count)
        assert all(map(torch.equal, short.hidden_states(inputs), states)) and len(short.blocks) == count
        left = {name.partition(".")[0] for name, _ in short.named_parameters()}
        assert "classifier" not in left and ("norm" in left) == (count == 3)


@pytest.mark.parametrize("kind", KINDS)
def test_scaled_layers_are_those_with_divided_weights(kind: str) -> None:
    """In training alone, as HeteroFL's scaler: embeddings, convolutions, projections and linear layers."""
    model, inputs, rate = small(kind), inputs_of(kind), 0.5
    divided = copy.deepcopy(model)
    with torch.no_grad():
        for name, layer in divided.named_modules():
            if isinstance(layer, nn.Linear | nn.Conv2d | nn.Embedding) and name not in ("pool", "classifier"):
                for tensor in layer.parameters():
                    tensor.div_(rate)
    plain = model(inputs)
    model.scale_hidden(rate)
    assert torch.equal(model(inputs), plain)
    torch.testing.assert_close(model.train()(inputs), divided(inputs), rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("kind", KINDS)
def test_blocks_computed_anew_have_the_same_gradients(kind: str) -> None:
    model, inputs = small(kind), inputs_of(kind)

    def gradients() -> list[Tensor]:
        return list(torch.autograd.grad(model(inputs).square().sum(), list(model.parameters())))

    plain = gradients()
    with recomputing(model):
        again = gradients()
    assert all(map(torch.equal, plain, again))


@pytest.mark.parametrize("kind", KINDS)
def test_factored_layers_are_dense_ones_of_their_products(kind: str) -> None:
    model, inputs = small(kind), inputs_of(kind)
    generator = torch.Generator().manual_seed(2)
    factors, dense = {}, copy.deepcopy(model)
    for name in model.factorable:
        outputs, columns = matrix(model.get_parameter(name)).shape
        u, v, scale = (torch.randn(*shape, generator=generator) / 2 for shape in ((outputs, 3), (3, columns), (3,)))
        factors[name] = Factors(u, v, scale)
        weight = dense.get_parameter(name)
        weight.data = (u @ torch.diag(scale) @ v).reshape(weight.shape)
    low_rank = factorised(model, factors)
    compare_training(low_rank, dense, inputs)


@pytest.mark.parametrize("kind", KINDS)
def test_products_of_low_rank_tensors_are_dense_weights(kind: str) -> None:
    model, inputs = small(kind), inputs_of(kind)
    generator = torch.Generator().manual_seed(2)
    layers, dense = {}, copy.deepcopy(model)
    for name in model.factorable:
        weight, owner = model.get_parameter(name), name.removesuffix(".weight")
        factors: dict[str, Tensor] = {}
        for half in "12":
            of_half = names_of("weight", half, weight.ndim)
            shapes = factor_shapes(tuple(weight.shape), 2)
            factors |= {of_half[key]: torch.randn(shape, generator=generator) / 2 for key, shape in shapes.items()}
        layers[owner] = hadamard_layer(model.get_submodule(owner), factors, 0.0, False)
        halves = [{key: factors[own] for key, own in names_of("weight", half, weight.ndim).items()} for half in "12"]
        dense.get_parameter(name).data = half_of(halves[0]) * half_of(halves[1])
        torch.testing.assert_close(composed(*halves), dense.get_parameter(name))
    compare_training(with_layers(model, layers), dense, inputs)


@pytest.mark.parametrize("kind", KINDS)
def test_masked_layers_are_dense_ones_with_zeros(kind: str) -> None:
    model, inputs = small(kind), inputs_of(kind)
    layers, dense = {}, copy.deepcopy(model)
    for name in model.factorable:
        weight, owner = model.get_parameter(name), name.removesuffix(".weight")
        positions = torch.arange(0, weight.numel(), 3)
        kept = {"weight": Kept(weight.detach().flatten()[positions], positions, weight.shape)}
        layers[owner] = masked_layer(model.get_submodule(owner), kept, torch.tensor(0.0), False)
        zeros = torch.ones(weight.numel()).index_fill(0, positions, 0.0).bool().view(weight.shape)
        dense.get_parameter(name).data[zeros] = 0.0
    compare_training(with_layers(model, layers), dense, inputs)


def compare_training(submodel: nn.Module, dense: Model, inputs: Tensor) -> None:
    """Compare outputs, and the gradients of what both have."""
    torch.testing.assert_close(submodel(inputs), written_down(dense, inputs), rtol=1e-3, atol=1e-3)  # type: ignore[arg-type]
    for model in (submodel, dense):
        model.zero_grad()
        model(inputs).square().mean().backward()
    theirs = dict(dense.named_parameters())
    shared = [name for name, _ in submodel.named_parameters() if name in theirs and name not in dense.factorable]
    assert any("norm1" in name for name in shared)
    for name in shared:
        torch.testing.assert_close(submodel.get_parameter(name).grad, theirs[name].grad, rtol=1e-3, atol=1e-4)


def test_initial_values_follow_the_released_laws() -> None:
    with torch.device("meta"):
        gpt, cct = GPT(GPT.default_channels(128, 4, 3), 4, 90, 80), CCT(CCT.default_channels())
    for model, draw in ((gpt, initialise_gpt), (cct, initialise_cct)):
        blank(model)
        draw(model, torch.Generator().manual_seed(0))  # type: ignore[operator]
    deviations = {
        name: float(tensor.detach().std(correction=0))
        for model in (gpt, cct)
        for name, tensor in model.named_parameters()
    }
    expected = {
        "embedding.weight": 0.02,
        "blocks.1.attention.output.weight": 0.02,
        "blocks.1.expand.weight": 0.02,
        "positions.weight": 0.2,
        "tokeniser.conv2.weight": (2 / (9 * 64)) ** 0.5,
    }
    assert all(abs(deviations[name] / value - 1) < 0.05 for name, value in expected.items())
    assert abs(float(gpt.blocks[2].contract.weight.detach().std()) / (0.02 / 6**0.5) - 1) < 0.05  # type: ignore[union-attr]
    layers = [layer for model in (gpt, cct) for layer in model.modules() if isinstance(layer, nn.Linear)]
    assert all(layer.bias is None or not layer.bias.any() for layer in layers)
