"""`fridu import`: read, shown, asked about, saved."""

from __future__ import annotations

import pytest

from audit.models import Entry
from fridu_site.cli import follow
from hosts.models import Job

pytestmark = pytest.mark.django_db


SMALL = "CreateZone NAME=zFulup NIC=eth0 EXT=91.121.65.140 BR=xen-br1 INT=10.10.1.1 MASK=255.255.255.0\n"


def test_a_rule_file_says_nothing_to_the_terminal_itself(run, bare_host, tmp_path):
    file = tmp_path / "hostile.rules"
    file.write_text("ZONE=$(id \x1b]0;owned\x07\x1b[2J \x9b31m \u202e)\n")
    _, said = run(f"import {file} --yes")
    assert "$(id" in said
    assert not set("\x1b\x07\x9b\u202e") & set(said)


def test_import_reads_the_sample_and_reports_line_by_line(run, bare_host, rules):
    code, said = run(f"import {rules} --yes")
    assert "line" in said
    assert "objects made. Put on the host what is not there yet with: fridu firewall apply" in said
    assert "All of it was there already." in run(f"import {rules} --yes")[1]
    from firewall.models import PublishedService
    from zones.models import Zone

    assert set(Zone.objects.values_list("name", flat=True)) >= {"zFulup", "zDominig"}
    assert PublishedService.objects.filter(name="DomiWEB").exists()
    assert code in (0, 1), "1 where the file has lines that can't be read"


def test_import_shows_first_and_saves_when_told_to(run, bare_host, rules):
    from zones.models import Zone

    _, said = run(f"import {rules}")
    assert "line" in said
    assert "It would make" in said
    assert ".. zone zFulup" in said
    assert "Nothing was saved. The same command with --yes saves it" in said
    _, said = run(f"import {rules}", answer="n")
    assert said.endswith("Nothing was saved.\n")
    assert not Zone.objects.exists()
    assert not Entry.objects.filter(action="firewall.import").exists()
    run(f"import {rules}", answer="y")
    assert Zone.objects.filter(name="zFulup").exists()


@pytest.mark.parametrize(("answer", "code"), [(None, 1), ("n", 1), ("y", 0)])
def test_importing_ends_well_only_where_it_was_saved(run, bare_host, tmp_path, answer, code):
    file = tmp_path / "small.rules"
    file.write_text(SMALL)
    assert run(f"import {file}", answer=answer)[0] == code
    assert run(f"import {file} --yes")[0] == 0
    assert run(f"import {file}") == (0, "Nothing in it is new; nothing was saved.\n")


def test_zones_that_wait_for_approval_are_no_fault(run, bare_host, tmp_path, monkeypatch):
    file = tmp_path / "small.rules"
    file.write_text(SMALL)
    monkeypatch.setattr(follow, "may_approve", lambda user, job: False)
    code, said = run(f"import {file}", answer="y")
    assert "waits for an operator's approval." in said
    assert Job.objects.get().state == Job.State.PLANNED
    assert code == 0
