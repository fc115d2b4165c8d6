"""Studies that are killed, stopped, joined or whose storage was torn: the trials are those of a quiet study."""

from __future__ import annotations

import contextlib
import itertools
import os
import signal
import subprocess
import time
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from patience import PATIENCE_S
from studies import HEAD, METHODS, ROUNDS, named, rows, stored_rows, study_file, trials, work
from studies import study_of as larger_study_of
from tiny import CommandLine, start

from bench.config.cells import read_sweep
from bench.errors import BenchError
from bench.tuning.claims import Claim, Claims
from bench.tuning.crew import _Crew
from bench.tuning.storage import JOURNAL, mend, open_storage, open_study
from bench.tuning.study_file import Study, read_study
from bench.tuning.work import Assignment, cell_store

QUICK = ("--device", "cpu", "--no-report")
FEW = HEAD.replace("trials = 6", "trials = 3")
"""As many as the samplers draw at random, and one that they have learned for; the pruner judges it."""
PRISM = "[methods.prism]\nlr = { low = 0.01, high = 0.5 }\n"


def study_of(folder: Path, methods: str = METHODS, head: str = FEW) -> Study:
    return larger_study_of(folder, methods, head)


@pytest.fixture(scope="module")
def quiet(tmp_path_factory: pytest.TempPathFactory) -> tuple[Study, list[dict[str, Any]]]:
    """A study that nothing disturbs."""
    folder = tmp_path_factory.mktemp("quiet")
    study = study_of(folder)
    for index in range(2):
        work(study, folder, index)
    return study, rows(study, folder)


@pytest.fixture
def file(tmp_path: Path) -> Path:
    return study_file(tmp_path, head=FEW)


def results(file: Path) -> Path:
    return file.parent / "results" / file.stem


def finish(file: Path, *words: object) -> str:
    """Run the study to its end and return what it says."""
    process = start(file.parent, "tune", file, *QUICK, "--jobs", 2, *words)
    out, err = process.communicate(timeout=PATIENCE_S)
    assert (process.returncode, err) == (0, ""), err
    return out


@contextlib.contextmanager
def running(file: Path, *words: object, begun: int = 1) -> Iterator[subprocess.Popen[str]]:
    """Start the study and wait until so many trials have begun; what is left of its processes is killed."""
    process = start(file.parent, "tune", file, *QUICK, "--jobs", 2, *words)
    assert process.stdout is not None
    try:
        started = (line for line in process.stdout if line.startswith("started"))
        assert len(list(itertools.islice(started, begun))) == begun
        yield process
    finally:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
        process.communicate()


@pytest.mark.slow
@pytest.mark.parametrize("seed", range(9))
def test_killed_at_random_instants(seed: int, file: Path, quiet: tuple[Study, list[dict[str, Any]]]) -> None:
    """Once, or more often in the slow tests, at some moment in one of the first trials."""
    rng, kills = np.random.default_rng(seed), 0
    for begun in [2, 1][: 1 + (seed > 0)]:
        with running(file, begun=begun) as process:
            time.sleep(rng.uniform(0.0, 2.0))
            kills += process.poll() is None
    assert kills > 0
    finish(file)
    assert stored_rows(results(file)) == quiet[1]
    leftovers = list((results(file) / "study" / "unfinished").rglob("lease.json"))
    assert leftovers == []


@pytest.mark.slow
def test_stop_after_leaves_checkpoints_and_goes_on(file: Path, quiet: tuple[Study, list[dict[str, Any]]]) -> None:
    """With more trials than can end in that time; then as many as the quiet study has."""
    few = file.read_text()
    file.write_text(few.replace("trials = 3", "trials = 200"))
    for _ in range(5):  # a stop between two trials leaves none that runs
        process = start(file.parent, "tune", file, *QUICK, "--jobs", 2, "--stop-after", 10)
        out, err = process.communicate(timeout=PATIENCE_S)
        assert (process.returncode, err) == (0, "")
        assert "stopped after 10 s" in out and "left: the same command goes on" in out
        left = [row for row in stored_rows(results(file)) if row["state"] == "running"]
        if left:
            break
    assert left
    assert list((results(file) / "study" / "unfinished").glob("*/checkpoint.pt"))
    file.write_text(few)
    finish(file)
    assert stored_rows(results(file)) == quiet[1]


@pytest.mark.slow
def test_interrupted_from_the_keyboard(file: Path, quiet: tuple[Study, list[dict[str, Any]]]) -> None:
    with running(file) as process:
        time.sleep(1)
        os.killpg(process.pid, signal.SIGINT)
        _out, err = process.communicate(timeout=PATIENCE_S)
    assert process.returncode == 130 and "interrupted" in err and "Traceback" not in err
    finish(file)
    assert stored_rows(results(file)) == quiet[1]


@pytest.mark.slow
def test_two_commands_share_a_study_in_a_database(tmp_path: Path) -> None:
    """Both have the same folder; each trial is run by one of them, and there are as many as were asked for."""
    file, url = study_file(tmp_path, PRISM, FEW), f"sqlite:///{tmp_path / 'study.db'}"
    both = [start(tmp_path, "tune", file, *QUICK, "--jobs", 1, "--storage", url, one_core=True) for _ in range(2)]
    said = [process.communicate(timeout=PATIENCE_S) for process in both]
    assert [(process.returncode, err) for process, (_, err) in zip(both, said, strict=True)] == [(0, "")] * 2
    begun = Counter(line.split(":")[0] for out, _ in said for line in out.splitlines() if line.startswith("started"))
    study = read_study(file)
    wanted = {
        f"started  {search.name}, trial {number}" for search in study.searches for number in range(study.budget.trials)
    }
    assert begun == Counter(wanted)
    opened = trials(study, results(file), url)
    assert [len(own) for _, own in opened] == [study.budget.trials]
    assert all(trial.state.is_finished() for _, own in opened for trial in own)
    folders = [cell for row in stored_rows(results(file)) for cell in row["cells"]]
    assert len(folders) == len(set(folders))


@pytest.mark.slow
def test_another_folder_runs_its_own_trials_alone(tmp_path: Path) -> None:
    """A trial that was left in one folder is not taken over from another, which takes the others."""
    study, url = study_of(tmp_path), f"sqlite:///{tmp_path / 'study.db'}"
    work(study, tmp_path / "one", storage=url, stop_after=2)
    heard = work(study, tmp_path / "two", storage=url)
    assert [event.number for event in heard.of("Begun")] == list(range(1, study.budget.trials))
    assert "trial 0 (another folder of results)" in heard.of("Note")[-1].line
    assert [event.number for event in work(study, tmp_path / "one", storage=url).of("Begun")] == [0]
    states = [trial.state.is_finished() for trial in named(trials(study, tmp_path / "one", url), "prism")]
    assert states == [True] * study.budget.trials


def test_a_trial_that_was_one_too_many_never_counts(tmp_path: Path) -> None:
    """Two folders begin the last trial at once; with more trials to do later, both leave the surplus alone."""
    url, head = f"sqlite:///{tmp_path / 'study.db'}", "trials = {}\nseeds = [0]\nreport_seeds = [7]\n"
    one, two = (study_of(tmp_path, head=head.format(number)) for number in (1, 2))
    search = one.searches[0]

    def claims(folder: str, number: int) -> Claims:
        opened = open_study(one, search, open_storage(url, tmp_path / folder), ())
        return Claims(opened, cell_store(tmp_path / folder), number)

    assert claims("first", 1)._new() is not None
    assert claims("second", 1)._new() is None
    later = claims("second", 2)
    claim = later.next()
    assert isinstance(claim, Claim) and claim.trial.number == 2
    assert [trial.number for trial in later.counted()] == [0, 2]
    assert [trial.number for trial in named(trials(two, tmp_path / "second", url), "prism")] == [0, 2]


def test_a_trial_that_ends_while_it_is_claimed_is_not_begun_again(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """Its process tells how it ended and gives its lease back just after another has read the list of trials."""
    study, url = study_of(tmp_path), f"sqlite:///{tmp_path / 'study.db'}"

    def claims() -> Claims:
        opened = open_study(study, study.searches[0], open_storage(url, tmp_path), ())
        return Claims(opened, cell_store(tmp_path), study.budget.trials)

    one, two = claims(), claims()
    mine = one.next()
    assert isinstance(mine, Claim) and mine.trial.number == 0
    lease_of = two._lease

    def after_it_ended(trial: Any) -> Any:
        if trial.number == 0:
            one.study.tell(0, 0.5)
            mine.lease.release()
            monkeypatch.undo()
        return lease_of(trial)

    monkeypatch.setattr(two, "_lease", after_it_ended)
    theirs = two.next()
    assert isinstance(theirs, Claim) and theirs.trial.number == 1


@pytest.mark.parametrize("stopping", [False, True])
def test_a_process_that_dies_while_all_stop_fails_no_trial(stopping: bool, tmp_path: Path) -> None:
    study = study_of(tmp_path)
    work(study, tmp_path, stop_after=2)
    events: list[Any] = []
    crew = _Crew([], cell_store(tmp_path), events.append, asked=lambda: stopping)
    dead = SimpleNamespace(
        running=0,
        process=SimpleNamespace(exitcode=-signal.SIGTERM if stopping else 1),
        assignment=Assignment(study, 0, tmp_path, None, (), "cpu"),
        obituary="the process that ran it ended with signal SIGTERM",
    )
    crew.workers.append(dead)  # type: ignore[arg-type]
    crew._bury(dead)  # type: ignore[arg-type]
    (row,) = (row for row in rows(study, tmp_path) if row["label"] == "prism")
    assert (row["state"], len(crew.waiting)) == (("running", 0) if stopping else ("failed", 1))
    assert [type(event).__name__ for event in events] == ["Note" if stopping else "Done"]


@pytest.mark.slow
def test_a_torn_line_and_the_lock_of_a_killed_process_do_no_harm(
    quiet: tuple[Study, list[dict[str, Any]]], tmp_path: Path
) -> None:
    study, wanted = quiet
    work(study, tmp_path, stop_after=ROUNDS)
    journal = tmp_path / JOURNAL
    whole = journal.read_bytes()
    journal.write_bytes(whole + b'{"op_code":8,"worker_id":"x","tri')
    (tmp_path / f"{JOURNAL}.lock").symlink_to(journal)  # Optuna's own lock, as a killed dashboard would leave it
    for index in range(2):
        work(study, tmp_path, index)
    assert journal.read_bytes().startswith(whole)
    assert rows(study, tmp_path) == wanted


@pytest.mark.parametrize("tail", [b"", b"torn", b"x" * 10_000])
@pytest.mark.parametrize("head", [b"", b'{"a":1}\n', b'{"a":1}\n' * 2000])
def test_mending_takes_off_what_follows_the_last_whole_line(head: bytes, tail: bytes, tmp_path: Path) -> None:
    journal = tmp_path / JOURNAL
    journal.write_bytes(head + tail)
    mend(journal)
    assert journal.read_bytes() == head


def test_a_damaged_journal_and_a_wrong_url_are_one_sentence(tmp_path: Path) -> None:
    (tmp_path / JOURNAL).write_text("no json\nnor this\n")
    with pytest.raises(BenchError, match="the journal is damaged; delete it"):
        open_storage(None, tmp_path)
    with pytest.raises(BenchError, match="no URL of a database"):
        open_storage("not a url", tmp_path)
    with pytest.raises(BenchError, match="cannot be opened"):
        open_storage(f"sqlite:///{tmp_path}/missing/folder/study.db", tmp_path)


def test_the_whole_way_from_a_study_to_its_report(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    """One command on a tiny study; a second one trains nothing and writes the same files."""
    monkeypatch.chdir(tmp_path)
    bench = CommandLine(monkeypatch, capsys)
    file = study_file(tmp_path, PRISM, FEW)
    words = ("tune", file, "--device", "cpu", "--jobs", 2)
    first = bench(*words)
    assert (first.code, first.err) == (0, ""), first
    assert "stand-in data" in first.out and "accuracy (%) on fresh seeds" in first.out
    tuned = tmp_path / "sweeps" / "tuned" / "study.toml"
    text = tuned.read_bytes()
    sweep = read_sweep(tuned)
    cells = {path.name for path in (results(file) / "cells").iterdir()}
    assert cells == {cell.folder for cell in sweep.cells}
    figures = {path.name for path in (results(file) / "figures").glob("*.png")}
    assert {"tuned-vs-paper-cnn-femnist.png", "tune-history-cnn-femnist-prism.png"} <= figures
    assert f"report: {results(file).relative_to(tmp_path)}/report.html" in first.out.splitlines()
    page = (results(file) / "report.html").read_text()
    assert 'id="tuned-table"' in page and "Tuned values against the papers" in page
    again = bench(*words)
    assert (again.code, again.err) == (0, "") and "started" not in again.out
    assert tuned.read_bytes() == text
