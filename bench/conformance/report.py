"""What the user sees of the checks of a method or task: a table, reasons, and one sentence for each failure."""

from __future__ import annotations

from rich.console import Console
from rich.markup import escape
from rich.table import Table

from bench.conformance.checking import CHECKS, Report
from bench.conformance.outcome import Status
from bench.conformance.task_checking import TaskReport

COLOURS = {Status.ok: "green", Status.failed: "bold red", Status.declared: "yellow", Status.undefined: "dim"}


def show(report: Report, console: Console) -> None:
    """Print a report."""
    console.print(_table(report))
    for reason, results in report.by_reason(Status.declared, Status.undefined).items():
        checks = list(dict.fromkeys(result.check for result in results))
        words = "all checks" if len(checks) == len(CHECKS) else ", ".join(checks)
        tasks = list(dict.fromkeys(result.task for result in results))
        where = "" if tasks == list(report.tasks) else f" on {', '.join(tasks)}"
        _line(console, "dim", f"{results[0].status}: {words}{where}: {reason}")
    for sentence in report.failures:
        _line(console, "red", sentence)


def show_task(report: TaskReport, console: Console) -> None:
    """Print the report of a task by itself."""
    table = Table(title=f"{escape(report.task)}: checks of the task", title_justify="left")
    table.add_column("check", no_wrap=True)
    table.add_column("")
    for result in report.results:
        table.add_row(result.check, f"[{COLOURS[result.status]}]{result.status}[/]")
    console.print(table)
    for result in report.results:
        if result.reason and result.status is not Status.failed:
            _line(console, "dim", f"{result.check}: {result.reason}")
    for sentence in report.failures:
        _line(console, "red", sentence)


def _table(report: Report) -> Table:
    table = Table(title=f"{escape(report.method)}: checks on stand-in data", title_justify="left")
    table.add_column("check", no_wrap=True)
    for task in report.tasks:
        table.add_column(escape(task))
    cells = {(result.check, result.task): result.status for result in report.results}
    for check in CHECKS:
        statuses = [cells[check, task] for task in report.tasks]
        table.add_row(check, *(f"[{COLOURS[status]}]{status}[/]" for status in statuses))
    return table


def _line(console: Console, style: str, words: str) -> None:
    console.print(f"[{style}]{escape(words)}[/]", highlight=False, soft_wrap=True)
