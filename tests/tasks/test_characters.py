"""Tasks whose labels are sequences: loss, answers and counts go by characters, and never by padding."""

from __future__ import annotations

import math
from pathlib import Path

import numpy as np
import pytest
import torch
from torch.nn import functional

from bench.config.cells import make_cell
from bench.data import cache
from bench.data.characters import CHARACTERS, PADDING, VOCABULARY, encode
from bench.data.dataset import Split
from bench.data.shakespeare import CHARACTERS as PLAYS
from bench.errors import BenchError
from bench.families.distillation import distillation_loss
from bench.federation.federation import Federation
from bench.federation.partition import split
from bench.federation.skew import skew_of
from bench.launch.running import facts_of
from bench.models.heads import Classifier
from bench.models.initialise import initialise
from bench.models.lstm import CharacterLSTM
from bench.plugins import registry
from bench.seeding import stream
from bench.tasks.base import Task
from bench.training.evaluation import score_batches, total_score

SMALL = {"clients": 5, "cohort": 2, "standin_train": 200, "standin_test": 50, "evaluation_batch": 16}


@pytest.fixture(scope="module")
def federation() -> Federation:
    return Federation.build(
        make_cell({"task": "lstm-shakespeare", "method": "fedavg", "model": {"hidden": 4}, "training": SMALL}, "test")
    )


def task() -> Task:
    return registry.task("lstm-shakespeare").build(make_cell({"task": "lstm-shakespeare", "method": "fedavg"}, "test"))


def test_loss_and_answers_leave_padding_out() -> None:
    generator = torch.Generator().manual_seed(0)
    outputs = torch.randn(3, 6, VOCABULARY, generator=generator)
    labels = torch.tensor([[5, 9, 89, 0, 0, 0], [1, 2, 3, 4, 5, 6], [0, 0, 0, 0, 0, 0]])
    outputs[1, 2, 3] = outputs[0, 3, 0] = 50.0
    expected = [
        -math.log(math.exp(row[label]) / sum(map(math.exp, row.tolist())))
        for rows, own in zip(outputs.double(), labels.tolist(), strict=True)
        for row, label in zip(rows, own, strict=True)
        if label
    ]
    assert float(task().loss(outputs, labels)) == pytest.approx(sum(expected) / 9, rel=1e-5)
    right = task().correct(outputs, labels)
    assert right.shape == labels.shape and bool(right[1, 2]) and not bool(right[0, 3]) and not bool(right[2].any())
    alone = task().loss(outputs[2:].requires_grad_(), labels[2:])
    assert float(alone.detach()) == 0.0  # and no division by nothing


def test_evaluation_counts_characters(federation: Federation) -> None:
    """Against a count one by one, over batches of unlike lengths; by class too."""
    model = federation.initial_model().eval()
    score = total_score(score_batches(model, federation, range(4), by_class=True))
    test = federation.dataset.test
    with torch.no_grad():
        outputs = model(torch.from_numpy(np.array(test.inputs)).long())
    labels = torch.from_numpy(np.array(test.labels))
    counted = labels != PADDING
    assert 0 < int((~counted).sum()) < labels.numel()
    losses = functional.cross_entropy(outputs[counted], labels[counted], reduction="none")
    hits = (outputs.argmax(-1) == labels)[counted]
    assert score.loss == pytest.approx(float(losses.mean()), rel=1e-5)
    assert score.acc == pytest.approx(float(hits.float().mean()))
    assert math.isnan(score.class_acc[PADDING]) and len(score.class_acc) == VOCABULARY
    some = int(labels[counted].mode().values)
    own = labels[counted] == some
    assert score.class_acc[some] == pytest.approx(float(hits[own].float().mean()))


def test_what_is_said_of_clients_counts_characters(federation: Federation) -> None:
    labels = np.asarray(federation.dataset.train.labels)
    counts = federation.label_counts(2)
    own = labels[federation.partition.client(2)]
    assert counts[PADDING] == 0 and counts.sum() == (own != PADDING).sum()
    client = next(client for client in federation.cohort(1).clients)
    assert PADDING not in client.labels and len(client.labels) > 5
    facts = facts_of(federation)
    test = np.asarray(federation.dataset.test.labels)
    assert facts["evaluated_samples"] == (test != PADDING).sum()
    assert facts["commonest_class"] == pytest.approx(np.bincount(test[test != 0]).max() / (test != 0).sum())
    skew = skew_of(federation.partition, labels, PADDING)
    held = [len(set(labels[federation.partition.client(number)].ravel()) - {PADDING}) for number in range(5)]
    assert skew.classes_per_client == pytest.approx(np.mean(held)) and skew.divergence_bits > 0
    assert len(federation.partition) == 5 and federation.cell.partition == "natural"


@pytest.mark.parametrize("kind", ["iid-exact", "lda", "lda-prior", "pachinko", "dirichlet"])
def test_partitions_by_class_are_refused(kind: str) -> None:
    labels = np.zeros((12, 80), dtype=np.int64)
    options = {} if kind == "iid-exact" else {"alpha": 1.0}
    with pytest.raises(BenchError, match=rf"'{kind}' goes by the class of a sample, .* allowed: 'iid', 'natural'$"):
        split(kind, labels, clients=3, rng=stream(0, "x"), **options)
    assert set(split("iid", labels, clients=3, rng=stream(0, "x")).sizes) == {4}


def test_the_plays_are_a_second_source(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Windows and their one label become sequences in the other vocabulary."""
    monkeypatch.setenv("BENCH_DATA", str(tmp_path))
    text = "To be, or not to be - that is the question: ~ whether 'tis nobler in the mind to suffer {"
    ids = np.array([PLAYS.index(character) for character in text[:81]])
    one = Split(ids[None, :80].astype(np.int16), ids[80:], np.zeros(1, dtype=np.int32))
    cache.write("shakespeare", one, one, title="Shakespeare by role", classes=96)
    plays = registry.task("lstm-shakespeare").build(
        make_cell({"task": "lstm-shakespeare", "method": "fedavg", "data": "real", "model": {"text": "plays"}}, "test")
    )
    data = plays.data("real")
    assert data.classes == VOCABULARY and data.title == "Shakespeare by role"
    np.testing.assert_array_equal(data.train.inputs[0], encode(text[:80]))
    np.testing.assert_array_equal(data.test.labels[0], encode(text[1:81]))
    assert set(CHARACTERS) - set(PLAYS) == {"\r"}


def test_the_network_is_that_of_the_paper_and_its_layers_are_its_exits() -> None:
    model = CharacterLSTM()
    assert sum(tensor.numel() for tensor in model.parameters()) == 822_570
    assert sum(tensor.numel() for name, tensor in model.named_parameters() if "bias_hh" not in name) == 820_522
    small = CharacterLSTM(6, 10, 3)
    initialise(small, torch.Generator().manual_seed(0))
    tokens = torch.randint(10, (4, 7), generator=torch.Generator().manual_seed(1))
    first, last = small.hidden_states(tokens)
    assert first.shape == (4, 7, 6)
    torch.testing.assert_close(small.classifier(last), small(tokens))
    one = torch.nn.LSTM(3, 6, 1, batch_first=True)
    one.load_state_dict({name: dict(small.lstm.named_parameters())[name] for name, _ in one.named_parameters()})
    torch.testing.assert_close(one(small.embedding(tokens))[0], first)


def test_distillation_and_heads_go_place_by_place() -> None:
    """What is learnt from a teacher is the mean over all places, and a head's outputs have the task's form."""
    generator = torch.Generator().manual_seed(3)
    outputs, teacher = torch.randn(2, 2, 5, 7, generator=generator)
    places = [
        functional.cross_entropy(own[None] / 2, (other / 2).softmax(0)[None])
        for own, other in zip(outputs.flatten(0, 1), teacher.flatten(0, 1), strict=True)
    ]
    torch.testing.assert_close(distillation_loss(outputs, teacher, 2.0), torch.stack(places).mean())
    model = CharacterLSTM(6, 10, 3)
    initialise(model, generator)
    head = Classifier(model, 0)
    first, _ = model.hidden_states(torch.randint(10, (4, 7), generator=generator))
    assert head(first).shape == (4, 7, 10)
