"""Small transformers with drawn values, and what they compute written down with PyTorch's own layers."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional

from bench.models.base import blank
from bench.models.cct import CCT
from bench.models.gpt import GPT
from bench.models.transformer import Block, Transformer

HEADS, VOCABULARY, CONTEXT, SIDE = 2, 11, 9, 12
KINDS = ("gpt", "cct")


def small(kind: str, layers: int = 2, **more: Any) -> Transformer:
    """Return a transformer of 8 channels whose parameters are all drawn, normalisation and biases too."""
    with torch.device("meta"):
        if kind == "gpt":
            model: Transformer = GPT(GPT.default_channels(8, HEADS, layers), HEADS, VOCABULARY, CONTEXT, **more)
        else:
            model = CCT(CCT.default_channels(8, HEADS, layers), HEADS, 5, (SIDE, SIDE), **more)
    blank(model)
    return filled(model)


@torch.no_grad()
def filled(model: Transformer, seed: int = 0) -> Transformer:
    """Return a model with drawn values, in evaluation mode."""
    generator = torch.Generator().manual_seed(seed)
    for tensor in model.parameters():
        tensor.normal_(0.0, 0.5, generator=generator)
    return model.eval()


def inputs_of(kind: str, samples: int = 3) -> Tensor:
    """Return tokens or images."""
    generator = torch.Generator().manual_seed(1)
    if kind == "gpt":
        return torch.randint(VOCABULARY, (samples, CONTEXT), generator=generator)
    return torch.randn(samples, 3, SIDE, SIDE, generator=generator).contiguous(memory_format=torch.channels_last)


def attention_like(block: Block, embedding: int) -> nn.MultiheadAttention:
    """Return PyTorch's attention with a block's weights."""
    own = block.attention
    theirs = nn.MultiheadAttention(embedding, own.heads, batch_first=True)
    parts = (own.query, own.key, own.value)
    with torch.no_grad():
        theirs.in_proj_weight.copy_(torch.cat([part.weight for part in parts]))
        biases = [torch.zeros(embedding) if part.bias is None else part.bias for part in parts]
        theirs.in_proj_bias.copy_(torch.cat(biases))
        theirs.out_proj.load_state_dict(own.output.state_dict())
    return theirs


def encoder_layer_like(block: Block, embedding: int) -> nn.TransformerEncoderLayer:
    """Return PyTorch's layer with the weights of a block of GPT-2."""
    layer = nn.TransformerEncoderLayer(
        embedding, block.attention.heads, block.expand.out_features, 0.0, batch_first=True, norm_first=True,
        activation=lambda hidden: functional.gelu(hidden, approximate="tanh"),
    )  # fmt: skip
    layer.self_attn = attention_like(block, embedding)
    pairs = ((layer.norm1, block.norm1), (layer.norm2, block.norm2), (layer.linear1, block.expand))
    for theirs, ours in (*pairs, (layer.linear2, block.contract)):
        theirs.load_state_dict(ours.state_dict())
    return layer


def gpt_written_down(model: GPT, tokens: Tensor) -> Tensor:
    """Return what a GPT-2 computes."""
    embedding, length = model.channels()["embedding"], tokens.shape[1]
    mask = nn.Transformer.generate_square_subsequent_mask(length)
    hidden = model.embedding.weight[tokens] + model.positions.weight[:length]
    for block in model.blocks:
        assert isinstance(block, Block)
        hidden = encoder_layer_like(block, embedding)(hidden, mask, is_causal=True)
    return functional.layer_norm(
        hidden, (embedding,), model.norm.weight, model.norm.bias
    ) @ model.classifier.weight.T + (model.classifier.bias)


def cct_written_down(model: CCT, images: Tensor) -> Tensor:
    """Return what the released code of compact transformers computes."""
    embedding, hidden = model.channels()["embedding"], images
    for conv in (model.tokeniser.conv1, model.tokeniser.conv2):
        hidden = functional.max_pool2d(functional.relu(functional.conv2d(hidden, conv.weight, padding=1)), 3, 2, 1)
    hidden = torch.stack([image.reshape(embedding, -1).T for image in hidden]) + model.positions.weight
    for block in model.blocks:
        assert isinstance(block, Block)
        normed = block.norm1(hidden)
        hidden = block.norm2(hidden + attention_like(block, embedding)(normed, normed, normed)[0])
        wide = hidden @ block.expand.weight.T + block.expand.bias
        wide = wide * (1 + torch.erf(wide / 2**0.5)) / 2
        hidden = hidden + wide @ block.contract.weight.T + block.contract.bias
    hidden = functional.layer_norm(hidden, (embedding,), model.norm.weight, model.norm.bias)
    scores = hidden @ model.pool.weight[0] + model.pool.bias
    shares = scores.exp() / scores.exp().sum(1, keepdim=True)
    return torch.einsum("st,ste->se", shares, hidden) @ model.classifier.weight.T + model.classifier.bias


def written_down(model: Transformer, inputs: Tensor) -> Tensor:
    """Return what a transformer computes, from PyTorch's own layers and formulae."""
    if isinstance(model, GPT):
        return gpt_written_down(model, inputs)
    assert isinstance(model, CCT)
    return cct_written_down(model, inputs)
