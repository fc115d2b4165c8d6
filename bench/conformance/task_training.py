"""Checks of what a task computes: shapes, the first loss, a first step, and that all of it comes out the same again."""

from __future__ import annotations

import math

import numpy as np
import torch
from torch import Tensor

from bench.conformance.compare import difference, tensors_in, values_of
from bench.conformance.costs import Multiplications
from bench.conformance.outcome import Failure
from bench.conformance.task_subject import SAMPLES, TaskSubject, mean_loss
from bench.cost.cost import cost_of
from bench.data import cache
from bench.data.dataset import Dataset
from bench.seeding import stream
from bench.training.local import Job, train_client

FIRST_LOSS = (0.6, 1.7)
"""Times the logarithm of the number of classes: a guess has that loss, and initial outputs are not all the same."""


def shapes_fit(subject: TaskSubject) -> None:
    """Labels, augmented and prepared samples, the example, outputs, loss and correctness have the forms they should."""
    federation = subject.federation()
    task, dataset = federation.task, federation.dataset
    _labels_fit(dataset, task.padding)
    stored = torch.from_numpy(np.array(dataset.test.inputs[:SAMPLES]))
    labels = torch.from_numpy(np.array(dataset.test.labels[:SAMPLES]))
    samples = len(labels)
    augmented = task.augment(stored, stream(0, "conformance"))
    if (augmented.shape, augmented.dtype) != (stored.shape, stored.dtype):
        raise _unlike("augment returns", augmented, "samples as they are stored", stored, "change values, not the form")
    prepared, example = task.prepare(stored), task.example(samples, "cpu")
    if (prepared.shape, prepared.dtype) != (example.shape, example.dtype):
        raise _unlike("prepare returns", prepared, "the form of example()", example, "costs are counted on example()")
    if prepared.is_floating_point() and not bool(prepared.isfinite().all()):
        raise Failure("prepare returns numbers that are not finite", "finite ones", "a division by zero, or no dtype")
    outputs = federation.initial_model()(prepared)
    form = tuple(labels.shape)
    expected = form if outputs.ndim == 1 and dataset.classes == 2 else (*form, dataset.classes)
    if tuple(outputs.shape) != expected:
        raise Failure(
            f"the model's outputs for {samples} samples have the shape {tuple(outputs.shape)}",
            f"{expected}: one for each class, or one in all for two classes",
            "the model's classes are those of the data set",
        )
    loss, correct = task.loss(outputs, labels), task.correct(outputs, labels)
    if loss.ndim or not bool(loss.isfinite()):
        raise Failure(f"loss returns {_form(loss)}", "one finite number, the mean over the batch", "reduce by the mean")
    if correct.dtype != torch.bool or tuple(correct.shape) != form:
        raise Failure(
            f"correct returns {_form(correct)}", f"bool {list(form)}, one for each label", "compare with labels"
        )
    if task.padding is not None and bool(correct[labels == task.padding].any()):
        raise Failure("correct counts padding", "no label that is padding", "and with labels != padding")


def _labels_fit(dataset: Dataset, padding: int | None) -> None:
    for half, split in (("training", dataset.train), ("test", dataset.test)):
        labels = np.asarray(split.labels)
        if len(labels) != len(split.inputs) or labels.dtype != np.int64 or labels.ndim != (1 if padding is None else 2):
            raise Failure(
                f"{half} labels are {labels.dtype} {list(labels.shape)} for {len(split.inputs)} samples",
                f"int64 [{len(split.inputs)}{'' if padding is None else ', length'}]",
                "labels are class numbers, one for each sample, or for each place where the task names a padding",
            )
        if labels.min() < 0 or labels.max() >= dataset.classes:
            raise Failure(
                f"{half} labels go from {labels.min()} to {labels.max()}",
                f"0 to {dataset.classes - 1}, for classes = {dataset.classes}",
                "number the classes from 0",
            )


def _form(tensor: Tensor) -> str:
    return f"{str(tensor.dtype).removeprefix('torch.')} {list(tensor.shape)}"


def _unlike(what: str, found: Tensor, wanted: str, expected: Tensor, hint: str) -> Failure:
    return Failure(f"{what} {_form(found)}", f"{wanted}, {_form(expected)}", hint)


def first_loss_is_a_guess(subject: TaskSubject) -> None:
    """The initial model's loss on test samples is near the logarithm of the number of classes, that of a guess."""
    federation = subject.federation()
    inputs, labels = federation.evaluated_samples[: 4 * SAMPLES]
    loss, guess = (
        mean_loss(federation, federation.initial_model(), inputs, labels),
        math.log(federation.dataset.classes),
    )
    low, high = (factor * guess for factor in FIRST_LOSS)
    if not low <= loss <= high:
        raise Failure(
            f"the initial model's loss is {loss:.3g}",
            f"near log({federation.dataset.classes}) = {guess:.3g}, from {low:.3g} to {high:.3g}",
            "initialise draws values of the size that fits a layer's inputs; loss is a mean; prepare keeps inputs near "
            "mean 0 and deviation 1",
        )


def one_step_lowers_the_loss(subject: TaskSubject) -> None:
    """One local step at the recipe's batch size and learning rate lowers the loss on the very samples of the step."""
    federation = subject.one_step()
    inputs, labels = federation.client_data(0)
    model = federation.initial_model()
    before = mean_loss(federation, model, inputs, labels)
    train_client(Job(0, 1, model), federation)
    after = mean_loss(federation, model, inputs, labels)
    if not after < before:
        lr = federation.task.recipe.lr
        raise Failure(
            f"one step at lr = {lr:g} on {len(labels)} samples takes their loss from {before:.4g} to {after:.4g}",
            "a smaller loss",
            f"the sign of the loss, a smaller lr in the tier {subject.tier!r}, parameters without a gradient",
        )


def all_is_the_same_again(subject: TaskSubject) -> None:
    """Data, initial model and two rounds are the same to the bit again, whatever the global random states are."""
    hint = "draw from the generator that is passed; nothing in a task keeps count or looks at the clock"
    one, other = subject.federation(), subject.federation()
    prints = [cache.fingerprint(built.dataset.train, built.dataset.test) for built in (one, other)]
    if prints[0] != prints[1]:
        raise Failure("data() returns other samples each time", "the same samples to the bit", hint)
    first, second = (values_of(built.initial_model()) for built in (one, other))
    unlike = [name for name, value in first.items() if not torch.equal(value, second[name])]
    if unlike:
        raise Failure(f"the initial values of {unlike[0]!r} are others each time", "the same to the bit", hint)
    if subject.usual_run.disturbed:
        sources = " and ".join(subject.usual_run.disturbed)
        raise Failure(f"a run changes the global random state of {sources}", "that it leaves it alone", hint)
    for run in (subject.same_run, subject.other_run):
        if words := difference(subject.usual_run, run):
            raise Failure(f"a second run is another: {words}", "the same run to the bit", hint)


def costs_are_counted(subject: TaskSubject) -> None:
    """Parameters and multiply-accumulates that are counted on the example are those of a batch of real samples."""
    federation = subject.federation()
    model, task = federation.initial_model(), federation.task
    counted = cost_of(model, task)
    held = sum(tensor.numel() for tensor in tensors_in(model))
    registered = sum(tensor.numel() for tensor in model.state_dict().values())
    if held != registered:
        raise Failure(
            f"the model holds {held:,} numbers, of which {registered:,} are parameters or buffers",
            "that all are",
            "register every tensor as a parameter or a buffer: others are neither counted nor sent",
        )
    batch = federation.client_data(0)[0][: task.recipe.batch_size]
    with torch.no_grad(), Multiplications() as measured:
        model(task.prepare(batch))
    macs = math.ceil(measured.macs / len(batch))
    if counted.macs != macs or not macs:
        raise Failure(
            f"multiply-accumulates of a sample are {counted.macs:,} on example() and {macs:,} on a real one",
            "the same number, above 0",
            "example() has the size of a real sample; layers compute in PyTorch's own operations on the meta device",
        )
