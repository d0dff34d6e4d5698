"""bin/fridu itself: exit codes, where its database is, and the demo it finds by itself."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from django.db import OperationalError

from demo.__main__ import _runs_already
from demo.fridu import chosen, handed_in
from demo.layout import Problem
from demo.processes import start_time
from fridu_site.cli import database

ROOT = Path(__file__).resolve().parents[2]


@pytest.fixture
def fridu(tmp_path):
    """`fridu("jobs", program=…)` runs the program without a site around it; set variables by name."""

    def run(
        *argv: str, program: tuple[str | Path, ...] = (ROOT / "bin" / "fridu",), **extra: str
    ) -> subprocess.CompletedProcess[str]:
        ours = ("FRIDU_DATABASE_URL", "SUDO_USER")
        env = {name: value for name, value in os.environ.items() if name not in ours}
        env |= {"FRIDU_BROKER_URL": "memory://", "FRIDU_ENV_FILE": str(tmp_path / "none.env"), **extra}
        return subprocess.run(
            (*program, *argv), env=env, capture_output=True, text=True, cwd=tmp_path, check=False, timeout=60
        )

    return run


@pytest.fixture
def clone(tmp_path):
    """A checkout of its own, with our libraries: nothing of this one's var/ is in it."""
    home = tmp_path / "clone"
    home.mkdir()
    shutil.copy(ROOT / "manage.py", home)
    for room in ("bin", "fridu_site"):
        shutil.copytree(ROOT / room, home / room)
    for room in ("accounts", "audit", "dom0", "hosts", "machines", "zones", "firewall", "ui"):
        (home / room).symlink_to(ROOT / room)
    (home / ".venv" / "bin").mkdir(parents=True)
    python = home / ".venv" / "bin" / "python"
    python.write_text(f'#!/bin/sh\nexec {sys.executable} "$@"\n')
    python.chmod(0o755)
    return home


def test_it_ends_with_its_exit_codes(fridu):
    assert "fridu VERB" in fridu("help").stdout
    assert fridu().returncode == 0
    assert fridu("nonsense", FRIDU_DATABASE_URL="sqlite:////nowhere/db").returncode == 2


def test_whoever_stops_reading_gets_no_traceback(tmp_path):
    env = {**os.environ, "FRIDU_DATABASE_URL": "sqlite:////nowhere/db", "FRIDU_BROKER_URL": "memory://"}
    reader, writer = os.pipe()
    os.close(reader)
    with os.fdopen(writer, "w") as nobody_reads:
        done = subprocess.run(
            (ROOT / "bin" / "fridu", "help"),
            env=env,
            stdout=nobody_reads,
            stderr=subprocess.PIPE,
            check=False,
            timeout=60,
        )
    assert done.stderr == b""


def test_no_database_is_a_sentence_and_no_empty_file_is_left(fridu, tmp_path):
    file = tmp_path / "db.sqlite3"
    done = fridu("start", "x", "--as", "fulup", FRIDU_DATABASE_URL=f"sqlite:///{file}")
    assert done.returncode == 1
    assert done.stderr.startswith(
        f"FATAL There is no database at {file}, which FRIDU_DATABASE_URL names.\nNote: bin/demo"
    )
    assert not file.exists()


def test_an_empty_database_is_a_sentence_too(fridu, tmp_path):
    file = tmp_path / "db.sqlite3"
    file.touch()
    done = fridu("createoperator", "fulup", FRIDU_DATABASE_URL=f"sqlite:///{file}")
    assert (done.returncode, done.stderr.splitlines()[0]) == (1, "FATAL The panel's database holds no tables yet.")


def test_settings_one_may_not_read_are_named(fridu, tmp_path):
    secret = tmp_path / "panel.env"
    secret.write_text("FRIDU_DATABASE_URL=sqlite:////x\n")
    secret.chmod(0)
    plain = ("setpriv", "--bounding-set=-dac_override,-dac_read_search")  # root without what lets it read anything
    done = fridu(str(ROOT / "bin" / "fridu"), "jobs", program=plain, FRIDU_ENV_FILE=str(secret))
    assert done.returncode == 1
    assert f"FATAL You may not read {secret}" in done.stderr


DEMO = """\
import json, os, sys
def main(words):
    print(json.dumps([words, os.getcwd(), "FRIDU_DATABASE_URL" in os.environ]))
    sys.exit(3)
"""


def test_beside_a_running_demo_it_enters_that_demos_dom0(fridu, clone, tmp_path):
    (clone / "demo").mkdir()
    (clone / "demo" / "__init__.py").touch()
    (clone / "demo" / "fridu.py").write_text(DEMO)
    (clone / "var" / "demo").mkdir(parents=True)
    (clone / "var" / "demo" / "state.json").write_text("{}")
    done = fridu("start", "a b", "--as", "fulup", program=(clone / "bin" / "fridu",))
    assert done.stdout == f'[["start", "a b", "--as", "fulup"], "{tmp_path}", false]\n', done.stderr
    assert done.returncode == 3
    elsewhere = fridu("jobs", program=(clone / "bin" / "fridu",), FRIDU_DATABASE_URL="sqlite:////nowhere/db")
    assert "There is no database at /nowhere/db" in elsewhere.stderr, "a database that is named comes first"


def test_a_demo_that_was_killed_is_said_to_be_down(fridu, clone):
    (clone / "demo").mkdir()
    for file in (ROOT / "demo").glob("*.py"):
        shutil.copy(file, clone / "demo" / file.name)
    (clone / "var" / "demo").mkdir(parents=True)
    (clone / "var" / "demo" / "state.json").write_text("{}")
    done = fridu("jobs", program=(clone / "bin" / "fridu",))
    assert (done.returncode, done.stderr) == (1, "FATAL The demo “demo” is not running; bin/demo starts it.\n")


@pytest.fixture
def demos(tmp_path):
    """Demos that run, and one that was killed, as their keepers leave them; this process stands for a keeper."""

    def make(*running: str) -> Path:
        for name in ("dead", *running):
            run = tmp_path / "var" / name / "run"
            run.mkdir(parents=True)
            (run.parent / "state.json").write_text("{}")
            keeper = {"pid": os.getpid(), "started": start_time(os.getpid()) if name in running else 1}
            (run / "pids.json").write_text(json.dumps({"keeper": keeper}))
        return tmp_path

    return make


def test_the_one_demo_that_runs_is_found_whatever_its_name(demos, monkeypatch):
    monkeypatch.delenv("FRIDU_DEMO", raising=False)
    assert chosen(demos("other")).name == "other"


def test_of_several_demos_it_asks_which_and_takes_the_one_that_is_named(demos, monkeypatch):
    monkeypatch.delenv("FRIDU_DEMO", raising=False)
    project = demos("demo", "other")
    with pytest.raises(Problem, match=r"Several demos run\. Say which: fridu --demo demo or other"):
        chosen(project)
    monkeypatch.setenv("FRIDU_DEMO", "other")
    assert chosen(project).name == "other"


@pytest.mark.parametrize("named", [("--demo", "other"), ("--demo=other",), ()])
def test_a_demo_that_is_named_is_entered(fridu, clone, named):
    (clone / "demo").mkdir()
    (clone / "demo" / "__init__.py").touch()
    (clone / "demo" / "fridu.py").write_text(
        "import os\ndef main(words):\n    print(words, os.environ['FRIDU_DEMO'])\n"
    )
    by_name = {} if named else {"FRIDU_DEMO": "other"}
    done = fridu(*named, "jobs", "a b", program=(clone / "bin" / "fridu",), **by_name)
    assert done.stdout == "['jobs', 'a b'] other\n", done.stderr
    alone = fridu("--demo", program=(clone / "bin" / "fridu",))
    assert "--demo needs the name of a demo" in alone.stderr


def test_a_bare_checkout_says_what_to_do_and_stays_bare(fridu, clone):
    done = fridu("jobs", "--as", "fulup", program=(clone / "bin" / "fridu",))
    assert done.returncode == 1
    assert done.stderr.startswith("FATAL No database is set up here.\nNote: bin/demo starts everything")
    assert not (clone / "var").exists()


@pytest.mark.parametrize(
    ("wished", "more"),
    [(None, ""), (8088, ""), (9000, ". It runs on port 8088; --port counts at the next start.")],
)
def test_a_port_wished_of_a_running_demo_counts_at_its_next_start(wished, more):
    assert _runs_already("http://localhost:8088", wished) == f"The demo runs already, at http://localhost:8088{more}"


def test_a_rule_file_goes_into_the_demo_as_the_open_file_it_is(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "my.rules").write_text("ZONE=1\n")
    words = handed_in(["import", "my.rules", "EXT=1.2.3.4", "/nonexistent"])
    assert (words[0], words[2:]) == ("import", ["EXT=1.2.3.4", "/nonexistent"])
    assert Path(words[1]).read_text() == "ZONE=1\n"
    fd = int(words[1].rpartition("/")[2])
    assert os.get_inheritable(fd)
    os.close(fd)
    assert handed_in(["start", "my.rules"]) == ["start", "my.rules"]


@pytest.mark.django_db
def test_tables_of_another_day_are_named_with_the_way_out():
    said = database.explained(OperationalError("no such column: x"))
    assert said.message == "The panel's database can't do that: no such column: x"
    assert "manage.py migrate" in said.note
