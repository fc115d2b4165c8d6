"""The conformance kit: what every method and every task must satisfy, checked on tiny federations of real tasks.

It knows no method by name.

>>> from bench.conformance import check_method, check_task
>>> check_method("prism").failures + check_task("cnn-femnist").failures
[]
"""

from bench.conformance.checking import CHECKS, Report, check_method, run_check
from bench.conformance.outcome import Result, Status
from bench.conformance.subject import TASKS, Subject
from bench.conformance.task_checking import TASK_CHECKS, TaskReport, check_task, run_task_check
from bench.conformance.task_subject import TaskSubject

__all__ = [
    "CHECKS", "TASKS", "TASK_CHECKS", "Report", "Result", "Status", "Subject", "TaskReport", "TaskSubject",
    "check_method", "check_task", "run_check", "run_task_check",
]  # fmt: skip
