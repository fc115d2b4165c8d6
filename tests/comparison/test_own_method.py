"""Which method a user means, and one sentence where that is none or not clear."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from compared import UNIFORM, sweep_in
from tiny import write

import methods
from bench.comparison.own_method import own_method
from bench.comparison.plan import Choice, plan_of
from bench.config.cells import Sweep, read_sweep
from bench.errors import BenchError

NAMED = '    name = "{}"\n    summary'
TWO = "".join(
    UNIFORM.replace("class Uniform", f"class {name.title()}").replace("    summary", NAMED.format(name))
    for name in ("uniform", "other")
)


@pytest.fixture
def sweep(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Sweep:
    monkeypatch.chdir(tmp_path)
    return sweep_in(tmp_path)


def test_a_file_a_name_and_the_file_of_a_name(sweep: Sweep) -> None:
    file = write(Path("uniform.py"), UNIFORM)
    assert (own_method("uniform.py", sweep).name, own_method("uniform.py", sweep).plugins) == ("uniform", (file,))
    assert own_method("prism", sweep).plugins == ()
    built_in = Path(str(methods.__file__)).parent / "prism.py"
    assert own_method(str(built_in), sweep) == own_method("prism", sweep)


def test_parameters_are_the_methods_and_checked(sweep: Sweep) -> None:
    assert own_method("prism", sweep, parameters=["kappa=4"]).parameters == {"kappa": 4.0}
    assert own_method("prism", sweep, parameters={"kappa": 4}) == own_method("prism", sweep, parameters=["kappa=4"])


def test_one_of_several_is_picked_by_name(sweep: Sweep) -> None:
    write(Path("two.py"), TWO)
    assert own_method("two.py", sweep, "other").name == "other"


def test_a_file_that_the_sweep_names_is_no_stranger(sweep: Sweep, tmp_path: Path) -> None:
    write(Path("uniform.py"), UNIFORM)
    file = write(
        Path("with.toml"), 'plugins = ["uniform.py"]\n[[cells]]\ntask = "cnn-femnist"\nmethod = ["prism", "uniform"]\n'
    )

    read = read_sweep(file)
    own = own_method("uniform.py", read)
    assert own.plugins == read.plugins
    assert [cell.method for cell in plan_of(read, own, Choice(), tmp_path).others] == ["prism"]


@pytest.mark.parametrize(
    ("given", "text", "words"),
    [
        ("unifrom.py", None, "unifrom.py: there is no such file; allowed: 'uniform.py'; did you mean 'uniform.py'?"),
        ("prsim", None, "unknown method 'prsim'; allowed: 'collective', .* did you mean 'prism'?"),
        ("mine.py", "x = 1\n", "plugin mine.py: it cannot be used: it defines no subclass of bench.api.Method"),
        ("mine.py", "x = (\n", "plugin mine.py: it cannot be used: line 1: SyntaxError"),
        ("mine.txt", "words\n", "plugin mine.txt: it cannot be used: it is not a Python file"),
        (".", None, "plugin . .* it cannot be used: it is a folder"),
        ("mine.py", TWO,
         "mine.py: it holds 2 methods; say which with --method; allowed: 'uniform', 'other'"),
        ("prism.py", UNIFORM, "prism.py: its method has the name 'prism', which another one has already; give it one"),
    ],
)  # fmt: skip
def test_what_is_no_method_is_one_sentence(sweep: Sweep, given: str, text: str | None, words: str) -> None:
    write(Path("uniform.py"), UNIFORM)
    if text is not None:
        write(Path(given), text)
    with pytest.raises(BenchError) as error:
        own_method(given, sweep)
    said = str(error.value).replace(f"{Path.cwd()}/", "")
    parts = words.split(" .* ")
    assert said.startswith(parts[0]) and parts[-1] in said, said
    assert "\n" not in str(error.value)


def test_a_file_of_figures_alone_holds_no_method(sweep: Sweep) -> None:
    text = (
        'from bench.figure_spec import FigureSpec\nFIGURE = FigureSpec("mine", "d", (), lambda tables, options: [])\n'
    )
    write(Path("drawn.py"), text)
    with pytest.raises(BenchError, match=r"^drawn.py: it holds no method"):
        own_method("drawn.py", sweep)


@pytest.mark.parametrize(
    ("only", "given", "words"),
    [
        ("unform", "uniform.py", "--method 'unform': uniform.py has no such method; allowed: 'uniform'; did you mean"),
        ("fjord", "prism", "--method 'fjord': it picks one of a file's methods, and 'prism' is a method itself"),
    ],
)
def test_a_wrong_pick_is_one_sentence(sweep: Sweep, only: str, given: str, words: str) -> None:
    write(Path("uniform.py"), UNIFORM)
    with pytest.raises(BenchError, match=re.escape(words)):
        own_method(given, sweep, only)


@pytest.mark.parametrize(
    ("word", "words"),
    [
        (
            "lr=1",
            "--set lr: it is a setting of the training, which all methods of 'tiny' share; allowed: para",
        ),
        ("variant=released", "--set variant: it is a setting of the model, which all methods of 'tiny' share"),
        ("kapa=1", "--set 'kapa=1': unknown name 'kapa'; allowed: "),
    ],
)
def test_settings_of_all_are_not_one_methods(sweep: Sweep, word: str, words: str) -> None:
    with pytest.raises(BenchError, match=re.escape(words)):
        own_method("prism", sweep, parameters=[word])


@pytest.mark.parametrize(
    ("choice", "words"),
    [
        (Choice(against=("prsim",)), "--against 'prsim': the sweep 'tiny' lacks it; allowed: 'fedavg', 'orthdr"),
        (Choice(against=("heterofl",)), "--against 'heterofl': the sweep 'tiny' lacks it"),
        (Choice(keep=("0.3",)), "--keep '0.3': the sweep 'tiny' lacks it; allowed: '0.2', '0.5'"),
        (Choice(keep=("1",)), "--keep '1': the sweep 'tiny' lacks it; allowed: '0.2', '0.5'"),
        (Choice(task=("lstm-imdb",)), "--task 'lstm-imdb': the sweep 'tiny' lacks it; allowed: 'cnn-femnist'"),
        (Choice(seeds=4), "--seeds 4: tiny has 3; allowed: 1 to 3"),
        (Choice(seeds=0), "--seeds 0: tiny has 3; allowed: 1 to 3"),
    ],
)  # fmt: skip
def test_a_choice_that_the_sweep_lacks_is_one_sentence(sweep: Sweep, choice: Choice, words: str) -> None:
    write(Path("uniform.py"), UNIFORM)
    own = own_method("uniform.py", sweep)
    with pytest.raises(BenchError, match=re.escape(words)):
        plan_of(sweep, own, choice, Path("results"))


def test_a_sweep_of_the_method_alone_has_nothing_to_compare_with(tmp_path: Path) -> None:
    sweep = sweep_in(tmp_path, '[[cells]]\nmethod = "prism"\n')
    with pytest.raises(BenchError, match=r"^tiny: .*no cells of other methods"):
        plan_of(sweep, own_method("prism", sweep), Choice(), tmp_path)
