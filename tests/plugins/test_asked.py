"""What a user's task does before anything is run: one sentence that names its line, and the command says its end."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
from tiny import CommandLine, write

from bench.errors import BenchError
from bench.plugins import registry
from bench.plugins.asked import asked
from bench.plugins.living import Ends, living

TASK = """
import os
from bench.tasks.cnn_femnist import CNNFemnist

class Mine(CNNFemnist):
    name = "mine"

    def model(self):
        {line}
"""


SWEEP = '[[cells]]\ntask = "mine"\nmethod = "fedavg"\n[cells.training]\nstandin_train = 400\nstandin_test = 60\n'


@pytest.mark.parametrize(
    ("line", "words"),
    [
        ("return CN(62)", "NameError: name 'CN' is not defined"),
        ("os._exit(0)", "Ends: it ended the process, os._exit(0)"),
        ("raise SystemExit('enough')", "SystemExit: enough"),
    ],
)
def test_a_task_without_a_model_is_one_sentence(line: str, words: str, command: CommandLine, tmp_path: Path) -> None:
    file = write(tmp_path / "mine.py", TASK.format(line=line))
    sweep = tmp_path / "some.toml"
    sweep.write_text(SWEEP)
    small = ("--set", "standin_train=400", "--set", "standin_test=60")
    for verb in (
        ("run", "--task", "mine", "--method", "fedavg", *small, "--plugin", file),
        ("sweep", sweep, "--plugin", file),
        ("check", "fedavg", "--task", "mine", "--plugin", file),
    ):
        said = command.refused(*verb)
        assert f"task 'mine': {words}" in said and f"{file}, line 9, in model" in said, said


def test_a_file_that_ends_the_process_when_it_is_read_is_one_sentence(command: CommandLine, tmp_path: Path) -> None:
    file = write(tmp_path / "ends.py", "import os\nos._exit(0)\n")
    for verb in (("run", "--task", "cnn-femnist", "--method", "ends"), ("check", "ends"), ("list", "methods", "ends")):
        assert "it ended the process, os._exit(0)" in command.refused(*verb, "--plugin", file)


def test_what_is_built_in_raises_as_it_does_and_the_process_can_end_again() -> None:
    before = os._exit
    with pytest.raises(ZeroDivisionError), asked(registry.task("cnn-femnist")):
        raise ZeroDivisionError
    with pytest.raises(BenchError, match=r"^as it was$"), asked(registry.task("cnn-femnist")):
        raise BenchError("as it was")
    with pytest.raises(Ends, match=r"os\._exit\(3\)"), living():
        os._exit(3)
    assert os._exit is before


def test_a_file_that_takes_the_place_of_what_is_built_in_is_said(command: CommandLine, tmp_path: Path) -> None:
    text = "from methods.fedavg import FedAvg\n\nclass Mine(FedAvg):\n    name = 'prism'\n"
    file = write(tmp_path / "mine.py", text)
    assert registry.replaced([file]) == [f"method 'prism' is that of {file}, not the built-in one"]
    own = write(tmp_path / "own.py", text.replace("prism", "mine"))
    assert registry.replaced([own]) == []
