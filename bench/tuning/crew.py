"""The processes of a study: one for each search, so that the order of its trials, and with it every value, is fixed."""

from __future__ import annotations

import contextlib
import math
import time
from collections.abc import Callable, Iterable
from dataclasses import replace
from pathlib import Path

import optuna
from optuna.trial import TrialState

from bench.errors import BenchError, Unfinished
from bench.processes.children import END_SECONDS, Child, heard
from bench.store.cells import Store
from bench.store.leases import Leases
from bench.store.placing import sweep_up
from bench.tuning.claims import FOLDER, counted, folder_token
from bench.tuning.events import Begun, Broken, Done, Event, Left, Note
from bench.tuning.guard import storage_guarded
from bench.tuning.storage import open_storage, open_study
from bench.tuning.study_file import Study
from bench.tuning.trial import Outcome
from bench.tuning.work import STOP, Assignment, cell_store, end, search_lease, serve

LOOK_SECONDS = 1.0
"""Between two looks at whether the searches shall stop."""


def run_searches(
    study: Study,
    folder: Path,
    *,
    storage: str | None,
    plugins: Iterable[Path],
    device: str,
    jobs: int,
    on_event: Callable[[Event], None],
    stop_after: float = math.inf,
    stop: Callable[[], bool] = lambda: False,
) -> None:
    """Run what is left of a study's trials in up to ``jobs`` processes, each on a search of its own.

    Searches that no other command works on come first; the others are joined.

    Args:
        study: the study file.
        folder: ``results/<study>``.
        storage: URL of a database; None for the journal in ``folder``.
        plugins: files of methods and tasks the user named.
        device: where models are trained.
        jobs: number of processes.
        on_event: hears of what happens.
        stop_after: seconds after which running cells leave a checkpoint and no other begins.
        stop: asked about once a second; True has the same effect at once.

    Raises:
        BenchError: results cannot be written, or a process cannot begin.
    """
    store = cell_store(folder)
    store.prepare()
    sweep_up(store.cells, Leases(store.unfinished))
    open_storage(storage, folder)
    assignments = [
        Assignment(study, index, folder, storage, tuple(plugins), device) for index in range(len(study.searches))
    ]
    deadline = time.monotonic() + stop_after
    crew = _Crew(
        [assignment for assignment in assignments if trials_left(assignment)],
        store,
        on_event,
        asked=lambda: stop() or time.monotonic() >= deadline,
    )
    try:
        while crew.waiting or crew.workers:
            if crew.asked():
                crew.stop()
            while crew.waiting and len(crew.workers) < jobs:
                crew.start()
            left = deadline - time.monotonic()
            crew.hear(min(LOOK_SECONDS, left) if left > 0 else LOOK_SECONDS)
    finally:
        for worker in crew.workers:
            worker.end()


class _Crew:
    """The searches that wait for a process, and the processes that work.

    Args:
        waiting: what is to be worked on.
        store: where the cells are.
        on_event: hears of what happens.
        asked: whether to stop.
    """

    def __init__(
        self, waiting: list[Assignment], store: Store, on_event: Callable[[Event], None], asked: Callable[[], bool]
    ) -> None:
        self.waiting, self.on_event, self.asked = waiting, on_event, asked
        self.stopping = False
        self.leases = Leases(store.unfinished)
        self.workers: list[_Worker] = []

    def start(self) -> None:
        """Start a process on the first search that nobody works on; if there is none, it joins the first."""
        worker = _Worker()
        self.workers.append(worker)
        ordered = sorted(self.waiting, key=_runs_elsewhere)
        for assignment in ordered:
            lease = self.leases.take(search_lease(assignment.search), worker.pid)
            if lease is not None:
                break
        else:
            assignment, lease = ordered[0], None
        self.waiting.remove(assignment)
        worker.give(replace(assignment, token=lease.token if lease else ""))

    def hear(self, seconds: float) -> None:
        """Wait for processes to say something, no longer than so many seconds.

        Raises:
            BenchError: nothing can go on.
        """
        for worker in heard(self.workers, seconds):
            event = worker.receive()
            if event is None:
                self._bury(worker)
            elif isinstance(event, Broken):
                raise BenchError(event.reason)
            elif isinstance(event, Left):
                self.workers.remove(worker)
                worker.end()
            else:
                self.on_event(event)

    def stop(self) -> None:
        """Ask all processes, once, to leave a checkpoint after their round."""
        if self.stopping:
            return
        self.stopping = True
        self.waiting.clear()
        for worker in self.workers:
            worker.send(STOP)

    def _bury(self, worker: _Worker) -> None:
        """Record the failure of the trial whose process died, and let another process go on with its search.

        While all stop, for example because a signal has reached the whole group, the trial is left to the next command.
        """
        self.workers.remove(worker)
        name, stopping = worker.assignment.search.name, self.stopping or self.asked()
        if stopping:
            self.on_event(Note(name, f"left: {worker.obituary}"))
            return
        if worker.running is None:
            raise BenchError(f"{name}: {worker.obituary}")
        fail(worker.assignment, worker.running, worker.obituary)
        self.on_event(Done(name, worker.running, "failed", worker.obituary))
        self.waiting.insert(0, replace(worker.assignment, token=""))


def opened(assignment: Assignment) -> optuna.Study:
    """Return the Optuna study of an assignment."""
    storage = open_storage(assignment.storage, assignment.folder)
    return open_study(assignment.study, assignment.search, storage, assignment.plugins)


@storage_guarded()
def trials_left(assignment: Assignment) -> int:
    """Return how many trials of a search have not ended."""
    most = assignment.study.budget.trials
    return most - sum(trial.state.is_finished() for trial in counted(opened(assignment), most))


@storage_guarded()
def fail(assignment: Assignment, number: int, reason: str) -> None:
    """Write down that a trial failed whose process could not do so itself."""
    study = opened(assignment)
    trial = study.get_trials(deepcopy=False)[number]
    if not trial.state.is_finished():
        with contextlib.suppress(Unfinished):  # another process has ended it meanwhile
            end(study, optuna.Trial(study, trial._trial_id), Outcome("failed", reason=reason))


@storage_guarded()
def _runs_elsewhere(assignment: Assignment) -> bool:
    """Return whether a trial of a search is run in another folder of results."""
    mine = folder_token(assignment.store)
    running = opened(assignment).get_trials(deepcopy=False, states=(TrialState.RUNNING,))
    return any(trial.user_attrs[FOLDER] != mine for trial in running)


class _Worker(Child):
    """One process and the search that it works on."""

    def __init__(self) -> None:
        super().__init__(serve)
        self.running: int | None = None

    def give(self, assignment: Assignment) -> None:
        """Send the search to work on."""
        self.assignment = assignment
        self.send(assignment)

    def receive(self) -> Event | None:
        """Return the next event; None where the process has died."""
        event: Event | None = super().receive()
        if isinstance(event, Begun):
            self.running = event.number
            self.begin_work()
        elif isinstance(event, Done):
            self.running = None
        return event

    @property
    def obituary(self) -> str:
        """How the process ended, as a sentence."""
        return f"the process that ran it ended with {self.ending}"

    def end(self, seconds: float = END_SECONDS, at_once: bool = False) -> None:
        """End the process, at once where it runs a trial."""
        super().end(seconds, at_once or self.running is not None)
