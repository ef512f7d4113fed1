"""Nothing is left behind, whatever was killed. A variable and a folder of their own keep these tests from real runs."""

import os
import subprocess
import sys
import tempfile
import time
import uuid
from pathlib import Path

import pytest

from service.local import processes
from service.local.processes import RunMark, begin_run, end_orphans, end_run

ROOT = Path(__file__).resolve().parents[3]
BEGIN_AND_WAIT = (
    "from service.local.processes import begin_run; print(begin_run(), flush=True); import time; time.sleep(60)"
)
END_OWN_RUN = """
import os, sys
from service.local import processes
processes.RUN_VARIABLE = sys.argv[1]
print(processes.end_run(processes.RunMark.parse(os.environ[sys.argv[1]])), flush=True)
"""
DIE_WITH_PARENT = """
import signal, sys, time
from service.local.processes import die_with_parent
def terminated(*_):
    print("SIGTERM", flush=True)
    sys.exit()
signal.signal(signal.SIGTERM, terminated)
die_with_parent()
print("ready", flush=True)
time.sleep(60)
"""
IGNORE_SIGTERM = "import signal, time; signal.signal(15, signal.SIG_IGN); print(flush=True); time.sleep(60)"
START_A_CHILD = "import subprocess, sys, time; subprocess.Popen([sys.executable, '-c', sys.argv[1]]); time.sleep(60)"


@pytest.fixture(autouse=True)
def variable(monkeypatch, tmp_path) -> str:
    name = f"SIGHTLINE_TEST_{uuid.uuid4().hex}"
    monkeypatch.setattr(processes, "RUN_VARIABLE", name)
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    return name


@pytest.fixture
def start(tmp_path):
    """Starts a process; whatever is left of it is killed at the end."""
    started = []

    def run(*command: str, **environment: str) -> subprocess.Popen:
        environment = os.environ | {"TMPDIR": str(tmp_path)} | environment
        started.append(subprocess.Popen(command, env=environment, cwd=ROOT, stdout=subprocess.PIPE, bufsize=0))
        return started[-1]

    yield run
    for process in started:
        process.kill()
        process.wait()
        process.stdout.close()


@pytest.fixture
def dead_run(start) -> RunMark:
    """The mark of a run whose supervisor was killed."""
    supervisor = start(sys.executable, "-c", BEGIN_AND_WAIT)
    mark = RunMark.parse(supervisor.stdout.readline().decode().strip())
    assert mark.pid == supervisor.pid
    assert mark.alive
    supervisor.kill()
    supervisor.wait()
    return mark


def ended(process: subprocess.Popen) -> bool:
    return process.poll() is not None


@pytest.mark.parametrize("folder", ["/run/x", "/with:colon:s", "/with blank/ü"])
def test_a_mark_is_parsed_back_from_its_text(folder):
    mark = RunMark(12, 345, Path(folder))
    assert RunMark.parse(str(mark)) == mark


@pytest.mark.parametrize(
    "text",
    [
        "",
        "1",
        "1:2",
        "1:2:",
        ":2:/x",
        "1::/x",
        "a:2:/x",
        "1:b:/x",
        "-1:2:/x",
        "1.5:2:/x",
        "²:2:/x",
        "1:²:/x",
        "9" * 5000 + ":2:/x",
    ],
)
def test_anything_else_is_no_mark(text):
    assert RunMark.parse(text) is None


def test_a_run_has_a_folder_and_lives_as_long_as_this_very_process():
    mark = begin_run()
    assert mark.alive
    assert (mark.pid, mark.folder.is_dir()) == (os.getpid(), True)
    assert not RunMark(mark.pid, mark.started + 1, mark.folder).alive
    assert begin_run().folder != mark.folder


def test_a_killed_supervisor_is_dead_before_anybody_waits_for_it(start):
    supervisor = start(sys.executable, "-c", BEGIN_AND_WAIT)
    mark = RunMark.parse(supervisor.stdout.readline().decode().strip())
    supervisor.kill()
    deadline = time.monotonic() + 5
    while mark.alive and time.monotonic() < deadline:
        time.sleep(0.01)
    assert not mark.alive
    assert Path(f"/proc/{mark.pid}").exists(), "a zombie until it is waited for"


def test_orphans_are_killed_and_their_runs_folder_removed_and_nobody_else(start, variable, dead_run):
    mine = begin_run()
    orphans = [start("sleep", "60", **{variable: str(dead_run)}) for _ in range(2)]
    others = [start("sleep", "60", **{variable: text}) for text in (str(mine), "", "garbage")]
    assert end_orphans() == 2
    assert all(ended(process) for process in orphans)
    assert not any(ended(process) for process in others)
    assert (dead_run.folder.exists(), mine.folder.exists()) == (False, True)
    assert end_orphans() == 0


def test_a_dead_runs_folder_is_removed_even_without_processes(dead_run):
    (dead_run.folder / "ray").mkdir()
    (dead_run.folder / "ray" / "log").write_text("x")
    assert end_orphans() == 0
    assert not dead_run.folder.exists()


@pytest.mark.parametrize("content", [b"", b"garbage", b"\xff\xfe", b"1:2:/elsewhere", None])
def test_a_folder_that_is_no_runs_is_left_alone(tmp_path, content):
    folder = tmp_path / "sightline-run-x"
    folder.mkdir()
    if content is not None:
        (folder / "mark").write_bytes(content)
    assert end_orphans() == 0
    assert folder.exists()


def test_a_mark_that_names_another_folder_removes_neither(tmp_path, dead_run):
    victim, folder = tmp_path / "victim", tmp_path / "sightline-run-x"
    victim.mkdir()
    folder.mkdir()
    (folder / "mark").write_text(str(RunMark(dead_run.pid, dead_run.started, victim)))
    end_orphans()
    assert victim.exists()
    assert folder.exists()


def test_the_end_of_a_run_kills_its_processes_only_and_removes_its_folder(start, variable):
    mark, other = begin_run(), begin_run()
    mine = [start("sleep", "60", **{variable: str(mark)}) for _ in range(2)]
    stubborn = start(sys.executable, "-c", IGNORE_SIGTERM, **{variable: str(mark)})
    stubborn.stdout.readline()
    theirs = start("sleep", "60", **{variable: str(other)})
    assert end_run(mark) == 3
    assert all(ended(process) for process in (*mine, stubborn))
    assert not ended(theirs)
    assert (mark.folder.exists(), other.folder.exists()) == (False, True)
    assert end_run(mark) == 0


def test_the_end_of_a_run_spares_the_process_that_asks_for_it_and_waits_for_no_zombie(start, variable):
    mark = begin_run()
    mate = start("sleep", "60", **{variable: str(mark)})
    caller = start(sys.executable, "-c", END_OWN_RUN, variable, **{variable: str(mark)})
    # The mate is this process's child: killed by its sister, it stays a zombie until it is waited for here.
    assert caller.wait(5) == 0
    assert caller.stdout.readline() == b"1\n"
    assert mate.wait(5) == -9


def test_a_process_that_dies_with_its_parent_gets_sigterm_when_that_is_killed(start):
    parent = start(sys.executable, "-c", START_A_CHILD, DIE_WITH_PARENT)
    assert parent.stdout.readline() == b"ready\n"
    parent.kill()
    # The child holds the same pipe: its end comes when both have ended.
    rest, _ = parent.communicate(timeout=10)
    assert rest == b"SIGTERM\n"
