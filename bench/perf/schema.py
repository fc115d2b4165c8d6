"""The tables that are written, one a part."""

from __future__ import annotations

import pyarrow as pa

INTEGER, NUMBER, WORDS = pa.int64(), pa.float64(), pa.string()


def _fields(kind: pa.DataType, *names: str, missing: bool = False) -> list[pa.Field]:
    return [pa.field(name, kind, nullable=missing) for name in names]


TIMED = [*_fields(INTEGER, "repetitions"), *_fields(NUMBER, "seconds", "seconds_min", "seconds_max")]
"""Median and range of the repetitions."""

FACTS = [
    *_fields(NUMBER, "load_before", "load_during", "others_cpu_share", missing=True),
    pa.field("quiet", pa.bool_(), nullable=False),
    *_fields(WORDS, "device"),
    *_fields(INTEGER, "cores"),
    *_fields(WORDS, "processor"),
    *_fields(WORDS, "accelerator", missing=True),
    *_fields(WORDS, "torch", "isa_torch"),
    *_fields(WORDS, "isa_onednn", missing=True),
    pa.field("bf16_native", pa.bool_(), nullable=False),
    *_fields(WORDS, "kernels"),
]
"""How busy the machine was and what it is. ``load_*`` are 1-minute load averages, before the command did anything and
at the end of a part; ``others_cpu_share`` is the share of all cores' time that others took during it. ``isa_*`` are the
instruction sets that PyTorch's own loops and oneDNN use, oneDNN's None where it does not say; ``bf16_native``: whether
the processor multiplies in bfloat16 or emulates it; ``kernels``: what normalisation and recurrence are computed by."""

TRAINING = pa.schema(
    [
        *_fields(WORDS, "task", "workload", "contender", "method"),
        *_fields(NUMBER, "keep"),
        *_fields(WORDS, "precision"),
        *_fields(INTEGER, "processes", "threads_per_process"),
        *TIMED,
        *_fields(NUMBER, "samples_per_s", "time_ratio_to_bare"),
        *_fields(NUMBER, "time_ratio_target", "speedup_over_full", "speedup_target", missing=True),
        *FACTS,
    ]
)
"""Seconds to train a cohort. ``time_ratio_to_bare``: over those of the bare fp32 loop with all threads over models of
the same keep ratio, smaller is better. ``speedup_over_full``: the same contender's seconds with full models over
these; None where the models are full. Targets are None where there is none."""

KEEP = pa.schema(
    [
        *_fields(WORDS, "task", "method"),
        *_fields(NUMBER, "keep"),
        *_fields(WORDS, "precision"),
        *_fields(INTEGER, "macs"),
        *_fields(NUMBER, "macs_ratio"),
        *TIMED,
        *_fields(NUMBER, "time_ratio_to_full"),
        *FACTS,
    ]
)
"""Seconds to train a cohort of sub-models. ``macs``: multiply-accumulates of one sample's forward pass. Ratios are to
FedAvg's full model in the same precision."""

ROUND = pa.schema(
    [
        *_fields(WORDS, "precision", "phase"),
        *_fields(INTEGER, "samples_per_client"),
        *TIMED,
        *_fields(NUMBER, "seconds_at_paper", "share"),
        *_fields(NUMBER, "share_target", missing=True),
        *_fields(NUMBER, "share_of_mean_round"),
        *FACTS,
    ]
)
"""Seconds of a round by phase. ``seconds_at_paper``: with the paper's 500 samples a client. ``share``: of a round that
is evaluated; ``share_of_mean_round``: of the mean over rounds of which the recipe evaluates every 20th."""

CLIENTS = pa.schema(
    [
        *_fields(WORDS, "precision"),
        *_fields(INTEGER, "clients", "cohort"),
        *TIMED,
        *_fields(NUMBER, "time_ratio_to_usual", "time_ratio_per_client"),
        *_fields(INTEGER, "peak_memory_bytes"),
        *_fields(NUMBER, "memory_ratio_to_usual"),
        *_fields(INTEGER, "processes", "runtime_bytes", "server_bytes", "submodel_bytes", "data_bytes"),
        *_fields(NUMBER, "build_s"),
        *FACTS,
    ]
)
"""Seconds and memory of a round. Ratios are to 20 of 100 clients; ``time_ratio_per_client`` is that of the seconds per
client of the cohort. ``peak_memory_bytes``: of all ``processes`` together, or of the accelerator. ``runtime_bytes``: of
one process before any work; ``submodel_bytes``: sent to one client; ``data_bytes``: mapped from the cache and shared.
``build_s``: seconds to map the data and draw the partition."""

MIXED = pa.schema(
    [
        *_fields(WORDS, "precision", "order", "levels"),
        *_fields(INTEGER, "cohort"),
        *TIMED,
        *_fields(NUMBER, "time_ratio", "time_ratio_expected"),
        *_fields(NUMBER, "time_ratio_target", missing=True),
        *FACTS,
    ]
)
"""Seconds to train a cohort of mixed capacities, another one in each repetition. ``time_ratio``: median over the
cohorts of the seconds over those of the same cohort handed out in its own order; ``time_ratio_expected``: the same by
the clients' operations alone."""

MEMORY = pa.schema(
    [
        *_fields(WORDS, "task", "method"),
        *_fields(NUMBER, "keep"),
        *_fields(WORDS, "precision"),
        *_fields(INTEGER, "repetitions", "counted_bytes", "kept_bytes", "peak_bytes"),
        *_fields(NUMBER, "kept_ratio", "peak_ratio"),
        *FACTS,
    ]
)
"""Bytes that a local step holds: counted by shapes in 32-bit numbers, kept as the step really keeps them, and by how
much the process grew at its largest. Ratios are to the count."""
