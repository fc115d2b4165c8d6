"""What is asked of the harness, and whether it is met.

The targets of time are those of a processor; on an accelerator there are none. Where the processor only emulates
bfloat16 there are none for that precision: it is slower than single precision there, whatever the harness does.
"""

from __future__ import annotations

from collections.abc import Mapping

from bench.perf.workloads import CCT, CNN, GPT, LSTM, RESNET

TIME_RATIOS: dict[tuple[str, str], float] = {
    (RESNET, "fp32"): 0.95,
    (RESNET, "bf16"): 0.50,
    (CNN, "fp32"): 0.70,
    (CNN, "bf16"): 0.42,
    (LSTM, "fp32"): 0.70,
    (LSTM, "bf16"): 0.42,
    (CCT, "fp32"): 1.0,
    (GPT, "fp32"): 1.0,
}
"""At most: seconds of the harness, all cores and full models, over those of the bare fp32 loop with all threads."""

SPEEDUPS: dict[tuple[str, str], float] = {(RESNET, "fp32"): 3.5, (RESNET, "bf16"): 2.8}
"""At least: seconds of the harness on full models over those on sub-models of keep ratio 0.2, in the same precision."""


def target_of(targets: Mapping[tuple[str, str], float], task: str, precision: str, bf16_native: bool) -> float | None:
    """Return the target of a task and precision on one of the two kinds of processor; None where there is none."""
    return None if precision == "bf16" and not bf16_native else targets.get((task, precision))


ROUND_SHARES: dict[str, float] = {"server": 0.05, "evaluate": 0.03}
"""At most: shares of a round at the paper's setting."""

CLIENTS_TIME_RATIO, CLIENTS_MEMORY_RATIO = 1.10, 1.05
"""At most: a round with many clients over one with 100, the same cohort; "the same" within the noise of a measure."""

COHORT_TIME_RATIO = 1.10
"""At most: seconds of a client in any cohort over those in the usual one; less where fixed work is shared by more."""

MIXED_TIME_RATIO = 1.0
"""At most: a cohort of mixed capacities handed out longest first over the same in its own order."""


def at_most(value: float, target: float | None, digits: int = 2) -> str:
    """Return a value beside its target in words.

    >>> at_most(0.35, 0.7)
    '0.35, target 0.70: met'
    """
    return _words(value, target, target is not None and value <= target, digits)


def at_least(value: float, target: float | None, digits: int = 2) -> str:
    """Return a value beside its target in words, where more is better."""
    return _words(value, target, target is not None and value >= target, digits)


def _words(value: float, target: float | None, met: bool, digits: int) -> str:
    if target is None:
        return f"{value:.{digits}f}"
    return f"{value:.{digits}f}, target {target:.{digits}f}: {'met' if met else 'not met'}"
