"""What is typed: verbs, options, mistakes and their exit codes."""

from __future__ import annotations

import pytest
from django.core.management import call_command

from fridu_site.cli.call import Misunderstood, parse
from hosts.models import Job
from machines.models import Machine

pytestmark = pytest.mark.django_db


MISTAKES = {
    "create vmname=a": (2, "create needs vmip, for example: fridu create vmname=xen-test vmip=10.10.1.4"),
    "create vmname=a vmip=10.10.1.4 vmcolour=red": (2, "create knows no vmcolour. It takes vmname, vmip"),
    "create vmname=a vmip=10.10.1.4 vmram=much": (2, "vmram=much is no size"),
    "create vmname=a vmip=nowhere": (2, "vmip=nowhere is no address"),
    "create vmname=a vmip=10.99.1.4": (1, "No zone holds 10.99.1.4.\nNote: The zones are zFulup (10.10.1.0/24)"),
    "create vmname=a vmip=10.10.1.4 zone=zNo": (1, "There is no zone called zNo"),
    "create vmname=a vmip=10.10.1.4 owner=No": (1, "There is no owner called No"),
    "create vmname=a vmip=10.10.1.4 image=No": (1, "ns3100421 has no image called No.\nNote: It has tiny."),
    "create vmname=a vmip=10.10.1.4 keys=No": (1, "fulup has no such key"),
    "create vmname=a'b vmip=10.10.1.4": (1, "vmname: Use 1 to 31 letters"),
    "create vmname=a vmip=10.10.1.1": (1, "FATAL vmip: "),
    "create vmname=a vmip=10.10.2.2": (1, "FATAL vmip: "),
    "destroy everything": (2, "fridu does not know destroy. It knows create, start"),
    "start": (2, "start needs a machine's name"),
    "start Mail": (1, "There is no machine called Mail."),
    "start WEB-Dom vmip=1": (2, "start takes no vmip="),
    "start WEB-Dom --colour": (2, "Unrecognized arguments: --colour"),
    "start WEB-Dom --cancel": (2, "start takes no --cancel; a job does: fridu job NUMBER --cancel"),
    "stop WEB-Dom --go-on": (2, "stop takes no --go-on"),
    "job 1 --cancel --yes": (2, "--cancel calls a job off; it goes with neither --yes nor --go-on."),
    "job x": (2, "job=x is no number"),
    "job 99": (1, "There is no job 99."),
    "firewall open": (2, "firewall does not know open"),
    "import /no/such/file": (1, "There is no file /no/such/file."),
    "import /etc/hosts/no": (1, "There is no file /etc/hosts/no."),
    "import /": (1, "/ is a folder."),
    "import /bin/true": (1, "/bin/true is no plain text."),
    "import /proc/self/mem": (1, "/proc/self/mem can't be read: input/output error."),
    "start WEB-Dom --as nobody": (1, "The panel has no active user called nobody"),
    "jobs --host nowhere --as": (2, "expected one argument"),
}


@pytest.mark.parametrize(("line", "because"), MISTAKES.items())
def test_a_mistake_gets_fatal_a_note_and_its_exit_code(run, web_dom, line, because):
    machines = Machine.objects.count()
    code, said = run(line)
    assert because[1] in said
    assert said.startswith("FATAL ")
    assert code == because[0]
    assert Machine.objects.count() == machines
    assert not Job.objects.exists()


def test_help_lists_every_verb(run):
    code, said = run("help")
    assert code == 0
    for verb in (
        "create vmname=",
        "start|stop|reboot|delete",
        "import FILE",
        "job NUMBER --yes",
        "job NUMBER --cancel",
        "job NUMBER --go-on",
        "firewall dump",
        "createoperator",
        "audit",
    ):
        assert verb in said


def test_options_may_stand_anywhere_and_values_may_hold_anything():
    typed = parse(["--yes", "create", "vmname=a", "--reason", "for the choir", "vmip=10.10.1.4", "owner=x=y"])
    assert (typed.verb, typed.yes, typed.reason) == ("create", True, "for the choir")
    assert typed.pairs == {"vmname": "a", "vmip": "10.10.1.4", "owner": "x=y"}
    with pytest.raises(Misunderstood):
        parse(["--no-such"])


def test_audit_verify_and_createoperator_are_there(run, capsys):
    code, said = run("audit verify")
    assert code == 0
    assert "Chain unbroken" in said
    code, said = run("createoperator erwan")
    assert code == 0
    assert "erwan is an operator now" in said
    assert run("createoperator erwan")[0] == 1
    assert run("createoperator")[0] in (1, 2)


def test_as_a_management_command_it_ends_with_the_same_code(fulup):
    with pytest.raises(SystemExit) as ended:
        call_command("fridu")
    assert ended.value.code == 0
