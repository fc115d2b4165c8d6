"""What a process of a study does: it runs trials of one search until all have ended or it is asked to stop."""

from __future__ import annotations

import contextlib
import time
import traceback
from collections.abc import Mapping
from dataclasses import dataclass
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any

import optuna
from optuna.trial import Trial, TrialState

from bench.cell import Cell
from bench.errors import BenchError, Unfinished, words_of
from bench.store.cells import Store
from bench.store.leases import Lease, Leases
from bench.tuning.claims import Claim, Claims, Elsewhere
from bench.tuning.events import Begun, Broken, Closed, Completed, Done, Event, Left, Note, Reached
from bench.tuning.guard import storage_guarded
from bench.tuning.pruning import Judge
from bench.tuning.sampler import distribution_of
from bench.tuning.space import Search
from bench.tuning.storage import open_storage, open_study
from bench.tuning.study_file import Study
from bench.tuning.trial import LOOK_SECONDS, Outcome, Place, Trialling, rounds_of
from bench.tuning.words import ending

STOP = None
"""Sent to a process: its cell shall leave a checkpoint and end."""
STATES = {"complete": TrialState.COMPLETE, "pruned": TrialState.PRUNED, "failed": TrialState.FAIL}


@dataclass(frozen=True)
class Assignment:
    """What a process is to work on.

    Attributes:
        study: the study file.
        index: which of its searches.
        folder: ``results/<study>``.
        storage: URL of a database; None for the journal.
        plugins: files of methods and tasks the user named.
        device: where models are trained.
        token: of the lease of the search; empty where another process has it and this one joins.
    """

    study: Study
    index: int
    folder: Path
    storage: str | None
    plugins: tuple[Path, ...]
    device: str
    token: str = ""

    @property
    def search(self) -> Search:
        """The search to work on."""
        return self.study.searches[self.index]

    @property
    def store(self) -> Store:
        """Where the cells of the trials are."""
        return cell_store(self.folder)


def cell_store(folder: Path) -> Store:
    """Return where the cells of a study's trials are: apart from those of its report, which ``gc`` looks after."""
    return Store(folder / "study")


def serve(pipe: Connection) -> None:
    """Work on the assignment that comes through a pipe, and tell through it what happens."""
    try:
        assignment: Assignment = pipe.recv()
    except (EOFError, OSError):  # the parent is gone
        return
    lease = Lease(Leases(assignment.store.unfinished), search_lease(assignment.search), assignment.token)
    last: Event = Left(assignment.search.name)
    with lease.held() if assignment.token else contextlib.nullcontext():
        try:
            Worker(pipe, assignment).work()
        except BenchError as error:
            last = Broken(assignment.search.name, str(error))
        except Exception as error:  # of the harness's own: the next trial would meet it again
            traceback.print_exc()
            last = Broken(assignment.search.name, words_of(error))
    _say(pipe, last)


def search_lease(search: Search) -> str:
    """Return the name of the lease of a search."""
    return f"search-{search.slug}"


def _say(pipe: Connection, event: Event) -> None:
    with contextlib.suppress(OSError):  # the parent is gone: the cell stops after this round
        pipe.send(event)


class Worker:
    """Runs the trials of a search one after the other.

    Args:
        pipe: to the parent, which hears what happens; anything that comes through it, or its end, says stop.
        assignment: what to work on.
    """

    def __init__(self, pipe: Connection, assignment: Assignment) -> None:
        self.pipe, self.assignment, self.name = pipe, assignment, assignment.search.name
        study, search = assignment.study, assignment.search
        storage = open_storage(assignment.storage, assignment.folder)
        self.study = open_study(study, search, storage, assignment.plugins)
        self.claims = Claims(self.study, assignment.store, study.budget.trials)

    def work(self) -> None:
        """Run trials until all have ended or the parent says stop, or is gone."""
        said: Mapping[int, str] = {}
        while not self.pipe.poll():
            claim = self.claims.next()
            if claim is None:
                return
            if isinstance(claim, Elsewhere):
                if claim.holders != said:
                    said = claim.holders
                    whose = ", ".join(f"trial {number} ({holder})" for number, holder in said.items())
                    self._say(Note(self.name, f"waits for what is run elsewhere: {whose}"))
                time.sleep(LOOK_SECONDS)
                continue
            with claim.lease.held():
                try:
                    self._run(claim)
                except Unfinished as unfinished:
                    self._say(Note(self.name, f"trial {claim.trial.number} is left: {unfinished}"))

    def _run(self, claim: Claim) -> None:
        assignment, trial = self.assignment, claim.trial
        study, search = assignment.study, assignment.search
        values = suggested(trial, search)
        self._say(Begun(self.name, trial.number, search.in_words(values)))
        try:
            cells = [search.cell(values, seed, study.budget.validation, assignment.plugins) for seed in study.seeds]
        except BenchError as error:  # values that do not go together
            self._end(trial, Outcome("failed", reason=str(error)), steps=0)
            return
        steps = len(cells) * rounds_of(cells[0], assignment.plugins)

        def on_step(step: int, accuracy: float) -> None:
            self._say(Reached(self.name, trial.number, step, steps, f"validation accuracy {accuracy:.2%}"))

        def note(line: str) -> None:
            self._say(Note(self.name, f"trial {trial.number} {line}"))

        def on_round(cell: Cell, row: Mapping[str, Any]) -> None:
            self._say(Completed(self.name, cell, row))

        def on_end(cell: Cell, status: str, reason: str) -> None:
            self._say(Closed(self.name, cell, status, reason))

        where = assignment.store, assignment.plugins, assignment.device
        place = Place(*where, self.pipe.poll, note, on_round, on_end)
        judge = Judge(self.study, trial, study.pruner, steps)
        outcome = Trialling(cells, place, judge, study.budget.last, on_step).run()
        claim.lease.check()
        judge.keep()
        self._end(trial, outcome, steps)

    def _end(self, trial: Trial, outcome: Outcome, steps: int) -> None:
        end(self.study, trial, outcome)
        self._say(Done(self.name, trial.number, outcome.state, ending(outcome, steps)))

    def _say(self, event: Event) -> None:
        _say(self.pipe, event)


@storage_guarded()
def suggested(trial: Trial, search: Search) -> dict[str, Any]:
    """Return the values of a trial; those that it has already are not drawn again."""
    return {dimension.name: trial._suggest(dimension.name, distribution_of(dimension)) for dimension in search.space}


@storage_guarded()
def end(study: optuna.Study, trial: Trial, outcome: Outcome) -> None:
    """Write down how a trial ended.

    Raises:
        StorageError: the storage fails.
        LeaseLost: another process has ended it.
    """
    facts = {"rounds": outcome.rounds, "seconds": round(outcome.seconds, 3), "pruned_at": outcome.pruned_at}
    for name, value in {**facts, "reason": outcome.reason}.items():
        trial.set_user_attr(name, value)
    study.tell(trial.number, outcome.value, STATES[outcome.state])
