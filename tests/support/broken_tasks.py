"""Tasks that are broken on purpose, each in one way, for testing that the kit finds it."""

from __future__ import annotations

import textwrap
from typing import NamedTuple

WHOLE = """
from dataclasses import replace

import numpy as np
import torch
from torch import nn
from torch.nn import functional

from bench.data.dataset import Split
from bench.models.base import Axis
from bench.models.cnn import CNN
from bench.tasks.base import Recipe
from bench.tasks.own_images import Images, OwnImages

QUICK = Recipe(
    clients=4, cohort=2, samples_per_client=20, batch_size=16, lr=0.01, standin_train=200, standin_test=40
)


class Net(CNN):
    def __init__(self, channels=None, *given, **named):
        super().__init__(channels or {"conv1": 4, "conv2": 6}, *(given or (3, 3, 1, (8, 8))), **named)


class Broken(OwnImages):
    dataset = "own"
    images = Images(3, 1, 8, 8)
    tiers = {"quick": QUICK}

    def model(self):
        return Net()
"""


class Case(NamedTuple):
    """A broken task.

    Attributes:
        check: the check that must find it.
        words: what the sentence must say.
        task: lines of the task's class.
        net: lines of its model's class.
    """

    check: str
    words: str
    task: str = ""
    net: str = ""

    @property
    def source(self) -> str:
        task, net = (textwrap.indent(textwrap.dedent(lines), "    ") for lines in (self.task, self.net))
        return WHOLE.replace("\n\n\nclass Broken", f"\n{net}\n\nclass Broken") + task


CASES = {
    "neither data nor stand-in": Case(
        "data declared", "there is no real data: data set 'own' is unknown", "stand_in = False"
    ),
    "a stand-in that is not there": Case(
        "data declared",
        "there is no stand-in data: stand-in data: there is none for 'own'",
        "data = OwnImages.__mro__[2].data",
    ),
    "generated data that hides it": Case(
        "data declared",
        "stand-in data is called 'Own' and has stand_in = True",
        """
        def data(self, source):
            return replace(super().data(source), title="Own")
        """,
    ),
    "another example": Case(
        "shapes of a batch",
        "prepare returns float32 [16, 1, 8, 8]; expected: the form of example(), float32 [16, 1, 9, 9]",
        """
        def example(self, samples, device):
            return torch.empty(samples, 1, 9, 9, device=device)
        """,
    ),
    "augmented samples as floats": Case(
        "shapes of a batch",
        "augment returns float32 [16, 1, 8, 8]",
        """
        def augment(self, inputs, rng):
            return inputs.float()
        """,
    ),
    "numbers without an end": Case(
        "shapes of a batch",
        "prepare returns numbers that are not finite",
        """
        def prepare(self, inputs):
            return inputs.float() / 0
        """,
    ),
    "a loss for each sample": Case(
        "shapes of a batch",
        "loss returns float32 [16]; expected: one finite number",
        """
        def loss(self, outputs, labels):
            return functional.cross_entropy(outputs, labels, reduction="none")
        """,
    ),
    "a share of the correct": Case(
        "shapes of a batch",
        "correct returns float32 []; expected: bool [16]",
        """
        def correct(self, outputs, labels):
            return (outputs.argmax(1) == labels).float().mean()
        """,
    ),
    "other classes": Case(
        "shapes of a batch",
        "outputs for 16 samples have the shape (16, 5); expected: (16, 3)",
        """
        def model(self):
            return Net(None, 5, 3, 1, (8, 8))
        """,
    ),
    "labels from 1": Case(
        "shapes of a batch",
        "training labels go from 1 to 3; expected: 0 to 2",
        """
        def data(self, source):
            whole = super().data(source)
            return replace(whole, train=replace(whole.train, labels=whole.train.labels + 1))
        """,
    ),
    "short labels": Case(
        "shapes of a batch",
        "test labels are int32 [64] for 64 samples; expected: int64 [64]",
        """
        def data(self, source):
            whole = super().data(source)
            return replace(whole, test=replace(whole.test, labels=whole.test.labels.astype(np.int32)))
        """,
    ),
    "large initial values": Case(
        "loss at initialisation",
        "near log(3) = 1.1, from 0.659 to 1.87",
        """
        def initialise(self, model, generator):
            super().initialise(model, generator)
            with torch.no_grad():
                model.classifier.weight.mul_(300)
        """,
    ),
    "a sum of losses": Case(
        "loss at initialisation",
        "the initial model's loss is",
        """
        def loss(self, outputs, labels):
            return functional.cross_entropy(outputs, labels, reduction="sum")
        """,
    ),
    "a large learning rate": Case(
        "one step lowers the loss",
        "one step at lr = 300 on 16 samples takes their loss from 1.",
        "tiers = {'quick': replace(QUICK, lr=300.0)}",
    ),
    "initial values of the global generator": Case(
        "the same again",
        "the initial values of 'conv1.weight' are others each time",
        """
        def initialise(self, model, generator):
            for tensor in model.parameters():
                nn.init.uniform_(tensor, -0.1, 0.1)
        """,
    ),
    "augmentation by the global generator": Case(
        "the same again",
        "a run changes the global random state of numpy",
        """
        def augment(self, inputs, rng):
            return inputs if np.random.random() < 0.5 else inputs.flip(3)
        """,
    ),
    "augmentation by a generator of its own": Case(
        "the same again",
        "a second run is another: ",
        """
        drawn = np.random.default_rng()

        def augment(self, inputs, rng):
            return torch.from_numpy(self.drawn.permuted(inputs.numpy(), axis=3))
        """,
    ),
    "samples in another order each time": Case(
        "the same again",
        "data() returns other samples each time",
        """
        def data(self, source):
            whole = super().data(source)
            order = np.random.default_rng().permutation(len(whole.train))
            return replace(whole, train=Split(whole.train.inputs[order], whole.train.labels[order]))
        """,
    ),
    "more clients than samples": Case(
        "partition possible",
        "the tier 'paper' cannot be shared out: partition: clients=40 with samples_per_client=20 need 800 samples",
        """
        tiers = {"quick": QUICK, "paper": replace(QUICK, clients=40)}

        def data(self, source):
            return super().data("stand-in")
        """,
    ),
    "no structure": Case(
        "families of methods",
        "Net has no factorable weights, no channels and no parts to cut between",
        net="""
        factorable = ()

        def channels(self):
            return {}

        def parts(self):
            return [("conv1.", "conv2.", "classifier.")]
        """,
    ),
    "a plain module": Case(
        "families of methods",
        "Sequential tells nothing of its structure",
        """
        def model(self):
            return nn.Sequential(nn.Flatten(), nn.Linear(64, 3))
        """,
    ),
    "a weight that is not there": Case(
        "families of methods",
        "factorable names 'conv3.weight', which is no weight of the model",
        net="factorable = ('conv3.weight',)",
    ),
    "a weight that is used beside its layer": Case(
        "families of methods",
        "with all kernels of the factorable weights outputs are off by",
        net="""
        def forward(self, images):
            factored = not isinstance(self.conv2, nn.Conv2d)
            return super().forward(images) * (2.0 if factored else 1.0)
        """,
    ),
    "a dimension without a word": Case(
        "families of methods",
        "axes say None of 'conv1.bias', a tensor of 1 dimensions",
        net="""
        def axes(self):
            return {name: axes for name, axes in super().axes().items() if name != "conv1.bias"}
        """,
    ),
    "a flattened map of another size": Case(
        "families of methods",
        "axes say that dimension 1 of 'classifier.weight' has 54 entries, and it has 24",
        net="""
        def axes(self):
            return super().axes() | {"classifier.weight": (None, Axis("conv2", inner=9))}
        """,
    ),
    "channels that do not belong together": Case(
        "families of methods",
        "a model of every second channel cannot be made or run: ",
        net="""
        def axes(self):
            return super().axes() | {"conv2.weight": (Axis("conv2"), None, None, None)}
        """,
    ),
    "a narrow model of other outputs": Case(
        "families of methods",
        "a model of every second channel has other outputs or parameters",
        net="""
        def narrow(self, channels):
            narrow = super().narrow(channels)
            narrow.classifier = nn.Linear(narrow.classifier.in_features, 3, bias=False, device="meta")
            return narrow
        """,
    ),
    "a parameter in no part": Case(
        "families of methods",
        "the parameter 'conv2.weight' begins with 0 of the prefixes of parts()",
        net="""
        def parts(self):
            return [("conv1.",), ("classifier.",)]
        """,
    ),
    "fewer hidden states than exits": Case(
        "families of methods",
        "the model has 2 exits and 1 hidden states",
        net="""
        def hidden_states(self, inputs):
            yield self._first(inputs)
        """,
    ),
    "a shortened model with everything in it": Case(
        "families of methods",
        "shortened to 1 of its 2 exits the model has 2 hidden states",
        net="""
        def shorten(self, exits):
            pass
        """,
    ),
    "a last exit that is read in another way": Case(
        "families of methods",
        "the classifier on the last hidden state is off by",
        net="""
        def hidden_states(self, inputs):
            for hidden in super().hidden_states(inputs):
                yield 2 * hidden
        """,
    ),
    "outputs that are no classes": Case(
        "families of methods",
        "outputs names 'conv1.weight', which has no row for each of the 3 classes",
        net="outputs = ('conv1.weight',)",
    ),
    "a tensor that nobody counts": Case(
        "costs of a sample",
        "the model holds 408 numbers, of which 401 are parameters or buffers",
        """
        def initialise(self, model, generator):
            super().initialise(model, generator)
            model.hidden = torch.ones(7)
        """,
    ),
    "an example that costs less": Case(
        "costs of a sample",
        "multiply-accumulates of a sample are",
        """
        def example(self, samples, device):
            return torch.empty(samples, 1, 9, 8, device=device)
        """,
    ),
    "a test split of training samples": Case(
        "tested on new samples",
        "5 of 40 test samples of the stand-in data are training samples too; expected: none",
        """
        def data(self, source):
            whole = super().data(source)
            inputs = np.array(whole.test.inputs)
            inputs[:5] = whole.train.inputs[:5]
            return replace(whole, test=replace(whole.test, inputs=inputs))
        """,
    ),
}
