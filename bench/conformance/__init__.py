"""The conformance kit: what every method must satisfy, checked on tiny federations of the real tasks.

It knows no method by name.

>>> from bench.conformance import check_method
>>> check_method("prism").failures
[]
"""

from bench.conformance.checking import CHECKS, Report, check_method, run_check
from bench.conformance.outcome import Result, Status
from bench.conformance.subject import TASKS, Subject

__all__ = ["CHECKS", "TASKS", "Report", "Result", "Status", "Subject", "check_method", "run_check"]
