"""Whatever a method does to its process, and however a script begins: who asked for the cell is told how it ended."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
from tiny import CNN, SETTINGS, TRAINING, CommandLine, numbers, plugin, write

import bench
from bench.errors import BenchError
from bench.launch import apart
from bench.processes.failure import RemoteTraceback

UNGUARDED = f"""
import bench

rounds = bench.run(task={CNN!r}, method="orthdrop", keep=0.5, workers=WORKERS, **{ {**TRAINING, "rounds": 1}!r})
print("losses", rounds.train_loss.tolist())
"""
LIGHT = """
import sys
sys.path.insert(0, {tests!r})
from dying import dies
from bench.processes.children import Child

print("begun")
child = Child(dies, "exit")
print(child.receive(), child.receive(), child.ending)
"""


def script_ran(script: str, way: str, folder: Path) -> subprocess.CompletedProcess[str]:
    """Run a script from a file, or from standard input."""
    words, text = (["unguarded.py"], None) if way == "file" else (["-"], script)
    write(folder / "unguarded.py", script)
    environment = {**os.environ, "OMP_NUM_THREADS": "1", "PYTHONPATH": str(Path(__file__).resolve().parents[2])}
    return subprocess.run(
        [sys.executable, *words], input=text, cwd=folder, env=environment, capture_output=True, text=True, timeout=300
    )


@pytest.mark.parametrize("way", ["file", "standard input"])
def test_the_script_of_a_user_is_not_run_again_by_a_process(way: str, tmp_path: Path) -> None:
    script = LIGHT.format(tests=str(Path(__file__).resolve().parents[1] / "support"))
    ran = script_ran(script, way, tmp_path)
    assert ran.stdout.splitlines() == ["begun", "begun None exit code 5"] and ran.stderr == ""


@pytest.mark.parametrize("way", ["standard input", pytest.param("file", marks=pytest.mark.slow)])
def test_a_script_needs_no_main_guard(way: str, tmp_path: Path) -> None:
    """Nor do the processes that train its clients, which the slow test has as well."""
    workers = "2" if way == "file" else "1"
    ran = script_ran(UNGUARDED.replace("WORKERS", workers), way, tmp_path)
    assert ran.returncode == 0 and ran.stderr == "" and ran.stdout.count("losses [nan, ") == 1, ran


def test_a_process_is_kept_for_the_next_cell_and_gives_the_numbers_of_this_one() -> None:
    settings: dict[str, Any] = {**SETTINGS, "rounds": 1}
    first = bench.run(**settings)
    assert apart._waiting is not None
    kept = apart._waiting[0]
    again, inline = bench.run(**settings), bench.run(**settings, inline=True)
    assert apart._waiting is not None and apart._waiting[0] is kept
    pd.testing.assert_frame_equal(numbers(first), numbers(again))
    pd.testing.assert_frame_equal(numbers(first), numbers(inline))
    apart.end_waiting()
    assert kept.has_ended and apart._waiting is None


def test_a_process_is_not_kept_where_another_would_begin_otherwise(monkeypatch: pytest.MonkeyPatch) -> None:
    class Idle:
        has_ended, ended = False, False

        def end(self, at_once: bool) -> None:
            self.ended = True

    for change in (lambda: monkeypatch.setenv("BENCH_DATA", "elsewhere"), lambda: monkeypatch.chdir("/")):
        idle: Any = Idle()
        apart._keep(idle)
        assert apart._idle() is idle
        apart._keep(idle)
        change()
        assert apart._idle() is None and idle.ended
    dead: Any = Idle()
    dead.has_ended = True
    apart._keep(dead)
    assert apart._idle() is None


def test_an_aborted_process_is_a_sentence_of_the_python_api(tmp_path: Path) -> None:
    path = plugin(tmp_path, "aborts", extract="import os; os.write(2, b'free(): invalid size\\n'); os.abort()")
    with pytest.raises(BenchError) as failed:
        bench.run(**{**SETTINGS, "method": "aborts", "plugin": path})
    assert "signal SIGABRT: a library found its memory corrupted; its last words: free(): invalid" in str(failed.value)


@pytest.mark.parametrize("inline", [True, False])
def test_a_failure_of_the_python_api_has_file_and_line(inline: bool, tmp_path: Path) -> None:
    path = plugin(tmp_path, "raises", select="raise ValueError('one thing' + chr(10) + 'and another')")
    line = path.read_text().splitlines().index("        raise ValueError('one thing' + chr(10) + 'and another')") + 1
    with pytest.raises(BenchError) as failed:
        bench.run(**{**SETTINGS, "method": "raises", "plugin": path}, inline=inline)
    said = f"ValueError: one thing; and another (raises.py, line {line}, in select)"
    assert str(failed.value).endswith(said)
    cause = failed.value.__cause__
    assert isinstance(cause, RemoteTraceback) and f'raises.py", line {line}, in select' in str(cause)


def test_a_method_that_ends_the_process_is_a_failed_cell_of_run(command: CommandLine, tmp_path: Path) -> None:
    path = plugin(tmp_path, "leaves", select="import os; print('before'); os.close(1); os._exit(7)")
    words = [word for name, value in TRAINING.items() for word in ("--set", f"{name}={value}")]
    given = ("--task", CNN, "--method", "leaves", "--plugin", path, "--workers", 1, "--device", "cpu", *words)
    ran = command("run", *given)
    assert ran.code == 1 and ran.err == "" and "Traceback" not in ran.out
    assert "failed: the process that ran it ended with exit code 7" in ran.out and "saved in results" in ran.out


def test_a_method_that_ends_the_process_is_a_failed_check(command: CommandLine, tmp_path: Path) -> None:
    path = plugin(tmp_path, "leaves", select="import os; os._exit(7)")
    ran = command("check", "--plugin", path, "--task", CNN)
    assert ran.code == 1 and "Traceback" not in ran.out + ran.err
    assert "'keep 1 is the full model': the process ended with exit code 7" in ran.out
    assert "not run: the process of the checks had ended" in ran.out


@pytest.mark.parametrize(
    ("line", "said"),
    [
        ("family = 5", "family = 5 of Odd is not possible; allowed: a word in quotes"),
        ("deviations = 'one'", "deviations of Odd are no list of words in quotes"),
        ("deviations = 5", "deviations of Odd are no list of words in quotes"),
    ],
)
def test_attributes_that_are_no_text_are_a_sentence(line: str, said: str, command: CommandLine, tmp_path: Path) -> None:
    path = plugin(tmp_path, "odd")
    path.write_text(path.read_text().replace('summary = "a test"', line))
    assert said in command.refused("run", "--task", CNN, "--method", "odd", "--plugin", path)
    assert "odd" in command("list", "methods", "--plugin", path).out
