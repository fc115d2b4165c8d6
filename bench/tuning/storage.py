"""Where the trials of a study are kept: a journal file that survives whatever ends its writers, or a database."""

from __future__ import annotations

import hashlib
import json
import os
import re
from collections.abc import Iterable
from pathlib import Path

import optuna
from filelock import FileLock, Timeout
from optuna.storages import BaseStorage, JournalStorage, RDBStorage
from optuna.storages.journal import JournalFileBackend, JournalFileOpenLock
from sqlalchemy.exc import ArgumentError, SQLAlchemyError

from bench.errors import BenchError, StorageError, words_of
from bench.store.made import made
from bench.store.provenance import data_of
from bench.tuning.guard import storage_guarded
from bench.tuning.pruning import options_of
from bench.tuning.sampler import PerTrialSampler
from bench.tuning.space import Search
from bench.tuning.study_file import Study

JOURNAL = "study.journal"
PATIENCE = 60.0
"""Seconds that a process waits for another one's entry."""


class JournalLock(JournalFileOpenLock):
    """A lock that the system gives back when its holder dies, and a journal that ends with a whole line.

    Optuna's own lock is a file that a killed process leaves behind, and a line that it wrote half would make the next
    one unreadable. Such a line was never confirmed to its writer: it is taken off.
    """

    def __init__(self, journal: Path) -> None:
        super().__init__(str(journal))
        self.journal = journal
        self.lock = FileLock(journal.with_name(f".{journal.name}.lock"), timeout=PATIENCE)

    def acquire(self) -> bool:
        """Wait for the lock and take a torn line off the journal."""
        try:
            self.lock.acquire()
        except Timeout:
            raise StorageError(
                f"{self.journal}: another process has held its lock for {PATIENCE:g} s; end it, or continue it if it "
                "is suspended"
            ) from None
        mend(self.journal)
        return True

    def release(self) -> None:
        """Give the lock back."""
        self.lock.release()


def mend(journal: Path) -> None:
    """Take what follows the last whole line off a journal."""
    with journal.open("rb+") as file:
        end = file.seek(0, os.SEEK_END)
        start = end
        while start:
            block = max(start - 4096, 0)
            file.seek(block)
            newline = file.read(start - block).rfind(b"\n")
            if newline >= 0:
                start = block + newline + 1
                break
            start = block
        if start < end:
            file.truncate(start)


def open_storage(url: str | None, folder: Path) -> BaseStorage:
    """Return the storage of a study.

    Args:
        url: of a database, as SQLAlchemy reads it; None for the journal.
        folder: where the journal is.

    Raises:
        BenchError: the journal is damaged, or the database cannot be reached.
    """
    optuna.logging.set_verbosity(optuna.logging.ERROR)
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise StorageError(f"{folder}: results cannot be written here: {error.strerror or error}") from None
    if url is None:
        path = folder.resolve() / JOURNAL
        try:
            return JournalStorage(JournalFileBackend(str(path), JournalLock(path)))
        except (ValueError, KeyError):
            raise BenchError(
                f"{path}: the journal is damaged; delete it and run the command again: finished cells are kept"
            ) from None
        except OSError as error:
            raise StorageError(f"{path}: the journal cannot be written: {error.strerror or error}") from None
    patience = {"connect_args": {"timeout": PATIENCE}} if url.startswith("sqlite") else {}
    try:
        with FileLock(folder / ".storage.lock", timeout=PATIENCE):  # tables are made once
            return RDBStorage(url, engine_kwargs=patience)
    except Timeout:
        raise StorageError(f"{folder}: another process has held .storage.lock for {PATIENCE:g} s; end it") from None
    except ArgumentError:
        raise BenchError(
            f"--storage {hidden(url)!r} is no URL of a database; allowed: what SQLAlchemy reads, "
            "for example sqlite:///study.db or postgresql://user@host/name"
        ) from None
    except (SQLAlchemyError, ImportError, RuntimeError) as error:
        missing = getattr(error.__cause__ or error.__context__ or error, "name", None)
        words = f"its driver {missing!r} is not installed" if missing else words_of(error)
        raise BenchError(f"--storage {hidden(url)!r} cannot be opened: {words}") from None


def hidden(url: str) -> str:
    """Return a URL without its password.

    >>> hidden("postgresql://me:secret@host/name")
    'postgresql://me:***@host/name'
    """
    return re.sub(r"(://[^:/@]*):[^@]*@", r"\1:***@", url)


@storage_guarded()
def open_study(study: Study, search: Search, storage: BaseStorage, plugins: Iterable[Path]) -> optuna.Study:
    """Return the Optuna study of one method on one task, made if it is new."""
    return optuna.create_study(
        study_name=study_name(study, search, plugins),
        storage=storage,
        direction="maximize",
        sampler=PerTrialSampler(study.sampler, search),
        pruner=optuna.pruners.NopPruner(),  # see bench.tuning.pruning: the sampler is to see all trials
        load_if_exists=True,
    )


def study_name(study: Study, search: Search, plugins: Iterable[Path]) -> str:
    """Return the name of a study: readable, and ending in a hash of all that its values depend on.

    The number of trials is not in it, so that more can be added. A study file that was changed otherwise, other
    revisions or other data have another name: their trials do not mix.
    """
    plugins = tuple(plugins)
    cell = search.cell(search.paper, study.seeds[0], study.budget.validation, plugins)
    by = made(cell, plugins)
    depends = {
        "cell": cell.canonical(),
        "space": [vars(dimension) for dimension in search.space],
        "label": search.label,
        "seeds": study.seeds,
        "last": study.budget.last,
        "sampler": vars(study.sampler),
        "pruner": options_of(study.pruner),
        "revisions": by.revisions,
        "own_code": by.own_code,
        "data": data_of(cell, plugins),
    }
    digest = hashlib.sha256(json.dumps(depends, sort_keys=True).encode()).hexdigest()[:8]
    return f"{search.slug}-{digest}"
