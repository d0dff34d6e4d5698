"""fridu rescue, check, adopt and drift."""

from __future__ import annotations

import copy

import pytest

from hosts.models import Job
from machines.models import Machine
from tests.test_access_matrix import STRANGER


def test_rescue_says_the_password_once_it_runs_and_end_brings_it_back(run, web_dom, image):
    code, out = run(f"rescue WEB-Dom image={image.name} --yes")
    assert code == 0, out
    assert "one-time password in the rescue system: " in out
    assert Machine.objects.get().rescue == image
    code, out = run("rescue WEB-Dom --end --yes")
    assert code == 0, out
    assert Job.objects.first().args["end"] is True


def test_an_image_nobody_has_is_refused(run, web_dom):
    code, out = run("rescue WEB-Dom image=none")
    assert code == 1
    assert "has no image called none" in out
    assert "tiny" in out


def test_end_is_rescues_alone(run, web_dom):
    code, out = run("start WEB-Dom --end")
    assert code == 2
    assert "rescue does" in out


def test_adopt_lists_and_adopts(run, fulup, zones, host):
    assert run("adopt") == (0, f"Every machine on {host} is in the panel.\n")
    host.figures["unknown"] = [copy.deepcopy(STRANGER)]
    host.save()
    code, out = run("adopt")
    assert (code, "made by something else" in out) == (0, True)
    code, out = run("adopt Lost")
    assert code == 1
    assert "Say it with vmip=ADDRESS." in out
    code, out = run("adopt Lost vmip=10.10.1.9 --yes")
    assert code == 0, out
    assert Job.objects.get().kind == "machine.adopt"
    assert Machine.objects.get().zone == zones["zFulup"]


def test_drift_tells_and_settles(run, web_dom):
    assert run("drift WEB-Dom") == (0, "Nothing differs of WEB-Dom.\n")
    item = {"what": "memory", "wished": "64 MB", "found": "48 MB", "adopt": {"memory_mib": 48}}
    Machine.objects.update(drift={"digest": "d" * 64, "items": [item]})
    code, out = run("drift WEB-Dom")
    assert code == 1
    assert "memory: 64 MB wished, 48 MB found" in out
    assert run("drift WEB-Dom ignore")[0] == 0
    assert Machine.objects.get().ignored_drift == "d" * 64
    assert run("drift WEB-Dom adopt --yes")[0] == 0
    assert Machine.objects.get().memory_mib == 48
    assert run("drift WEB-Dom burn")[0] == 2


@pytest.mark.parametrize("line", ["adopt --as dominig", "drift WEB-Dom --as dominig"])
def test_owners_may_not(run, dominig, web_dom, line):
    assert run(line)[0] == 1


def test_check_knows_repair_alone(run, web_dom):
    assert run("check WEB-Dom burn")[0] == 2
