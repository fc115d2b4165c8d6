"""What the storage of a study fails of, as the sentence that ends the command."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator

from optuna.exceptions import OptunaError, UpdateFinishedTrialError
from sqlalchemy.exc import SQLAlchemyError

from bench.errors import StorageError
from bench.store.leases import LeaseLost


@contextlib.contextmanager
def storage_guarded() -> Iterator[None]:
    """Keep a hiccup of the storage from counting as a failure of the trial; a decorator too.

    Raises:
        StorageError: the trials cannot be read or written.
        LeaseLost: another process has ended the trial meanwhile.
    """
    try:
        yield
    except UpdateFinishedTrialError:
        raise LeaseLost("another process has taken it over and ended it") from None
    except (OptunaError, SQLAlchemyError, OSError) as error:
        words = str(error.__cause__ or error).strip().splitlines() or [type(error).__name__]
        raise StorageError(
            f"the trials cannot be read or written: {words[0]}; the same command goes on from the checkpoints"
        ) from None
