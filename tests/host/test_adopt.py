# ruff: noqa: E501 - lines of snippets
"""Machines on a host that the panel forgot or never knew, and machines somebody changed by hand: found, shown, settled."""

from __future__ import annotations

from typing import Any

import pytest

from tests.host.test_machine_life import Box, box, mail, nothing_left  # noqa: F401

pytestmark = pytest.mark.host

ASK = """
from machines import adopt_services, drift
URI = config.libvirt

def ran(*argv):
    done = subprocess.run(argv, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    return done.stdout

import libvirt

def virsh(verb, *words):
    # What virsh's command of that name calls; the tool itself need not be installed.
    link = libvirt.open(URI)
    if verb == "define":
        return link.defineXML(Path(words[0]).read_text()).name()
    name = words[-1] if verb == "dumpxml" else words[0]
    domain = link.lookupByName(name)
    if verb == "dumpxml":
        return domain.XMLDesc(libvirt.VIR_DOMAIN_XML_INACTIVE)
    if verb == "setmem":
        flag = libvirt.VIR_DOMAIN_AFFECT_LIVE if "--live" in words else libvirt.VIR_DOMAIN_AFFECT_CONFIG
        return domain.setMemoryFlags(int(words[1][:-1]) * 1024, flag)
    raise AssertionError(verb)

def found(name="Mail"):
    drift.sweep(config)
    return {i["what"]: [i["wished"], i["found"]] for i in machine(name).drift.get("items", ())}

def settled(way, name="Mail"):
    job = getattr(adopt_services, "drift_" + way)(
        actor(), machine(name), digest=machine(name).drift.get("digest", ""), approved=True
    )
    return carried(job)

def strangers():
    drift.sweep(config)
    return adopt_services.strangers(Host.objects.get())

def adopted(one, **wish):
    zone, address = adopt_services.likely(one)
    wish = {"zone": zone, "address": address, "owner": Owner.objects.get(name="fulup"), **wish}
    return carried(adopt_services.machine_adopt(actor(), one, approved=True, **wish))
"""


def asked(box: Box, code: str) -> Any:  # noqa: F811
    return box.do(ASK + code)


def test_a_machine_as_wished_differs_in_nothing(box: Box, mail: str):  # noqa: F811
    assert asked(box, "out = found(), [one.name for one in strangers()]") == [{}, []]


CHANGES = {
    "memory, for good": ("virsh('setmem', 'Mail', '48M', '--config')", {"memory": ["64 MB", "48 MB"]}, True),
    "memory, right now": ("virsh('setmem', 'Mail', '48M', '--live')", {"memory now": ["64 MB", "48 MB"]}, True),
    "vCPUs": ("Path('/root/changed.xml').write_text(virsh('dumpxml', 'Mail').replace('>1</vcpu>', '>3</vcpu>'))\nvirsh('define', '/root/changed.xml')", {"vCPUs": ["1", "3"]}, True),
    "membership": (
        "from machines.kinds import spec_of\nfor one in spec_of(machine('Mail'), config).members: ran(*one.remove)",
        {"membership": None}, False,
    ),
    "files": (
        "Path(config.state, 'ethers', 'zDominig', 'Mail').unlink(); Path(config.state, 'hosts', 'zDominig', 'Mail').write_text('10.10.2.9 Mail\\n')",
        {"lease file": None, "DNS file": None}, False,
    ),
    "host start": ("Path(config.state, 'autostart', str(machine('Mail').uuid)).unlink()", {"host start": None}, False),
    "its interface": (
        "xml = virsh('dumpxml', '--inactive', 'Mail').replace(machine('Mail').mac, '02:00:00:00:00:09')\nPath('/root/changed.xml').write_text(xml)\nvirsh('define', '/root/changed.xml')",
        {"network interface": None}, False,
    ),
}  # fmt: skip


@pytest.mark.parametrize("changed", CHANGES)
def test_what_somebody_changed_by_hand_is_named_and_put_back(changed: str, box: Box, mail: str):  # noqa: F811
    change, named, adoptable = CHANGES[changed]
    code = f"{change}\nbefore = found()\nitems = machine('Mail').drift['items']\njob = settled('restore')\nout = before, [bool(i['adopt']) for i in items], job, found(), carried(adopt_services.drift_restore(actor(), machine('Mail'), digest='', approved=True))['state']"
    before, can, job, after, again = asked(box, code)
    assert set(before) == set(named), before
    assert all(named[what] in (None, before[what]) for what in named)
    assert all(each == adoptable for each in can)
    assert job["state"] == "done", job
    assert after == {}
    assert again == "nothing"


def test_what_was_found_becomes_the_wish(box: Box, mail: str):  # noqa: F811
    found = asked(
        box,
        """
virsh("setmem", "Mail", "48M", "--config")
Path("/root/changed.xml").write_text(virsh("dumpxml", "Mail").replace(">1</vcpu>", ">2</vcpu>"))
virsh("define", "/root/changed.xml")
found()
job = settled("adopt")
m = machine("Mail")
left = found()
started = carried(services.machine_reboot(actor(), m))["state"]
out = job["state"], m.memory_mib, m.vcpus, left.get("memory"), left.get("vCPUs"), started, found()
""",
    )
    assert found == ["done", 48, 2, None, None, "done", {}]


def test_what_is_ignored_stays_quiet_until_something_else_differs(box: Box, mail: str):  # noqa: F811
    quiet, loud = asked(
        box,
        """
from machines.scenes import scenes
def drifted():
    found()
    return scenes(User.objects.get(username="fulup"), [machine("Mail")])[0].drifted
virsh("setmem", "Mail", "48M", "--config")
found()
adopt_services.drift_ignore(actor(), machine("Mail"), digest=machine("Mail").drift["digest"])
quiet = drifted()
virsh("setmem", "Mail", "40M", "--config")
out = quiet, drifted()
settled("restore")
""",
    )
    assert (quiet, loud) == (False, True)


def test_a_machine_whose_row_was_lost_is_adopted_whole(box: Box, mail: str):  # noqa: F811
    lost = asked(
        box,
        """
m = machine("Mail")
answers(m.address, 22, b"SSH")
was = {k: getattr(m, k) for k in ("name", "address", "mac", "vif", "uid_base", "memory_mib", "root_mib", "vcpus", "root_generation", "image_id")} | {"uuid": str(m.uuid)}
before = marks.every(os.open(volumes.path_of(config, "Mail-root"), os.O_RDONLY))
Job.objects.filter(target_kind="machine").delete()
m.delete()
(one,) = strangers()
job = adopted(one)
m = machine("Mail")
now = {k: getattr(m, k) for k in was if k != "uuid"} | {"uuid": str(m.uuid)}
out = {"why": one.why_not, "ours": one.ours, "job": job["state"], "message": job["message"], "done": job["done"], "same": was == now or [was, now], "left": len(strangers()), "drift": found(),
    "adopted": m.adopted, "built": m.built_at is not None, "observed": m.observed, "answers": answers(m.address, 22, b"SSH"),
    "marks": before == marks.every(os.open(volumes.path_of(config, "Mail-root"), os.O_RDONLY)),
    "reboot": carried(services.machine_reboot(actor(), m))["state"]}
""",
    )
    assert lost["ours"], lost
    assert lost["why"] == ""
    assert lost["job"] in ("done", "nothing"), lost
    assert lost["same"] is True
    assert (lost["left"], lost["drift"], lost["adopted"], lost["built"], lost["observed"]) == (
        0,
        {},
        True,
        True,
        "running",
    )
    assert lost["answers"]
    assert lost["marks"]
    assert lost["reboot"] == "done"


def test_a_volume_without_its_mark_is_not_taken_for_its_own(box: Box, mail: str):  # noqa: F811
    why, refused = asked(
        box,
        """
m = machine("Mail")
row = {f.name: getattr(m, f.name) for f in Machine._meta.concrete_fields}
Job.objects.filter(target_kind="machine").delete()
m.delete()
path = volumes.path_of(config, "Mail-root")
mark = os.getxattr(path, "user.fridu.machine")
os.setxattr(path, "user.fridu.machine", b"00000000-0000-0000-0000-000000000000")
(one,) = strangers()
try:
    adopted(one)
    refused = ""
except Exception as error:
    refused = str(error)
os.setxattr(path, "user.fridu.machine", mark)
Machine.objects.create(**row)
out = one.why_not, refused
""",
    )
    assert "not marked as its own" in why
    assert "can't be adopted" in refused


FOREIGN = """
<domain type="lxc"><name>Old</name><uuid>6b1b36c5-3a7f-4ad1-9c3f-0d7a0f1f6c11</uuid>
<memory unit="MiB">32</memory><vcpu>1</vcpu><os><type>exe</type><init>/bin/busybox</init><initarg>sleep</initarg><initarg>600</initarg></os>
<devices><filesystem type="mount"><source dir="/srv/old"/><target dir="/"/></filesystem>
<interface type="bridge"><mac address="02:00:00:00:00:42"/><source bridge="{bridge}"/><target dev="frold"/></interface>
<console type="pty"/></devices></domain>
"""


def test_a_machine_something_else_made_is_adopted_as_it_is(box: Box):  # noqa: F811
    found = asked(
        box,
        f"""
zone = Zone.objects.get(name="zDominig")
Path("/srv/old/bin").mkdir(parents=True, exist_ok=True)
Path("/srv/old/bin/note").write_text("theirs")
Path("/root/old.xml").write_text({FOREIGN!r}.replace("{{bridge}}", zone.bridge))
virsh("define", "/root/old.xml")
xml = virsh("dumpxml", "--inactive", "Old")
(one,) = strangers()
likely = adopt_services.likely(one)
job = adopted(one, address="10.10.2.42")
m = machine("Old")
out = {{"zone": likely[0].name, "ours": one.ours, "why": one.why_not, "job": job["state"], "message": job["message"] + job["note"], "stages": job["stages"],
    "image": m.image.name, "family": m.image.family, "vif": m.vif, "drift": found("Old"), "same": xml == virsh("dumpxml", "--inactive", "Old"),
    "lease": Path(config.state, "ethers", "zDominig", "Old").read_text(), "again": carried(adopt_services.drift_restore(actor(), m, digest=""))["state"],
    "deleted": delete("Old")["state"], "theirs": Path("/srv/old/bin/note").read_text()}}
""",
    )
    assert (found["zone"], found["ours"], found["why"]) == ("zDominig", False, "")
    assert found["job"] == "done", found
    assert set(found["stages"]) <= {"updateether", "createvmconf"}
    assert (found["image"], found["family"], found["vif"]) == ("as-found", "other", "frold")
    assert found["drift"] == {}
    assert found["same"]
    assert found["lease"] == "02:00:00:00:00:42,10.10.2.42,Old\n"
    assert found["again"] == "nothing"
    assert found["theirs"] == "theirs"
