"""How a check that was run ended, whatever it and what it looks at have raised."""

from __future__ import annotations

from collections.abc import Callable

from bench.conformance.outcome import Declared, Failure, Status, Undefined
from bench.errors import BenchError
from bench.processes.tidiness import tidy
from bench.training.local import Diverged


def judged(
    check: Callable[[], str | None], looked_at: str, hint: str, fault: Callable[[BaseException], str]
) -> tuple[Status, str]:
    """Run a check and return how it ended and what is said of it.

    Args:
        check: returns words for the report, or None; see :mod:`bench.conformance.outcome` for what it may raise.
        looked_at: name of the method or task, which has to leave the process as it was.
        hint: where to look if a run ended early.
        fault: the sentence for any other error, all of which count as failures: a plugin may raise anything.
    """
    try:
        with tidy(looked_at):
            return Status.ok, check() or ""
    except Failure as failure:
        return Status.failed, str(failure)
    except Declared as declared:
        return Status.declared, str(declared)
    except Undefined as undefined:
        return Status.undefined, str(undefined)
    except (BenchError, Diverged) as error:
        return Status.failed, f"{error}; expected: a whole run; hint: {hint}"
    except (Exception, SystemExit) as error:
        return Status.failed, fault(error)
