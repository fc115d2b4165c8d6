"""The numbers of the page on performance, computed again from the committed tables."""

from __future__ import annotations

import pytest
from pages import (
    NAMED,
    PageTable,
    agree,
    chosen,
    half_width,
    only,
    page_tables,
    page_text,
    paired,
    shown,
    table,
)

TASKS = {"ResNet-18": "resnet18-cifar10", "CNN": "cnn-femnist", "LSTM": "lstm-imdb"}
PRECISIONS = ("fp32", "bf16")
PHASES = {"server's work": "server", "evaluation of 10,000 images": "evaluate"}


def test_precision() -> None:
    for task, method, fp32, bf16, difference, interval in only("docs/performance.md", head="task").rows:
        (name,) = NAMED.findall(task)
        one = chosen("precision", task=name, label=method)
        other = chosen("precision", task=name, label=f"{method} (precision=bf16)")
        gain = paired(other, one)
        half = half_width(gain)
        assert agree(fp32, [one["acc"].mean()]) and agree(bf16, [other["acc"].mean()]), (task, method)
        assert agree(difference, [gain.mean()]), (task, method, gain.mean())
        assert agree(interval, [gain.mean() - half, gain.mean() + half]), (task, method)


def of_this_processor(found: PageTable, name: str) -> bool:
    """Return whether a table is of the processor that the committed measurements are of; others stand by their date."""
    (processor,) = table("perf", name)["processor"].unique()
    return str(processor).replace("(R)", "") in found.section.replace("\n", " ")


def measured(head: str, name: str) -> PageTable:
    """Return the one table of the page that begins so and is of the processor of a committed measurement."""
    tables = [one for one in page_tables("docs/performance.md") if one.head[0].startswith(head)]
    (found,) = [one for one in tables if of_this_processor(one, name)]
    return found


def agrees_with_target(row: list[str], values: dict[str, list[float]], targets: dict[str, list[float]]) -> bool:
    """Return whether a row shows a value and a target in each precision."""
    wanted = [numbers for kind in PRECISIONS for numbers in (values[kind], targets[kind])]
    return len(row) == 5 and all(map(agree, row[1:], wanted))


@pytest.mark.parametrize(("head", "method"), [("full model", "fedavg"), ("PriSM at keep ratio", "prism")])
def test_training(head: str, method: str) -> None:
    training = table("perf", "training")
    ours = training[(training["contender"] == "harness") & (training["processes"] > 1) & (training["method"] == method)]
    ours = ours.set_index(["task", "precision"])
    rows = [row for row in measured(head, "training").rows if row[0].partition(":")[0] in TASKS]
    assert len(rows) >= 3
    for row in rows:
        name = "speedup" if "times faster" in row[0] else "time_ratio"
        of_task = ours.loc[TASKS[row[0].partition(":")[0]]]
        values, targets = (
            {kind: [value] for kind, value in of_task[column].dropna().items()}
            for column in (f"{name}_{'over_full' if name == 'speedup' else 'to_bare'}", f"{name}_target")
        )
        nothing: dict[str, list[float]] = {kind: [] for kind in PRECISIONS}
        assert agrees_with_target(row, nothing | values, nothing | targets), (row, values, targets)


def test_phases_of_the_papers_round() -> None:
    phases, phase, checked = table("perf", "round").set_index(["phase", "precision"]), "", 0
    for row in measured("PriSM at keep ratio", "round").rows:
        named = next((words for words in PHASES if row[0].startswith(words)), None)
        if row[0].startswith("the paper's round without"):
            seconds = {kind: phases.loc[("round", kind), "seconds"] for kind in PRECISIONS}
            seconds = {kind: [own - phases.loc[("evaluate", kind), "seconds"]] for kind, own in seconds.items()}
            assert agrees_with_target(row, seconds, {kind: [] for kind in PRECISIONS}), (row, seconds)
        elif named or row[0].startswith("the same, share of a round"):
            phase, column = (PHASES[named], "share_of_mean_round") if named else (phase, "share")
            values = {kind: [phases.loc[(phase, kind), column]] for kind in PRECISIONS}
            targets = {kind: [phases.loc[(phase, kind), "share_target"]] if named else [] for kind in PRECISIONS}
            assert agrees_with_target(row, values, targets), (row, values, targets)
        else:
            continue
        checked += 1
    assert checked == 5


def test_large_federations() -> None:
    clients = table("perf", "clients").set_index(["clients", "cohort", "precision"])
    for size, seconds, memory in measured("a round of 20 clients", "clients").rows:
        row = clients.loc[(int(shown(size)[0].replace(",", "")), 20, "fp32")]
        assert agree(seconds, [row[f"seconds{end}"] for end in ("", "_min", "_max")]), size
        assert agree(memory, [row["peak_memory_bytes"] / 1e6]), size


def test_training_with_avx2_alone() -> None:
    training = table("perf-avx2", "training")
    assert set(training["isa_torch"]) == {"AVX2"} and not training["bf16_native"].any()
    ours = training[(training["contender"] == "harness") & (training["processes"] > 1)].set_index(["task", "method"])
    rows = only("docs/performance.md", head="with AVX2 alone").rows
    assert len(rows) == 7
    for words, value, target in rows:
        measured = ours.loc[TASKS[words.partition(":")[0]], "prism" if "PriSM" in words else "fedavg"]
        name = "speedup" if "times faster" in words else "time_ratio"
        own = measured["speedup_over_full" if name == "speedup" else "time_ratio_to_bare"]
        aims = [] if "bare loop" in words else [measured[f"{name}_target"]]
        assert agree(value, [own]) and agree(target, aims), words


def test_mixed_cohorts_with_avx2_alone() -> None:
    mixed = table("perf-avx2", "mixed")
    longest = mixed[mixed["order"] == "longest first"].set_index("precision")
    words = " ".join(page_text("docs/performance.md").split())
    assert f"takes {longest.loc['fp32', 'time_ratio']:.2f} of the time of the cohort's order in fp32" in words
    assert f"and {longest.loc['bf16', 'time_ratio']:.2f} in bfloat16" in words
    assert f"it would be {longest.loc['fp32', 'time_ratio_expected']:.2f}" in words
