"""`python3 -m tests.lab.list_inside`: the main job's list, point by point, against the demo that runs on this box.

One process, for test_debian: pages by HTTP with cookies and forms, packets from the demo's namespaces, SSH, `fridu`.
Prints a line of JSON for each point: {"point", "seconds", "wrong"}; wrong is "" where it holds.
"""

from __future__ import annotations

import json
import subprocess
import sys
import time
import traceback
from pathlib import Path

from tests.lab import list_limits
from tests.lab.list_harm import a_killed_job_goes_on, bad_input_gets_a_sentence
from tests.lab.list_pages import Page, number_in
from tests.lab.list_visit import Visit
from tests.lab.list_world import ONE, TWO, VOLUMES, World, until

NEW, ADDRESS = "Newbie", "10.10.2.9"
STAGES = ["lvmcreate", "fscreate", "installroot", "tuneroot", "updateether", "createvmconf", "start"]
OTHER_HOST, ITS_PORT = "198.51.100.7", 7777
#: Beside these: what Fridu's own services, a hypervisor and a host usually listen on.
SAMPLE = (*range(1, 120), 443, 563, 2222, 2525, 3306, 5432, 6379, 8000, 8080, 8088, 16509, 16514, 44096, 65535)


def packets_from_the_internet(v: Visit) -> None:
    """1: pages, greetings, SSH; everything else closed, private addresses out of reach."""
    w = v.world
    assert "WEB-Dom" in w.body(TWO)
    assert "WEB-Ful" in w.body(ONE)
    for address in (ONE, TWO):
        said = w.greeting(address, 25)
        assert said.startswith("220 "), said
        assert "Common" in said
    assert w.ssh(TWO, "id -u; hostname").split() == ["0", "WEB-Dom"]
    answers = w.opens(*((address, port) for address in (ONE, TWO) for port in SAMPLE))
    assert {at for at, yes in answers.items() if yes} == {(at, port) for at in (ONE, TWO) for port in (22, 25, 80)}
    assert {at for at, yes in answers.items() if not yes} == {(ONE, 563), (TWO, 563)}, "open, and nobody listens"
    closed = (53, 67, 123, 5353, 16509)
    assert w.silent(ONE, closed) == list(closed)
    assert "Fridu" in w.body("10.10.95.38", "vpn", 8000, "/sign-in/"), "the admin VPN's way in, udp 44096"
    _private_addresses(w)


def _private_addresses(w: World) -> None:
    """Out of reach for a neighbour on the line, who sends them to dom0."""
    route = ("ip", "-n", w.state["netns"]["internet"], "route")
    subprocess.run((*route, "add", "10.10.0.0/16", "via", ONE), check=True)
    try:
        inside = [(m["ip"], port) for m in w.state["machines"].values() for port in (22, 8080, 2525)]
        assert w.opens(*inside, ("10.10.95.38", 8000), ("10.10.1.1", 53)) == {}
    finally:
        subprocess.run((*route, "del", "10.10.0.0/16", "via", ONE), check=True)


def packets_from_a_machine(v: Visit) -> None:
    """1: it goes out by its zone's address; dom0's Redis, panel and SSH are out of its reach."""
    code = (
        f"import socket\ns = socket.create_server(('{OTHER_HOST}', {ITS_PORT}))\nprint('ready', flush=True)\n"
        "s.settimeout(60)\nprint(s.accept()[1][0])"
    )
    argv = ("ip", "netns", "exec", v.world.state["netns"]["internet"], sys.executable, "-c", code)
    with subprocess.Popen(argv, stdout=subprocess.PIPE, text=True) as server:
        assert server.stdout is not None
        assert server.stdout.readline() == "ready\n"
        v.world.ssh(TWO, f"echo | nc -w 3 {OTHER_HOST} {ITS_PORT}")
        assert server.stdout.readline().strip() == TWO
    own, others = "10.10.2.1", f"10.10.1.1 10.10.95.38 {ONE}"
    ask = "(echo | nc -w 4 $at $port >/dev/null 2>&1 && echo $at $port open || echo $at $port closed) &"
    said = v.world.ssh(
        TWO, f"for at in {own} {others}; do for port in 22 53 6379 8000 16509; do {ask} done; done; wait"
    ).splitlines()
    assert len(said) == 20, said
    assert [line for line in said if line.endswith("open")] == [f"{own} 53 open"], "its own zone's names alone"


def the_operator_creates_a_machine(v: Visit) -> None:
    """2: the whole ISP on one page; by name and address, the plan first; then root on it by SSH."""
    w, operator = v.world, v.visitor("operator")
    drawing = operator.get("/").html
    for words in ("Internet", "Admin VPN", ONE, TWO, "zFulup", "zDominig", "dom0"):
        assert words in drawing, words
    for name in ("Common", "WEB-Ful", "WEB-Dom"):
        assert f"{name}, 10.10." in drawing, name
    public = Path(w.state["operator_ssh_key"] + ".pub").read_text()
    operator.send(operator.get("/account/"), "Add this key", name="mine", line=public)
    form = operator.get("/machines/new/")
    (key,) = w.sql("select id from accounts_sshkey where name = 'mine'")[0]
    page = operator.send(form, "Create machine", name=NEW, address=ADDRESS, ssh_keys=str(key), reason="to try it")
    job = number_in(page.url)
    assert w.job_in(job, "planned"), w.job_said(job)
    plan = operator.get(page.url)
    for words in (*STAGES, f"{NEW}-root.img", ADDRESS, "&lt;domain"):
        assert words in plan.html, words
    assert w.sql("select count(*) from hosts_jobstep where state = 'done' and job_id = ?", job) == [(0,)]
    assert not (VOLUMES / f"{NEW}-root.img").exists(), "shown, not yet done"
    v.approve(page, f"Approve and create {NEW}")
    stages = [stage for (stage,) in w.sql("select stage from hosts_jobstep where job_id = ? order by number", job)]
    assert [stage for stage in dict.fromkeys(stages) if stage in STAGES] == STAGES
    mine = w.state["operator_ssh_key"]
    assert until(lambda: w.ssh(ADDRESS, "id -u; hostname", place="vpn", key=mine).split() == ["0", NEW])


def the_operator_publishes_and_unpublishes(v: Visit) -> None:
    """2: the difference, applied, it answers; unpublished it is closed, a connection that was open too."""
    w, operator = v.world, v.visitor("operator")
    form = operator.get("/firewall/services/publish/")
    external = next(
        value for words, value in form.form(button="Publish").options["external"].items() if words.startswith(ONE)
    )
    wish = {"name": "NewMail", "external": external, "port": "2525", "target": NEW, "target_port": "2525"}
    page = operator.send(form, "Publish", **wish)
    assert "Opens" in page.text, page.text[:600]
    assert "tcp 2525 of 91.121.65.140" in page.text
    assert w.opens((ONE, 2525)) == {}, "shown, not yet applied"
    _apply(v, page)
    assert w.greeting(ONE, 2525) == f"220 {NEW} ESMTP"
    with w.held(ONE, 2525) as alive:
        assert alive()
        (number,) = w.sql("select id from firewall_publishedservice where name = 'NewMail'")[0]
        operator.send(operator.get(f"/firewall/services/{number}/unpublish/"), "Unpublish NewMail")
        page = operator.get("/firewall/")
        assert "Closes" in page.text
        _apply(v, page)
        assert not alive(), "the established connection must be cut"
    assert w.opens((ONE, 2525)) == {}


def _apply(v: Visit, page: Page) -> None:
    """Apply what that page shows, and keep it on the page of the trial."""
    operator = v.visitor("operator")
    operator.send(page, "Apply on trial")
    keeps = until(lambda: (seen := operator.get("/firewall/trial/")) and "Keep revision" in seen.text and seen)
    assert keeps, operator.get("/firewall/trial/").text[:600]
    operator.send(keeps, "Keep revision")
    newest = "select state from firewall_revision order by number desc limit 1"
    assert until(lambda: v.world.sql(newest) == [("live",)]), v.world.sql(newest)


def the_owner_has_his_machine_alone(v: Visit) -> None:
    """3: all else is not there for him; he stops and starts his own."""
    w, owner = v.world, v.visitor("owner")
    mine = owner.get("/machines/mine/")
    assert "WEB-Dom" in mine.text
    for other in ("Common", "WEB-Ful", NEW):
        assert other not in mine.html, other
    common, own = w.machine("Common"), w.machine("WEB-Dom")
    (job,) = w.sql("select min(id) from hosts_job")[0]
    for path in (
        *("/firewall/", "/firewall/services/", "/firewall/policy/", "/firewall/revisions/", "/zones/", "/zones/1/"),
        *("/hosts/", "/people/", "/audit/", "/machines/new/", "/machines/images/", f"/jobs/{job}/"),
        *(f"/machines/{common}/{tab}" for tab in ("", "history/", "delete/", "limits/", "console/")),
    ):
        assert owner.get(path).status == 404, path
    for verb in ("start", "stop", "restart", "keys", "password", "delete"):
        assert owner.post(f"/machines/{common}/{verb}/").status == 404, verb
    _stop(v, own)
    assert until(lambda: not w.opens((TWO, 80)))
    assert until(lambda: "Start WEB-Dom" in owner.get(f"/machines/{own}/").html, every=1)
    page = owner.get(f"/machines/{own}/")
    assert "Stop WEB-Dom" not in page.html, "no button is offered that would be refused"
    owner.send(page, "Start WEB-Dom")
    assert until(lambda: "WEB-Dom" in w.body(TWO))
    code, said = w.fridu("owner", "stop", "Common", "--yes")
    assert code != 0, said
    assert "Traceback" not in said


def _stop(v: Visit, own: int) -> None:
    """The button, once more where a busy box kept the machine from powering off in its 20 s of grace."""
    for _ in range(3):
        v.visitor("owner").send(v.visitor("owner").get(f"/machines/{own}/"), "Stop WEB-Dom")
        job = v.world.newest_job()
        assert v.world.job_in(job, "done", "refused", "failed"), v.world.job_said(job)
        if "did not power off" not in v.world.job_said(job):
            break
        print("# WEB-Dom did not power off in its grace; asked again", flush=True)
    v.ends(job, "done")


def all_of_it_stands_in_the_log(v: Visit) -> None:
    """4: who, what, on what, why, outcome, commands; unbroken, and the auditor reads it in the admin."""
    w, auditor = v.world, v.visitor("auditor")
    asked = "select actor_name, why, data from audit_entry where action = ? and object_text = ? and outcome = 'done'"
    who, why, data = w.sql(f"{asked} order by seq desc", "machine.create", NEW)[0]
    logins = {part: login["user"] for part, login in w.state["logins"].items()}
    assert (who, why) == (logins["operator"], "to try it")
    assert f"{NEW}-root.img" in data
    did = "select distinct action from audit_entry where actor_name = ? and outcome = ?"
    done = {action for (action,) in w.sql(did, logins["operator"], "done")}
    wanted = {"machine.create", "machine.limits", "service.publish", "service.unpublish", "firewall.apply"}
    assert wanted | {"firewall.confirm", "job.approve"} <= done, done
    assert {"machine.stop", "machine.start"} <= {action for (action,) in w.sql(did, logins["owner"], "done")}
    assert w.sql(did, logins["owner"], "refused")
    code, said = w.fridu("operator", "audit", "verify")
    assert code == 0, said
    page = auditor.get("/admin/audit/entry/")
    assert "machine.create" in page.text, page.text[:600]
    refused = auditor.get("/admin/audit/entry/add/")
    assert refused.status == 403, (refused.status, refused.text[:600])
    (first,) = w.sql("select min(seq) from audit_entry")[0]
    entry = auditor.get(f"/admin/audit/entry/{first}/change/")
    assert entry.status == 200
    assert not any("Save" in words or "Delete" in words for form in entry.forms for words in form.buttons)
    assert auditor.get("/machines/").status == 404


def limits_hold_on_cgroup_v2(v: Visit) -> None:
    """Issue 4: processor, memory and disk of a machine, set on its page and measured."""
    list_limits.hold(v.world, v.visitor("operator"), v.approve, NEW, ADDRESS)


def what_was_made_goes_again(v: Visit) -> None:
    """A machine deleted by its typed name leaves no volume and answers no more."""
    v.delete(NEW)
    assert v.world.opens((ADDRESS, 22), place="vpn") == {}


POINTS = (
    packets_from_the_internet,
    packets_from_a_machine,
    the_operator_creates_a_machine,
    the_operator_publishes_and_unpublishes,
    limits_hold_on_cgroup_v2,
    the_owner_has_his_machine_alone,
    all_of_it_stands_in_the_log,
    a_killed_job_goes_on,
    bad_input_gets_a_sentence,
    what_was_made_goes_again,
)


def main(wanted: list[str]) -> None:
    """All points, or those that are named; one that fails keeps no other from being tried."""
    visit = Visit()
    for point in POINTS:
        if wanted and point.__name__ not in wanted:
            continue
        began, wrong = time.monotonic(), ""
        try:
            point(visit)
        except Exception:  # said, and the next point is tried
            wrong = traceback.format_exc(limit=-6)
        said = {"point": point.__name__, "seconds": round(time.monotonic() - began, 1), "wrong": wrong}
        print(json.dumps(said), flush=True)
    visit.world.end()


if __name__ == "__main__":
    main(sys.argv[1:])
