"""Which trial of a study a process works on next: an interrupted one first, then a new one, until there are enough."""

from __future__ import annotations

import contextlib
import os
import uuid
from collections.abc import Iterator
from dataclasses import dataclass

import optuna
from filelock import FileLock, Timeout
from optuna.trial import FrozenTrial, Trial, TrialState, create_trial

from bench.errors import StorageError
from bench.files import write_whole
from bench.store.cells import Store
from bench.store.leases import STALE_SECONDS, Lease, Leases
from bench.tuning.guard import storage_guarded

TOKEN, FOLDER, SURPLUS = "token", "folder", "surplus"
"""Attributes of a trial: what tells it from any other, the folder of results in which its cells are, and whether it was
one too many, begun at the same time as the last."""


@dataclass(frozen=True)
class Claim:
    """A trial and the right to run it."""

    trial: Trial
    lease: Lease


@dataclass(frozen=True)
class Elsewhere:
    """All trials that are left are run by others: by number, who has it."""

    holders: dict[int, str]


class Claims:
    """The trials of one study as the processes that share a folder of results hand them out.

    A trial that runs is leased as a cell is. One whose process has ended is taken over, and goes on from the checkpoint
    of its cell; the lease tells for trials of this folder alone, and those of another folder are left to it.

    Args:
        study: the study, sampler included.
        store: where its cells are.
        trials: how many the study has; should several folders start more at once, the surplus does not count.
    """

    def __init__(self, study: optuna.Study, store: Store, trials: int) -> None:
        self.study, self.store, self.trials = study, store, trials
        self.leases = Leases(store.unfinished)
        self.folder = folder_token(store)

    @storage_guarded()
    def next(self) -> Claim | Elsewhere | None:
        """Return a trial to run, who runs the rest, or None where all have ended.

        Raises:
            StorageError: the folder cannot be written, or the storage fails.
        """
        self.store.prepare()
        with _claiming(self.store):
            return self._next()

    def _next(self) -> Claim | Elsewhere | None:
        trials = self.counted()
        running = [trial for trial in trials if not trial.state.is_finished()]
        for trial in running:
            lease = self._lease(trial)
            if lease is None:
                continue
            if self._has_ended(trial):  # after the list was read and before its process gave the lease back
                lease.release()
                return self._next()
            return self._claim(trial, lease)
        if len(trials) < self.trials:
            return self._new() or self._next()
        return Elsewhere({trial.number: self.holder(trial) for trial in running}) if running else None

    def counted(self) -> list[FrozenTrial]:
        """Return the trials that count, by number."""
        return counted(self.study, self.trials)

    def holder(self, trial: FrozenTrial) -> str:
        """Return who runs a trial, in words."""
        if trial.user_attrs[FOLDER] != self.folder:
            return "another folder of results"
        return self.leases.holder(self._name(trial)) or "a process unknown"

    def _new(self) -> Claim | None:
        """Start a trial; None where others have meanwhile started all that were left."""
        token = uuid.uuid4().hex
        self.study.add_trial(create_trial(state=TrialState.RUNNING, user_attrs={TOKEN: token, FOLDER: self.folder}))
        trial = next(trial for trial in reversed(self.study.get_trials()) if trial.user_attrs.get(TOKEN) == token)
        if trial.number not in [other.number for other in self.counted()]:
            Trial(self.study, trial._trial_id).set_user_attr(SURPLUS, True)
            self.study.tell(trial.number, state=TrialState.FAIL)
            return None
        lease = self._lease(trial)
        return None if lease is None else self._claim(trial, lease)

    def _has_ended(self, trial: FrozenTrial) -> bool:
        return self.study.get_trials(deepcopy=False)[trial.number].state.is_finished()

    def _lease(self, trial: FrozenTrial) -> Lease | None:
        if trial.user_attrs[FOLDER] != self.folder:
            return None
        return self.leases.take(self._name(trial), os.getpid())

    def _name(self, trial: FrozenTrial) -> str:
        return f"{self.study.study_name}-trial{trial.number}"

    def _claim(self, trial: FrozenTrial, lease: Lease) -> Claim:
        # A study keeps the trials it has read; the sampler is to see those that have ended since.
        fresh = optuna.load_study(
            study_name=self.study.study_name,
            storage=self.study._storage,
            sampler=self.study.sampler,
            pruner=self.study.pruner,
        )
        return Claim(Trial(fresh, trial._trial_id), lease)


def counted(study: optuna.Study, trials: int) -> list[FrozenTrial]:
    """Return the first so many trials of a study by number, those left out that were begun one too many."""
    return [trial for trial in study.get_trials(deepcopy=False) if not trial.user_attrs.get(SURPLUS)][:trials]


@contextlib.contextmanager
def _claiming(store: Store) -> Iterator[None]:
    """Keep other processes that share a folder of results from claiming meanwhile."""
    try:
        with FileLock(store.folder / ".claims.lock", timeout=STALE_SECONDS):
            yield
    except Timeout:
        raise StorageError(f"{store.folder}: another process has held .claims.lock too long; end it") from None


def folder_token(store: Store) -> str:
    """Return what tells a folder of results from those of other machines that use the same database."""
    path = store.folder / "folder"
    store.prepare()
    with _claiming(store):
        if not path.exists():
            write_whole(path, uuid.uuid4().hex.encode())
        return path.read_text(encoding="utf-8")
