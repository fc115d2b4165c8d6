"""Checks of a task's data: where it comes from, who can hold it, and that it is not trained on what it is tested on."""

from __future__ import annotations

import hashlib

import numpy as np

from bench.conformance.outcome import Declared, Failure, Undefined
from bench.conformance.task_subject import TaskSubject, whole_of
from bench.data.dataset import Dataset
from bench.errors import BenchError
from bench.federation.federation import partition_of


def data_can_be_had(subject: TaskSubject) -> str:
    """Generated data can be made and says what it is, or the task says that it has none and its data set is here.

    Where both are here, samples have the same type and shape, and there are as many classes.
    """
    found: dict[str, Dataset] = {}
    reasons = {}
    for source in ("stand-in", "real") if subject.kind.stand_in else ("real",):
        try:
            found[source] = subject.built(subject.tier).data(source)
        except BenchError as error:
            reasons[source] = str(error)
    wanted = "stand-in" if subject.kind.stand_in else "real"
    if wanted not in found:
        hint = (
            "inherit from OwnImages, generate samples in data(), or declare stand_in = False"
            if subject.kind.stand_in
            else "import the data set, or leave out stand_in = False"
        )
        raise Failure(f"there is no {wanted} data: {reasons[wanted]}", f"{wanted} data, as stand_in says", hint)
    for source, dataset in found.items():
        _says_what_it_is(source, dataset)
    if len(found) == 2:
        one, other = (_form(dataset) for dataset in found.values())
        if one != other:
            raise Failure(f"stand-in samples are {one}, real ones {other}", "the same", "give stand-ins the real form")
    return "stand-in data and the data set" if len(found) == 2 else f"{wanted} data alone"


def _says_what_it_is(source: str, dataset: Dataset) -> None:
    generated = source == "stand-in"
    if dataset.stand_in != generated or ("stand-in" in dataset.title) != generated:
        raise Failure(
            f"{source} data is called {dataset.title!r} and has stand_in = {dataset.stand_in}",
            "that generated data says 'stand-in data' in its title and has stand_in = True, and no other has",
            "tables and figures show the title: nobody may take generated numbers for measured ones",
        )


def _form(dataset: Dataset) -> str:
    inputs = dataset.train.inputs
    return f"{inputs.dtype} {list(inputs.shape[1:])} of {dataset.classes} classes"


def partition_is_possible(subject: TaskSubject) -> str:
    """At each tier's numbers of clients and samples its partition can be made of the data that the tier reads."""
    possible, unknown = [], []
    for tier in subject.kind.tiers:
        cell, task = subject.cell_of(tier), subject.built(tier)
        try:
            dataset = task.data(cell.data)
        except BenchError as error:
            unknown.append((tier, str(error)))
            continue
        try:
            partition_of(cell, task, dataset)
        except BenchError as error:
            raise Failure(
                f"the tier {tier!r} cannot be shared out: {error}",
                f"{task.recipe.clients} clients of the {cell.data} data's {len(dataset.train):,} training samples",
                "clients, samples_per_client, users_per_client and standin_train of the tier's Recipe",
            ) from None
        possible.append(tier)
    if not possible:
        raise Undefined(f"the data of no tier is here: {unknown[0][1]}")
    rest = f"; not looked at, as its data is not here: {', '.join(tier for tier, _ in unknown)}" if unknown else ""
    return f"tier {', '.join(possible)}{rest}"


def tested_on_new_samples(subject: TaskSubject) -> None:
    """No test sample is a training sample too, input by input, in whichever data is here.

    Published sets have a few: ``shared_samples`` of the task says how many.
    """
    here = {source: whole for source in ("stand-in", "real") if (whole := whole_of(subject, source)) is not None}
    if not here:
        raise Undefined("no data is here")
    declared = subject.kind.shared_samples
    shared = {source: _shared(dataset) for source, dataset in here.items()}
    for source, count in shared.items():
        if count > declared:
            raise Failure(
                f"{count:,} of {len(here[source].test):,} test samples of the {source} data are training samples too",
                f"{declared:,} at most" if declared else "none",
                "draw both splits apart; of a published set that has some, say how many: shared_samples",
            )
    if any(shared.values()):
        raise Declared(f"{max(shared.values()):,} test samples are training samples too (shared_samples)")


def _shared(dataset: Dataset) -> int:
    trained = {_digest(sample) for sample in dataset.train.inputs}
    return sum(_digest(sample) in trained for sample in dataset.test.inputs)


def _digest(sample: np.ndarray) -> bytes:
    return hashlib.blake2b(np.ascontiguousarray(sample).tobytes(), digest_size=16).digest()
