"""The columns of the tables that runs leave behind; units are in their names."""

from __future__ import annotations

from typing import Any

import pyarrow as pa

VERSION = 5
WORD = pa.dictionary(pa.int32(), pa.string())

CELL_FIELDS = [
    pa.field("cell", WORD, nullable=False),
    pa.field("task", WORD, nullable=False),
    pa.field("method", WORD, nullable=False),
    pa.field("label", WORD, nullable=False),
    pa.field("keep", pa.float64(), nullable=False),
    pa.field("capacities", WORD, nullable=False),
    pa.field("partition", WORD, nullable=False),
    pa.field("alpha", pa.float64()),
    pa.field("alpha_convention", WORD, nullable=False),
    pa.field("alpha_per_class", pa.float64()),
    pa.field("alpha_of_prior", pa.float64()),
    pa.field("classes_per_client", pa.float64()),
    pa.field("divergence_bits", pa.float64()),
    pa.field("local_training", WORD),
    pa.field("seed", pa.int64(), nullable=False),
    pa.field("tier", WORD, nullable=False),
    pa.field("data_title", WORD, nullable=False),
    pa.field("stand_in", pa.bool_(), nullable=False),
    pa.field("classes", pa.int32()),
    pa.field("status", WORD, nullable=False),
]
"""What names a cell in a sweep's tables. ``keep`` is the clients' mean keep ratio, ``capacities`` the profile where
they differ, or the budget that the keep ratios were found for, with "dynamic" or "dealt" behind it where clients do not
keep theirs. ``alpha`` is as it was given;
``alpha_per_class`` is the same as a concentration per class (PriSM's convention) and ``alpha_of_prior`` as the alpha of
Dir(alpha * prior) (the spectral paper's). ``classes_per_client`` and ``divergence_bits`` are the skew that the
partition has (:mod:`bench.federation.skew`), and ``local_training`` names what the method changes in local training, by
hooks and attributes of :class:`bench.api.LocalTraining`, the empty word for nothing; all three are empty for cells of
earlier versions. ``classes`` are those of the training data, so that guessing has accuracy
1 / classes."""

ROUND_FIELDS = [
    pa.field("round", pa.int32(), nullable=False),
    pa.field("clients", pa.int32(), nullable=False),
    pa.field("lr", pa.float64()),
    pa.field("train_loss", pa.float64()),
    pa.field("test_loss", pa.float64()),
    pa.field("test_acc", pa.float64()),
    pa.field("validation_loss", pa.float64()),
    pa.field("validation_acc", pa.float64()),
    pa.field("personal_acc", pa.float64()),
    pa.field("personal_base_acc", pa.float64()),
    pa.field("coverage", pa.float64()),
    pa.field("coverage_expected", pa.float64()),
    pa.field("cosine_fedavg", pa.float64()),
    pa.field("down_bytes", pa.int64(), nullable=False),
    pa.field("up_bytes", pa.int64(), nullable=False),
    pa.field("client_parameters", pa.float64()),
    pa.field("client_macs", pa.float64()),
    pa.field("client_trained_parameters", pa.float64()),
    pa.field("client_activations", pa.float64()),
    pa.field("client_ideal_macs", pa.float64()),
    pa.field("forward_macs", pa.int64(), nullable=False),
    pa.field("train_macs", pa.int64(), nullable=False),
    pa.field("ideal_forward_macs", pa.int64()),
    pa.field("ideal_train_macs", pa.int64()),
    pa.field("select_s", pa.float64(), nullable=False),
    pa.field("extract_s", pa.float64(), nullable=False),
    pa.field("train_s", pa.float64(), nullable=False),
    pa.field("aggregate_s", pa.float64(), nullable=False),
    pa.field("server_s", pa.float64(), nullable=False),
    pa.field("evaluate_s", pa.float64(), nullable=False),
    pa.field("diagnose_s", pa.float64(), nullable=False),
    pa.field("round_s", pa.float64(), nullable=False),
    pa.field("peak_memory_bytes", pa.int64(), nullable=False),
]
LAYER_MEASURES = (
    "coverage",
    "coverage_expected",
    "anme",
    "weight_norm2",
    "submodel_error",
    "submodel_error_expected",
    "cohort_error",
    "cohort_error_expected",
    "aggregation_error",
    "update_norm2",
    "cosine_fedavg",
    "aggregation_interval",
)
"""What may be known of a layer in an evaluated round, beside its ranks: see :mod:`bench.simulation.diagnostics`."""
RANK_FIELDS = [
    pa.field("round", pa.int32(), nullable=False),
    pa.field("layer", WORD, nullable=False),
    pa.field("kernels", pa.int32(), nullable=False),
    pa.field("required_kernels", pa.float64(), nullable=False),
    pa.field("required_kernels_renyi", pa.float64(), nullable=False),
    *(pa.field(name, pa.float64()) for name in LAYER_MEASURES),
]
FOOTPRINT_FIELDS = [
    pa.field("task", WORD, nullable=False),
    pa.field("model", WORD, nullable=False),
    pa.field("method", WORD, nullable=False),
    pa.field("label", WORD, nullable=False),
    pa.field("keep", pa.float64(), nullable=False),
    pa.field("parameters", pa.int64(), nullable=False),
    pa.field("factored_parameters", pa.int64(), nullable=False),
    pa.field("macs", pa.int64(), nullable=False),
    pa.field("down_bytes", pa.int64(), nullable=False),
    pa.field("trained_parameters", pa.int64(), nullable=False),
    pa.field("activations", pa.int64(), nullable=False),
    pa.field("train_macs", pa.int64(), nullable=False),
    pa.field("ideal_macs", pa.int64()),
    pa.field("ideal_train_macs", pa.int64()),
    pa.field("capacity", pa.float64(), nullable=False),
    pa.field("full_parameters", pa.int64(), nullable=False),
    pa.field("full_macs", pa.int64(), nullable=False),
]

LEVEL_FIELDS = [
    pa.field("round", pa.int32(), nullable=False),
    pa.field("level", pa.float64(), nullable=False),
    pa.field("level_loss", pa.float64(), nullable=False),
    pa.field("level_acc", pa.float64(), nullable=False),
    pa.field("validates", pa.bool_(), nullable=False),
    pa.field("parameters", pa.int64(), nullable=False),
    pa.field("macs", pa.int64(), nullable=False),
    pa.field("ideal_macs", pa.int64()),
]
"""The nested sub-model of a keep ratio, ``level``, in an evaluated round; ``validates``: on held-out samples."""
CLIENT_FIELDS = [
    pa.field("round", pa.int32(), nullable=False),
    pa.field("client", pa.int32(), nullable=False),
    pa.field("capacity", pa.float64(), nullable=False),
    pa.field("samples", pa.int64(), nullable=False),
    pa.field("parameters", pa.int64(), nullable=False),
    pa.field("trained_parameters", pa.int64(), nullable=False),
    pa.field("activations", pa.int64(), nullable=False),
    pa.field("macs", pa.int64(), nullable=False),
    pa.field("train_macs", pa.int64(), nullable=False),
    pa.field("ideal_macs", pa.int64()),
    pa.field("ideal_train_macs", pa.int64()),
    pa.field("down_bytes", pa.int64(), nullable=False),
    pa.field("up_bytes", pa.int64(), nullable=False),
    pa.field("train_loss", pa.float64(), nullable=False),
]
"""A client of a round's cohort, where clients differ in capacity; ``capacity`` is its keep ratio in this round."""

FIT_FIELDS = [
    pa.field("task", WORD, nullable=False),
    pa.field("method", WORD, nullable=False),
    pa.field("label", WORD, nullable=False),
    pa.field("budget", WORD, nullable=False),
    pa.field("level", pa.int32(), nullable=False),
    pa.field("share", pa.float64(), nullable=False),
    pa.field("quantity", WORD, nullable=False),
    pa.field("fits", pa.bool_(), nullable=False),
    pa.field("keep", pa.float64()),
    pa.field("allowed", pa.float64(), nullable=False),
    pa.field("taken", pa.float64()),
    pa.field("full", pa.float64(), nullable=False),
    pa.field("least", pa.float64(), nullable=False),
]
"""What a budget allows the clients of a level and what a method's take, in the quantity's own unit
(:func:`bench.budget.checking.counted_rows`). ``level`` counts from the clients that may take least, ``share`` is theirs
of all clients; ``keep`` is the keep ratio that was found and ``taken`` what it takes, both empty where nothing fits;
``full`` is what the full model takes and ``least`` the smallest sub-model."""

_METADATA = {"schema_version": str(VERSION)}
ROUNDS = pa.schema(ROUND_FIELDS, metadata=_METADATA)
RANKS = pa.schema(RANK_FIELDS, metadata=_METADATA)
LEVELS = pa.schema(LEVEL_FIELDS, metadata=_METADATA)
CLIENTS = pa.schema(CLIENT_FIELDS, metadata=_METADATA)
TABLES = {"rounds": ROUNDS, "ranks": RANKS, "levels": LEVELS, "clients": CLIENTS}
"""The tables of a cell by name."""
OPTIONAL = ("levels", "clients")
"""Those that a cell without such rows does not have."""
ALL_TABLES = {name: pa.schema([*CELL_FIELDS, *table], metadata=_METADATA) for name, table in TABLES.items()}
"""The tables of a sweep by name: those of its cells, one below the other."""
SCALE_FIELDS = [
    pa.field("settings", WORD),
    pa.field("model", WORD),
    pa.field("width", pa.int32()),
    pa.field("rounds", pa.int32()),
    pa.field("clients", pa.int32()),
    pa.field("cohort", pa.int32()),
    pa.field("batch_size", pa.int32()),
    pa.field("precision", WORD),
    pa.field("revisions", WORD),
    pa.field("commit", WORD),
    pa.field("torch", WORD),
    pa.field("processor", WORD),
    pa.field("budget_used", pa.float64()),
]
"""How large a cell was and by what it was made (:mod:`bench.launch.scale`). ``settings`` are all that differ from the
tier and the paper; ``rounds`` and ``clients`` are those that were planned. ``budget_used`` is the largest share that a
client takes of what its budget allows. All are empty where it is not known."""
CELLS = pa.schema(
    [
        *CELL_FIELDS,
        pa.field("final_acc", pa.float64()),
        pa.field("oracle_acc", pa.float64()),
        pa.field("reason", pa.string()),
        *SCALE_FIELDS,
    ],
    metadata=_METADATA,
)
"""``final_acc`` is the headline, the mean of the last evaluations; ``oracle_acc`` the best round, chosen on the test
set, which is never the headline."""
FOOTPRINT = pa.schema(FOOTPRINT_FIELDS, metadata=_METADATA)
FITS = pa.schema(FIT_FIELDS, metadata=_METADATA)


def as_now(table: pa.Table, schema: pa.Schema) -> pa.Table:
    """Return a table that a program of this version wrote, with columns that were added since then, which are empty.

    Raises:
        pa.ArrowException, ValueError: it lacks a column that must have values, or has one of another type.
    """
    for field in schema:
        if field.nullable and field.name not in table.column_names:
            table = table.append_column(field, pa.nulls(len(table), field.type))
    if set(table.column_names) == set(schema.names):
        table = table.select(schema.names)
    return table.cast(schema)


def table_of(rows: list[dict[str, Any]] | pa.Table, schema: pa.Schema) -> pa.Table:
    """Return rows as a table of exactly this schema; a missing column or a wrong type is an error."""
    table = rows.cast(schema) if isinstance(rows, pa.Table) else pa.Table.from_pylist(rows, schema)
    table.validate(full=True)
    for field in schema:
        if not field.nullable and table.column(field.name).null_count:
            raise ValueError(f"column {field.name!r} has empty values")
    return table
