"""One layer of an LSTM with factored matrices, with a hand-written backward pass.

Autograd would multiply out one small gradient of each factor per time step and launch some forty small operations a
step. Here everything that is not truly sequential is done for the whole sequence at once: the input's share of the
gates, the derivatives of the activations, and the gradients of the factors, which are one large product each. What is
left in the loops is eight operations a step. On the CPU compiled loops do better still, see ``compiled_recurrence``.
"""

from __future__ import annotations

from contextlib import AbstractContextManager, nullcontext
from typing import Any

import torch
from torch import Tensor
from torch.amp.autocast_mode import is_autocast_available

from bench.models.compiled_recurrence import compiled_layer, compiles


def low_rank_lstm_layer(
    sequence: Tensor, into: tuple[Tensor, Tensor], recurrent: tuple[Tensor, Tensor], bias: Tensor
) -> Tensor:
    """Return the hidden states of one LSTM layer from a zero initial state.

    Under autocast the compiled loops take its type for the products (and return it); PyTorch's operations stay in the
    parameters' type.

    Args:
        sequence: ``[length, batch, features]``.
        into: U ``[4 * hidden, rank]`` and V ``[rank, features]`` of the input matrix (gates in torch's order
            i, f, g, o).
        recurrent: U ``[4 * hidden, rank]`` and V ``[rank, hidden]`` of the recurrent matrix.
        bias: ``[4 * hidden]``, the sum of both biases.

    Returns:
        ``[length, batch, hidden]``.
    """
    dtype = _products_dtype(sequence.device, bias.dtype)
    with without_autocast(sequence.device):
        if compiles(sequence.device, dtype):
            return compiled_layer(sequence, into, recurrent, bias, dtype)
        reduced = sequence.to(bias.dtype).flatten(0, 1) @ into[1].T
        gates = torch.addmm(_squashed_first(bias), reduced, _squashed_first(into[0]).T)
        gates, u, v = gates.unflatten(0, sequence.shape[:2]), _squashed_first(recurrent[0]), recurrent[1]
        # Costs are counted on the meta device, from what autograd sees.
        return step_by_step(gates, u, v) if gates.device.type == "meta" else _Recurrence.apply(gates, u, v)


def step_by_step(inputs: Tensor, u: Tensor, v: Tensor) -> Tensor:
    """Return the hidden states ``[length, batch, hidden]`` in operations that autograd knows, slowly.

    Args:
        inputs: the input's share of the gates, ``[length, batch, 4 * hidden]``, in the order g, i, f, o.
        u, v: factors of the recurrent matrix, ``[4 * hidden, rank]`` in the same order and ``[rank, hidden]``.
    """
    hidden = cell = inputs.new_zeros(inputs.shape[1], v.shape[1])
    states = []
    for given in inputs:
        value, enter, forget, leave = torch.addmm(given, hidden @ v.T, u.T).chunk(4, 1)
        cell = forget.sigmoid() * cell + enter.sigmoid() * value.tanh()
        hidden = leave.sigmoid() * cell.tanh()
        states.append(hidden)
    return torch.stack(states)


def _products_dtype(device: torch.device, own: torch.dtype) -> torch.dtype:
    """Return the type that autocast asks products for, or the parameters' own where it is off or they are float64."""
    asked = is_autocast_available(device.type) and torch.is_autocast_enabled(device.type)
    return torch.get_autocast_dtype(device.type) if asked and own == torch.float32 else own


def without_autocast(device: torch.device) -> AbstractContextManager[object]:
    """Return a context without autocast: products that write to a given tensor want all of one type."""
    if is_autocast_available(device.type):
        return torch.autocast(device.type, enabled=False)
    return nullcontext()


def _squashed_first(rows: Tensor) -> Tensor:
    """Reorder the gates along the first dimension from i, f, g, o to g, i, f, o: the sigmoids become neighbours."""
    enter_forget, value, leave = rows.split([rows.shape[0] // 2, rows.shape[0] // 4, rows.shape[0] // 4])
    return torch.cat([value, enter_forget, leave])


class _Recurrence(torch.autograd.Function):
    """h_t, c_t = cell(inputs_t + U V h_{t-1}, c_{t-1}) with gates in the order g, i, f, o."""

    @staticmethod
    def forward(ctx: Any, inputs: Tensor, u: Tensor, v: Tensor) -> Tensor:
        length, batch, width = inputs.shape
        size = width // 4
        gates = torch.empty_like(inputs)
        hidden = inputs.new_zeros(length + 1, batch, size)
        cell = inputs.new_zeros(length + 1, batch, size)
        squashed = inputs.new_empty(length, batch, size)
        reduced = inputs.new_empty(length, batch, v.shape[0])
        value, enter, forget, leave = (part.unbind() for part in gates.split(size, 2))
        sigmoids = gates[:, :, size:].unbind()
        steps = zip(inputs.unbind(), gates.unbind(), reduced.unbind(), sigmoids, squashed.unbind(), strict=True)
        hiddens, cells = hidden.unbind(), cell.unbind()
        v_transposed, u_transposed = v.T, u.T
        for t, (given, all_gates, low, sigmoid_gates, squashed_cell) in enumerate(steps):
            torch.mm(hiddens[t], v_transposed, out=low)
            torch.addmm(given, low, u_transposed, out=all_gates)
            value[t].tanh_()
            sigmoid_gates.sigmoid_()
            torch.mul(forget[t], cells[t], out=cells[t + 1])
            cells[t + 1].addcmul_(enter[t], value[t])
            torch.tanh(cells[t + 1], out=squashed_cell)
            torch.mul(leave[t], squashed_cell, out=hiddens[t + 1])
        ctx.save_for_backward(gates, hidden, cell, squashed, reduced, u, v)
        return hidden[1:]

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        gates, hidden, cell, squashed, reduced, u, v = ctx.saved_tensors
        length, size = gates.shape[0], gates.shape[2] // 4
        value, enter, forget, leave = gates.split(size, 2)
        # d gates = slope * (d cell for g, i, f; d hidden for o); d cell takes d hidden * into_cell.
        slope = torch.cat(
            [
                enter * (1 - value**2),
                value * enter * (1 - enter),
                cell[:-1] * forget * (1 - forget),
                squashed * leave * (1 - leave),
            ],
            2,
        )
        into_cell = leave * (1 - squashed**2)
        d_gates = slope.unflatten(2, (4, size))
        by_cell, by_hidden = d_gates[:, :, :3].unbind(), d_gates[:, :, 3].unbind()
        flat, forgets, into_cells = slope.unbind(), forget.unbind(), into_cell.unbind()
        d_reduced = torch.empty_like(reduced)
        lows, arriving = d_reduced.unbind(), gradients[0].unbind()
        d_cell = torch.zeros_like(hidden[0])
        d_hidden = torch.zeros_like(hidden[0])
        for t in reversed(range(length)):
            d_hidden.add_(arriving[t])
            d_cell.addcmul_(d_hidden, into_cells[t])
            by_cell[t].mul_(d_cell[:, None])
            by_hidden[t].mul_(d_hidden)
            d_cell.mul_(forgets[t])
            torch.mm(flat[t], u, out=lows[t])
            torch.mm(lows[t], v, out=d_hidden)
        d_u = slope.flatten(0, 1).T @ reduced.flatten(0, 1)
        d_v = d_reduced.flatten(0, 1).T @ hidden[:-1].flatten(0, 1)
        return slope, d_u, d_v
