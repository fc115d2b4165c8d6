"""The line ``plugins = [...]`` of sweep and study files names files beside them, and what is wrong with it is said."""

from __future__ import annotations

import textwrap
from pathlib import Path

import pytest
from tiny import CELLS, CNN, COMMON, TRAINING, CommandLine, plugin, sweep_of, write

import bench
from bench.config.cells import read_sweep
from bench.errors import BenchError
from bench.launch import sweep as sweeps
from bench.tuning.study_file import read_study
from bench.tuning.tuned_file import Choice, write_tuned

ONE = '[[cells]]\nmethod = "fedavg"\n'
TASK = "from bench.tasks.cnn_femnist import CNNFemnist\nclass Mine(CNNFemnist):\n    {body}\n"
DARKER = """
from bench.figure_spec import FigureSpec
from bench.tasks.cnn_femnist import CNNFemnist
from my_scale import SCALE


class Mine(CNNFemnist):
    def prepare(self, inputs):
        return super().prepare(inputs) * SCALE


def draw(tables, options):
    from matplotlib.figure import Figure
    figure = Figure()
    figure.subplots().plot(tables["rounds"]["round"], tables["rounds"]["test_acc"])
    return [("mine", figure)]


SPEC = FigureSpec("mine", "a test", ("rounds",), draw)
"""
STUDY = """
    plugins = ["mine.py"]
    trials = 2
    [common]
    task = "{task}"
    [methods.{method}]
    lr = {{ low = 0.02, high = 0.6 }}
"""


def test_files_are_found_from_the_sweep_files_folder_and_those_of_the_option_count_too(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = tmp_path / "sweeps"
    folder.mkdir()
    monkeypatch.setenv("HOME", str(tmp_path / "sweeps"))
    (tmp_path / "beside").mkdir()
    home, beside, given = plugin(folder, "at_home"), plugin(tmp_path / "beside", "beside"), plugin(tmp_path, "given")
    cells = '[[cells]]\nmethod = ["at_home", "beside", "given", "fedavg"]\n'
    path = sweep_of(folder, cells, 'plugins = ["~/at_home.py", "../beside/beside.py"]\n')
    sweep = read_sweep(path, [given])
    assert [file.resolve() for file in sweep.plugins] == [home, beside, given]
    assert sweeps.only(sweep, "method=given").plugins == sweep.plugins
    with pytest.raises(BenchError, match="unknown method 'given'"):
        read_sweep(path)
    assert len(read_sweep(path, [given, home]).cells) == 4  # a file that is named twice is one


@pytest.mark.parametrize(
    ("line", "words"),
    [
        ('plugins = "mine.py"', ["plugins = 'mine.py' is not possible", 'allowed: a list of files', '["mine.py"]']),
        ("plugins = 3", ["plugins = 3 is not possible"]),
        ("plugins = [3]", ["plugins = [3] is not possible"]),
        ('plugins = ["mien.py"]', ["plugins: there is no file '", "mien.py'; allowed: 'mine.py'; did you mean"]),
        ('plugins = ["."]', [", plugins: '", "' is a folder; name the files in it"]),
        ('plugins = ["a\\u0000b.py"]', [", plugins: there is no file"]),
        ('plugins = ["~nobody-of-this-name/a.py"]', [", plugins: ~nobody", "no home folder"]),
        ('plugins = ["tiny.toml"]', [", plugins: plugin ", "it cannot be used", "it is not a Python file"]),
        ('plugin = ["mine.py"]', ["unknown key 'plugin'", "did you mean 'plugins'?"]),
    ],
)  # fmt: skip
def test_a_wrong_line_is_one_sentence(tmp_path: Path, line: str, words: list[str]) -> None:
    plugin(tmp_path, "mine")
    path = sweep_of(tmp_path, ONE, f"{line}\n")
    study = write(tmp_path / "study.toml", f"{line}\n" + textwrap.dedent(STUDY).format(task=CNN, method="prism")
                  .replace('plugins = ["mine.py"]', ""))  # fmt: skip
    for read, file in ((read_sweep, path), (read_study, study)):
        with pytest.raises(BenchError) as refused:
            read(file)  # type: ignore[operator]
        said = str(refused.value)
        assert said.startswith(str(file)) and "\n" not in said and [word for word in words if word not in said] == []


def test_a_broken_file_is_named_with_its_reason(tmp_path: Path) -> None:
    write(tmp_path / "mine.py", "def f(:\n")
    with pytest.raises(BenchError, match=r"tiny.toml, plugins: plugin .*mine.py: it cannot be used: line 1: SyntaxErr"):
        read_sweep(sweep_of(tmp_path, CELLS, 'plugins = ["mine.py"]\n'))


def test_a_study_and_the_sweep_it_ends_with_know_their_plugins(tmp_path: Path) -> None:
    write(tmp_path / "mine.py", TASK.format(body="pass"))
    given = plugin(tmp_path, "given")
    study = read_study(write(tmp_path / "study.toml", STUDY.format(task="mine", method="given")), [given])
    assert [file.name for file in study.plugins] == ["mine.py", "given.py"]
    path = tmp_path / "tuned" / "study.toml"
    write_tuned(path, study, [Choice(study.searches[0], None)])
    assert 'plugins = ["../mine.py", "../given.py"]' in path.read_text(encoding="utf-8")
    assert {(cell.task, cell.method) for cell in read_sweep(path).cells} == {("mine", "given")}


@pytest.mark.slow
def test_a_sweep_over_a_users_task_runs_in_processes_and_every_command_knows_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """A cell has a process of its own, and where there are cores for them its clients have others."""
    monkeypatch.chdir(tmp_path)
    command = CommandLine(monkeypatch, capsys)
    write(tmp_path / "my_scale.py", "SCALE = 0.5\n")
    file = write(tmp_path / "mine.py", DARKER)
    head = 'plugins = ["mine.py"]\nfigures = ["gap"]\n'
    path = write(tmp_path / "tiny.toml", head + COMMON.replace(CNN, "mine") + ONE + "training = { rounds = 1 }\n")
    assert "would run mine-fedavg" in command("sweep", path, "--dry-run").out
    assert command("sweep", path).code == 0
    assert "1 done" in command("status", path).out and "nothing to delete" in command("gc", path).out
    alone = bench.run(task="mine", method="fedavg", plugin=[file], **{**TRAINING, "rounds": 1}, inline=True)
    assert bench.load("results/tiny")["rounds"]["train_loss"].iloc[-1] == alone["train_loss"].iloc[-1]
    refused = command.refused("plot", path, "--figures", "levels,mnie")
    assert refused.startswith("--figures: unknown figure 'mnie'; allowed: ") and "did you mean 'mine'?" in refused
    figures = tmp_path / "results" / "tiny" / "figures"
    assert list(figures.glob("*")) == [] and command("plot", path, "--figures", "mine").code == 0
    assert sorted(file.name for file in figures.iterdir()) == ["mine-mine.pdf", "mine-mine.png"]
    write(tmp_path / "my_scale.py", "SCALE = 0.25\n")
    assert "1 stale" in command("status", path).out
