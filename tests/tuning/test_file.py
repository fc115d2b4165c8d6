"""Study files: what they mean, and the one sentence for each mistake."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from optuna.trial import TrialState, create_trial
from studies import COMMON, HEAD, METHODS, study_file, study_of
from tiny import CNN, CommandLine

from bench.config.cells import read_sweep
from bench.errors import BenchError
from bench.plugins import registry
from bench.tuning.sampler import distribution_of
from bench.tuning.study_file import read_study
from bench.tuning.tuned_file import Choice, chosen, toml, tuned_text, write_tuned

ROOT = Path(__file__).resolve().parents[2]


@pytest.fixture
def bench(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> CommandLine:
    return CommandLine(monkeypatch, capsys)


def test_parameters_bring_their_own_ranges_and_all_methods_the_same_budget(tmp_path: Path) -> None:
    study = study_of(tmp_path, "[methods.prism]\nlambda = { high = 1e-3 }\nlr = {}\n[methods.unbiased]\nclip_tau = 3\n")
    prism, unbiased = study.searches
    found = {dimension.name: (dimension.low, dimension.high, dimension.log) for dimension in prism.space}
    assert found == {"kappa": (0.0, 6.0, False), "frobenius_decay": (1e-5, 1e-3, True), "lr": (1e-3, 1.0, True)}
    assert prism.paper == {"kappa": 2.0, "frobenius_decay": 5e-4, "lr": 0.1}
    assert [dimension.name for dimension in unbiased.space] == ["frobenius_decay"]
    assert unbiased.fixed == {"clip_tau": 3.0}
    assert study.budget.trials == 6


@pytest.mark.parametrize("decay", ["0.05", "{ low = 0.01, high = 0.1, paper = 0.05 }"])
def test_trial_0_has_what_parameters_mean_under_the_methods_own_training(decay: str, tmp_path: Path) -> None:
    (search,) = study_of(tmp_path, f"[methods.prism]\nweight_decay = {decay}\nlambda = {{ high = 0.1 }}\n").searches
    cell = search.cell(search.paper, 0)
    kind = registry.method("prism").kind
    assert kind is not None
    assert search.paper["frobenius_decay"] == 0.05 == kind.implied(registry.task(CNN).build(cell))["frobenius_decay"]
    assert not cell.parameters and cell.training["weight_decay"] == 0.05


def test_a_list_of_names_searches_what_each_has(tmp_path: Path) -> None:
    study = read_study(study_file(tmp_path, "", HEAD + 'methods = ["prism", "unbiased"]\n'))
    assert [[dimension.name for dimension in search.space] for search in study.searches] == [
        ["frobenius_decay", "kappa"],
        ["frobenius_decay", "clip_tau"],
    ]


def test_capacities_of_a_study_may_be_drawn_anew(tmp_path: Path) -> None:
    common = COMMON.replace("keep = 0.3", 'keep = "b-c"\ncapacity = "dynamic"')
    for search in read_study(study_file(tmp_path, common=common)).searches:
        assert search.cell(search.paper, 0).profile == "0.25:0.5,0.5:0.5 dynamic"


def test_choices_whole_numbers_and_variants(tmp_path: Path) -> None:
    methods = """
    [methods."prism, clipped"]
    method = "prism"
    multipliers = "wallenius"
    clip_tau = { paper = 10 }
    aggregate = {}
    local_epochs = { low = 1, high = 3 }
    drop_last = { choices = [true, false] }
    """
    (search,) = study_of(tmp_path, methods).searches
    space = {dimension.name: dimension for dimension in search.space}
    assert space["aggregate"].choices == ("factors", "product") and space["drop_last"].choices == (True, False)
    assert space["local_epochs"].whole and isinstance(space["local_epochs"].paper, int)
    assert search.label == "prism, clipped" and search.method == "prism"
    cell = search.cell({**search.paper, "aggregate": "product", "local_epochs": 2}, 4, 0.25)
    assert cell.parameters["aggregate"] == "product" and cell.parameters["clip_tau"] == 10.0
    assert cell.training["validation"] == 0.25 and cell.seed == 4


MISTAKES: list[tuple[str, str]] = [
    (METHODS.replace("lr = {", "lrr = {"), "unknown parameter 'lrr'"),
    (METHODS.replace("low = 0.01", "lo = 0.01"), "unknown key 'lo'; allowed: 'low', 'high'"),
    ("[methods.prism]\nkappa = { low = 3, high = 3 }", "kappa: low = 3 is not below high = 3"),
    (
        "[methods.prism]\nkappa = { low = 3 }",
        "trial 0 has the paper's value, 2.0, which is not among those searched (3 to 6)",
    ),
    ("[methods.prism]\nkappa = { low = -1 }", "kappa, low: kappa = -1 is not possible"),
    ("[methods.prism]\nkappa = { log = true }", "low = 0.0 has no logarithm"),
    ("[methods.prism]\nclip_tau = {}", "say paper = VALUE"),
    ("[methods.prism]\nmultipliers = 'walenius'", "did you mean 'wallenius'?"),
    ("[methods.prism]\nsigma = { choices = ['frozen'] }", "at least two values"),
    ("[methods.prism]\nkappa = { low = 1, choices = [1, 2] }", "choices and a range exclude each other"),
    ("[methods.prism]\nmomentum = {}", "momentum: it has no range of its own"),
    ("[methods.fedavg]", "nothing is searched"),
    ("[methods.prism]\nrounds = 8", "rounds is the same for all methods: it belongs in [common], training"),
    ("[methods.prism]\ncohort = { low = 2, high = 4 }", "cohort is the same for all methods"),
    ("[methods.prism]\nvalidation = 0.1", "validation is the same for all methods: it belongs at the head of the file"),
    ("[methods.'prism a']\nmethod = 'prism'\n[methods.'prism-a']\nmethod = 'prism'", "would have the same files"),
    ("[methods.prims]", "did you mean 'prism'?"),
    ("[pruner]\nkind = 'medain'\n[methods.prism]", "did you mean 'median'?"),
    ("[pruner]\nn_startup_trial = 2\n[methods.prism]", "did you mean 'n_startup_trials'?"),
    ("[pruner]\nkind = 'none'\nn_startup_trials = 2\n[methods.prism]", "means nothing where nothing is pruned"),
    ("[sampler]\nn_startup_trials = 0\n[methods.prism]", "n_startup_trials = 0 is not possible"),
    ("[sampler]\ngroup = true\nmultivariate = false\n[methods.prism]", "group = true needs multivariate = true"),
]


@pytest.mark.parametrize(("methods", "words"), MISTAKES)
def test_a_mistake_is_one_sentence(methods: str, words: str, tmp_path: Path, bench: CommandLine) -> None:
    file = study_file(tmp_path, methods, rest="")
    said = bench.refused("tune", file, "--device", "cpu", "--results", tmp_path)
    assert str(file) in said and words in said


HEADS: list[tuple[str, str]] = [
    (HEAD.replace("[7, 8]", "[1, 8]"), "seeds and report_seeds share 1"),
    (HEAD.replace("[0, 1]", "[0, 0]"), "seeds = [0, 0] is not possible"),
    (HEAD.replace("trials = 6", "trails = 5"), "did you mean 'trials'?"),
    (HEAD.replace("trials = 6", "trials = 0"), "trials = 0 is not possible; allowed: a whole number from 1"),
    (HEAD.replace("validation = 0.2", "validation = 0.0"), "validation = 0.0 is not possible"),
]


@pytest.mark.parametrize(("head", "words"), HEADS)
def test_a_mistake_in_the_head_is_one_sentence(head: str, words: str, tmp_path: Path) -> None:
    with pytest.raises(BenchError) as error:
        study_of(tmp_path, head=head)
    assert words in str(error.value)


@pytest.mark.parametrize(
    ("old", "new", "words"),
    [
        ("keep = 0.3", "keep = [0.3, 0.5]", "allowed: one value, not a list"),
        ('task = "cnn-femnist"', "", "'task' is missing"),
        ("rounds = 4", "rounds = 4\nvalidation = 0.1", "validation stands at the head"),
        ("keep = 0.3", "seed = 3", "unknown key 'seed'"),
        ("keep = 0.3", "keep = 3", "keep = 3 is not possible"),
    ],
)
def test_a_mistake_in_common_is_one_sentence(old: str, new: str, words: str, tmp_path: Path) -> None:
    with pytest.raises(BenchError) as error:
        read_study(study_file(tmp_path, common=COMMON.replace(old, new)))
    assert words in str(error.value)


def test_a_missing_file_names_the_nearest(tmp_path: Path, bench: CommandLine) -> None:
    file = study_file(tmp_path, name="kappa")
    assert f"did you mean '{file}'?" in bench.refused("tune", tmp_path / "kapa.toml")


def test_the_studies_of_the_repository_are_right_and_listed(bench: CommandLine) -> None:
    files = sorted((ROOT / "sweeps" / "studies").glob("*.toml"))
    assert files
    for file in files:
        assert read_study(file).searches
    listed = bench("list", "studies").out
    assert all(f"sweeps/studies/{file.name}" in listed for file in files)
    assert "error" not in bench("list", "sweeps").out


def finished(search: Any, values: dict[str, Any], value: float) -> Any:
    space = {dimension.name: distribution_of(dimension) for dimension in search.space}
    trial = create_trial(state=TrialState.COMPLETE, params=values, distributions=space, value=value)
    trial.number = 3
    return trial


def test_the_tuned_file_reads_back_as_the_cells_that_are_compared(tmp_path: Path) -> None:
    methods = """
    [methods.prism]
    lr = { low = 0.02, high = 0.6, paper = 0.1 }
    [methods."a \\"variant\\""]
    method = "orthdrop"
    tail = {}
    """
    study = study_of(tmp_path, methods)
    prism, variant = study.searches
    tuned = {"kappa": 3.25, "frobenius_decay": 2.5e-05, "lr": 0.3}
    choices = chosen([(prism, [finished(prism, tuned, 0.5)]), (variant, [finished(variant, variant.paper, 0.25)])])
    path = tmp_path / "tuned" / "study.toml"
    write_tuned(path, study, choices)
    sweep = read_sweep(path)
    wanted = [cell for choice in choices for cells in choice.cells(study, ()).values() for cell in cells]
    assert list(sweep.cells) == wanted and len(wanted) == 3 * len(study.report_seeds)
    assert {cell.seed for cell in sweep.cells} == set(study.report_seeds)
    assert all("validation" not in cell.training for cell in sweep.cells)
    assert sweep.last == study.budget.last
    text = path.read_text(encoding="utf-8")
    assert "trial 3, validation accuracy 50.00%" in text and f"bench tune {study.path.as_posix()}" in text
    assert tuned_text(study, choices) == text


def test_a_study_without_a_complete_trial_has_the_papers_values_alone(tmp_path: Path) -> None:
    study = study_of(tmp_path)
    choice = Choice(study.searches[0], None)
    assert list(choice.values) == ["paper"]
    assert "no trial is complete" in tuned_text(study, [choice])


@pytest.mark.parametrize("value", [1e-05, 'a "b" \\ c\né', True, [1, 2.5], {"a b": 1, "c": {"d": "e"}}, float("inf")])
def test_values_are_written_as_toml_reads_them(value: Any) -> None:
    import tomllib

    assert tomllib.loads(f"value = {toml(value)}")["value"] == value
