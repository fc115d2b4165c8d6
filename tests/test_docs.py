"""The code in README and docs runs as it stands, and the commands they name exist."""

from __future__ import annotations

import re
from functools import partial
from pathlib import Path

import pytest
from tiny import TRAINING
from typer.testing import CliRunner

import bench
from bench.cli.main import app
from bench.conformance import CHECKS, Status, Subject, run_check

ROOT = Path(__file__).resolve().parents[1]
TINY = {name: value for name, value in TRAINING.items() if name != "rounds"}


def methods_in(document: str) -> list[str]:
    """Return the Python blocks of a document that define a method."""
    blocks = re.findall(r"```python\n(.*?)```", (ROOT / document).read_text(encoding="utf-8"), re.DOTALL)
    return [block for block in blocks if "class " in block]


CASES = [(document, code) for document in ("README.md", "docs/add-a-method.md") for code in methods_in(document)]


def saved(code: str, folder: Path) -> tuple[str, Path]:
    """Write a documented method into a file of its own and return its name and the file."""
    class_name = re.findall(r"^class (\w+)\((?:Spectral|Sampled|Width|Method)\)", code, re.MULTILINE)[0]
    explicit = re.search(r'^    name = "(.*)"', code, re.MULTILINE)
    plugin = folder / f"{class_name.lower()}.py"
    plugin.write_text(code, encoding="utf-8")
    return explicit.group(1) if explicit else class_name.lower(), plugin


@pytest.mark.parametrize(("document", "code"), CASES, ids=lambda value: value[:20])
@pytest.mark.parametrize("task", ["cnn-femnist", "resnet18-cifar10"])
def test_documented_methods_run(document: str, code: str, task: str, tmp_path: Path) -> None:
    name, plugin = saved(code, tmp_path)
    model = {"width": 4} if task == "resnet18-cifar10" else {}
    run = partial(bench.run, task=task, partition="iid", model=model, inline=True, **TINY)
    rounds = run(method=name, keep=0.5, plugin=plugin, rounds=2)
    assert rounds["round"].tolist() == [0, 1, 2]
    assert rounds["train_loss"][1:].notna().all()
    full = run(method="fedavg", rounds=1)
    assert rounds["up_bytes"][1] < full["up_bytes"][1]


@pytest.mark.parametrize(("document", "code"), CASES, ids=lambda value: value[:20])
def test_documented_methods_conform(document: str, code: str, tmp_path: Path) -> None:
    name, plugin = saved(code, tmp_path)
    subjects = [Subject(name, task, [plugin], spawns=False) for task in ("cnn-femnist", "lstm-imdb")]
    results = [run_check(check, subject) for subject in subjects for check in CHECKS]
    assert [result for result in results if result.status is Status.failed] == []
    assert any(result.status is Status.ok for result in results)


def test_the_table_of_checks_is_complete() -> None:
    rows = re.findall(r"^\| ([^|]+) \|", (ROOT / "docs/add-a-method.md").read_text(encoding="utf-8"), re.MULTILINE)
    assert set(CHECKS) <= {name.strip() for row in rows for name in row.split(",")}


def test_three_methods_are_documented() -> None:
    assert len(CASES) == 3


@pytest.mark.parametrize("document", ["README.md", *(f"docs/{path.name}" for path in (ROOT / "docs").glob("*.md"))])
def test_links_and_commands_exist(document: str) -> None:
    text = (ROOT / document).read_text(encoding="utf-8")
    for target in re.findall(r"\]\(([^)#]+)\)", text):
        if not target.startswith("http"):
            assert ((ROOT / document).parent / target).exists(), f"{document} links to {target}"
    for verb in set(re.findall(r"python -m bench (\w+)", text)):
        assert CliRunner().invoke(app, [verb, "--help"]).exit_code == 0, f"{document} names the verb {verb}"
    for sweep in set(re.findall(r"sweeps/[\w-]+\.toml", text)):
        if "NAME" not in sweep:
            assert (ROOT / sweep).exists(), f"{document} names {sweep}"
