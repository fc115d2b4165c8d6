"""How processes end and what is said of it: signals, exit codes, want of memory, errors of several lines."""

from __future__ import annotations

import io
import sys
import threading
import time
from pathlib import Path

import dying
import pytest
from dying import dies, half_a_result, mislays, nothing, raises, unprepared
from swept import Swept
from tiny import plugin

from bench.errors import one_line, words_of
from bench.launch import local
from bench.processes.children import Child, heard
from bench.processes.failure import Died, RemoteTraceback, Unreturnable, ended_with, kills_for_memory, reason_of
from bench.processes.pool import Pool
from bench.processes.tidiness import tidy


@pytest.mark.parametrize(
    ("code", "last_line", "for_memory", "said"),
    [
        (3, "", False, "exit code 3"),
        (0, "done", False, "exit code 0; its last words: done"),
        (-6, "free(): double free detected in tcache 2", False, "signal SIGABRT: a library found its memory corrupted"),
        (-6, "terminate called", False, "signal SIGABRT: a library or the plugin gave up; its last words: terminate"),
        (-11, "", False, "signal SIGSEGV: compiled code touched memory that is not its own"),
        (-9, "", True, "signal SIGKILL: most likely because the machine ran out of memory; fewer cells at once"),
        (-9, "", False, "signal SIGKILL: it was ended from outside"),
        (-9, "", None, "ended from outside, or by the system, which does not say whether it ran out of memory"),
        (-15, "", False, "signal SIGTERM: it was ended from outside"),
        (-63, "", False, "signal 63"),
    ],
)
def test_ends_in_words(code: int, last_line: str, for_memory: bool | None, said: str) -> None:
    words = ended_with(code, last_line, for_memory)
    assert said in words and last_line in words
    assert ("out of memory" in words) == (for_memory is not False)


def counters(folder: Path, cgroup: str, files: dict[str, str]) -> int | None:
    for name, text in {"cgroup": cgroup, **files}.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text(text)
    return kills_for_memory(folder / "cgroup", folder)


def test_the_kernel_counts_kills_for_memory(tmp_path: Path) -> None:
    """Both versions of control groups, and a container, in which the group's path is not that of the mounted files."""
    second = "low 0\nhigh 0\nmax 9\noom 4\noom_kill 3\noom_group_kill 0\n"
    first = "oom_kill_disable 0\nunder_oom 0\noom_kill 7\n"
    assert counters(tmp_path / "a", "0::/user/x\n", {"user/x/memory.events": second}) == 3
    assert counters(tmp_path / "b", "0::/\n", {"memory.events": second}) == 3
    assert counters(tmp_path / "c", "4:cpu,memory:/box\n0::/\n", {"memory/box/memory.oom_control": first}) == 7
    assert counters(tmp_path / "d", "4:memory:/far/off\n", {"memory/memory.oom_control": first}) == 7
    on_the_machine = kills_for_memory(tmp_path / "none", tmp_path)
    assert on_the_machine is None or on_the_machine >= 0


@pytest.mark.parametrize(
    ("how", "said"),
    [
        ("abort", "signal SIGABRT: a library found its memory corrupted; its last words: free(): invalid pointer"),
        ("segfault", "signal SIGSEGV: compiled code"),
        ("killed", "signal SIGKILL: it was ended from outside"),
        ("killed with a child", "signal SIGKILL: it was ended from outside"),
        ("hung up", "its connection to the harness closed"),
        ("exit", "exit code 5"),
    ],
)
def test_a_dead_process_is_noticed_and_says_how(how: str, said: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("bench.processes.children.END_SECONDS", 0.5)
    child = Child(dies, how)
    assert child.receive() == "begun"
    while child not in heard([child], 0.2):
        pass
    assert child.receive() is None and said in child.ending
    child.end()


def test_want_of_memory_is_said_where_the_kernel_counted_a_kill(monkeypatch: pytest.MonkeyPatch) -> None:
    counted = iter([4, 5])
    monkeypatch.setattr("bench.processes.children.kills_for_memory", lambda: next(counted))
    child = Child(dies, "killed")
    assert child.receive() == "begun" and child.receive() is None
    assert "most likely because the machine ran out of memory" in child.ending
    child.end()


def test_half_a_result_ends_the_wait() -> None:
    pool = Pool(2, nothing)
    try:
        other, half = pool.submit(time.sleep, 600), pool.submit(half_a_result)
        with pytest.raises(Died, match="one of the processes that train its clients ended with signal SIGKILL"):
            half.result(timeout=60)
        with pytest.raises(Died, match="signal SIGKILL"):
            pool.submit(nothing).result(timeout=60)
    finally:
        pool.close()
    assert isinstance(other.exception(timeout=60), Died)
    assert all(member.child.has_ended for member in pool.members)


def test_what_a_process_of_a_pool_raises_is_raised_with_its_place() -> None:
    pool = Pool(1, nothing)
    try:
        error = pool.submit(raises, "plain").exception(timeout=60)
        assert isinstance(error, ValueError) and isinstance(error.__cause__, RemoteTraceback)
        said = reason_of(error, [Path(dying.__file__)])
        assert said.startswith("ValueError: here; and there (dying.py, line ") and said.endswith(", in raises)")
        assert "raise ValueError" in str(error.__cause__)
        needy, left = (pool.submit(raises, how).exception(timeout=60) for how in ("needy", "exit"))
        assert isinstance(needy, Unreturnable) and reason_of(needy) == "Needy: one two"
        assert left is not None and "SystemExit: 3" in reason_of(left)
    finally:
        pool.close()
    pool = Pool(1, unprepared)
    try:
        error = pool.submit(nothing).exception(timeout=60)
        assert error is not None and reason_of(error).startswith("out of memory; ") and "no room" in reason_of(error)
    finally:
        pool.close()


def test_a_pool_ends_its_threads_and_processes() -> None:
    before = set(threading.enumerate())
    pool = Pool(3, nothing)
    assert [future.result() for future in [pool.submit(max, number, 3) for number in range(6)]] == [3, 3, 3, 3, 4, 5]
    pool.close()
    assert all(member.child.has_ended for member in pool.members)
    assert not {thread for thread in set(threading.enumerate()) - before if thread.name == "bench pool"}


def test_lines_are_joined_and_bounded() -> None:
    text = 'Error(s) in loading state_dict for CNN:\n\tMissing key(s): "a".\n\n\tsize mismatch\nfor b\x1b[0m'
    assert one_line(text) == 'Error(s) in loading state_dict for CNN: Missing key(s): "a". size mismatch; for b\\x1b[0m'
    long = one_line("begin " + "x" * 9000 + " end")
    assert len(long) == 600 and long.startswith("begin xxx") and long.endswith("xxx end") and " ... " in long
    assert one_line("\ud800").isascii() and one_line(" \n ") == ""


def test_errors_in_words() -> None:
    class Broken(Exception):
        def __str__(self) -> str:
            raise RuntimeError("no")

    noted = KeyError("conv1")
    noted.add_note("seen\nthere")
    assert words_of(noted) == "KeyError: 'conv1' seen; there"
    assert words_of(RuntimeError("\n  late words")) == "RuntimeError: late words"
    assert words_of(RuntimeError("")) == "RuntimeError: no message"
    assert words_of(Broken()) == "Broken: its message cannot be read"
    group = ExceptionGroup("two", [ValueError("a"), TypeError("b")])
    assert words_of(group) == "ExceptionGroup: two (2 sub-exceptions) ValueError: a TypeError: b"


@pytest.mark.parametrize(
    ("what", "said", "spent"),
    [
        ("thread", "method 'mine' left a thread running ('ticker'); allowed: threads that end with the hook", True),
        ("closed", "method 'mine' closed standard output; allowed: to leave it as it was", False),
        ("closed below", "method 'mine' closed standard output; allowed: to leave it as it was", False),
        ("replaced", "method 'mine' replaced standard error; allowed: to leave it as it was", False),
        ("redirected", "", False),
        ("short thread", "", False),
        ("daemon", "", False),
    ],
)
def test_what_a_method_leaves_behind_is_named_and_put_back(what: str, said: str, spent: bool) -> None:
    child = Child(mislays, what)
    assert child.receive() == (said, spent), child.ending
    assert child.receive() is None and child.process.exitcode == 0  # a thread does not hold the process up
    child.end()


def test_outside_of_the_harness_nobody_is_watched(capsys: pytest.CaptureFixture[str]) -> None:
    with tidy("mine"):
        sys.stdout = io.StringIO()
    print("unheard")


MISSING = 'model.load_state_dict({"conv1.weight": server.model.state_dict()["conv1.weight"]})'


def test_a_failed_cell_says_how_its_process_ended_and_where_its_method_failed(tmp_path: Path) -> None:
    """By a signal, by an exit code, and by an error of several lines, each in a sweep's process and in a worker's."""
    abort = "import os; os.write(2, b'double free or corruption (out)\\n'); os.abort()"
    plugins = (
        plugin(tmp_path, "aborts", select=abort),
        plugin(tmp_path, "leaves", select="import os; os._exit(0)"),
        plugin(tmp_path, "quits", select="raise SystemExit('enough')"),
        plugin(tmp_path, "keys", extract=f"model = copy_of(server.model); {MISSING}"),
        plugin(
            tmp_path,
            "threads",
            select="import threading; threading.Thread(target=__import__('time').sleep, "
            "args=(600,), name='ticker').start()",
        ),
        plugin(tmp_path, "sound"),
    )
    names = ", ".join(f'"{path.stem}"' for path in plugins)
    swept = Swept(tmp_path, local.hire, f"[[cells]]\nmethod = [{names}]\n", plugins, jobs=2)
    assert swept.ended == {"failed": 5, "done": 1}
    assert swept.reason("threads") == (
        "method 'threads' left a thread running ('ticker', 'ticker'); allowed: threads that end with the hook"
    )
    assert swept.reason("aborts") == (
        "the process that ran it ended with signal SIGABRT: a library found its memory corrupted; "
        "its last words: double free or corruption (out)"
    )
    assert swept.reason("leaves") == "the process that ran it ended with exit code 0"
    assert swept.reason("quits").startswith("round 1: SystemExit: enough (quits.py, line ")
    keys = swept.reason("keys")
    assert keys.startswith("round 1: RuntimeError: Error(s) in loading state_dict for CNN: Missing key(s)")
    assert '"conv1.bias"' in keys and "\n" not in keys and keys.endswith(", in extract)") and "(keys.py, line" in keys
