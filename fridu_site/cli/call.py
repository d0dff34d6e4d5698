"""What was typed: verb, words, key=value pairs, options."""

from __future__ import annotations

import argparse
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import TextIO

from django.core.exceptions import PermissionDenied

from accounts.access import may, may_somewhere
from accounts.models import User
from audit.log import Actor

USAGE = """fridu VERB [key=value …] [--as USER] [--yes] [--verbose] [--reason TEXT] [--host NAME]

  create vmname=NAME vmip=ADDRESS [vmram=MB] [vmroot=MB|5G] [vcpus=N] [zone=] [owner=] [image=] [keys=] [verbose=1]
         [vmswap=MB] [vmlog=MB] [lvmvg=GROUP|none] [fs=ext4|ext3] [boot=host|image|grub] [kernel=FILE]
         [autostart=yes|no] [order=N]
                          make a machine; the zone is found by the address, all else comes from the site's defaults
         [STAGE=yes|no|force|only …]
                          lvmcreate fscreate installroot tuneroot updateether createvmconf start, in this order:
                          yes does it unless it is done, no leaves it out, force does it again, only does it alone;
                          create vmname=NAME STAGE=… does the stages of a machine that exists again
  start|stop|reboot|delete NAME
  stop NAME --force       end it as if its power was cut; without, it is asked to power off and may take its time
  figures NAME            what it uses now, on average, at most: of the last hour and day
  pause|resume NAME       let it stand still with its memory kept; let it go on
  snapshot take NAME LABEL [expires=7d|12h|2027-01-31] [note=] [room=MB]
                          keep its root as it is now; room= for what changes later, in a volume group (else: for all)
  snapshot list NAME      ; snapshot restore|delete NAME LABEL: what was written since is lost; that one is gone
  reinstall NAME [image=] [password=yes]
                          its root anew, from its image or another; name, address, keys and services stay
  change NAME [vmram=MB] [vcpus=N] [vmroot=MB|5G] [vmswap=] [vmlog=] [vmname=] [zone=] [vmip=] [owner=]
              [autostart=yes|no] [order=100] [on_crash=restart|destroy|preserve] [boot=host|image|grub] [kernel=]
                          change a machine that exists: before and after, then the plan; volumes only grow, memory at
                          once where it can; a new name, zone or address powers it off and starts it again
  limits NAME [netin=10M] [netout=10M] [share=2M] [cpuweight=512] [cpucap=50] [diskbw=10M] [iops=200]
                          what it may take, and what it is sure of in its zone; none takes a limit off; alone: as it is
  import FILE… [NAME=VALUE …] [exact=yes]
                          read a rule file, show what it would make, ask, then save it (--yes: without asking);
                          a NAME=VALUE answers what the file leaves open, exact=yes also takes out what it lacks;
                          with hosts, ethers, Fridu-lvm.config, xend-config.sxp and Xen guests' files: a whole box
  firewall show           what is live, on trial, not applied, and what differs on the host
  firewall check          the wishes linted and loaded in a scratch namespace on the host; nothing is changed
  firewall apply [--confirm-within SECONDS]
                          put the wishes on the host, on trial (60 s); then keep them, or the host goes back by itself
  firewall confirm        keep the revision on trial
  firewall rollback [NUMBER]
                          return from the revision on trial; with a number, try that former one again
  firewall stop --reason TEXT
                          closed but SSH, at once; on dom0 without panel and database: bin/fridu-hand firewall-stop
  firewall dump|export    the policy as commands; as a rule file
  rules                   the operators' own rules, with their numbers
  rules add place=PLACE rule='-p tcp --dport 9100 -j ACCEPT' [expires=2027-01-31] --reason TEXT
  rules change NUMBER [place=] [rule=] [expires=|none] [--reason TEXT]
                          the host tries the new text first; until it is found to load, the rule stays as it is
  rules remove NUMBER     take it out of the wishes
  explain FROM TO tcp|udp PORT [probe=yes]
                          can FROM reach TO, and why (not); FROM: internet, vpn, dom0 or a machine; ping needs no port;
                          probe=yes has the host try it through a copy of its live rules
  reach                   who reaches whom, all objects taken together
  zones                   every zone; zone show NAME: who is expected there, and who has which lease
  zone create name=NAME net=10.10.4.0/24 [external=ADDRESS|none] [domain=] [bridge=] [in=10M] [out=10M]
              [lease=10.10.4.100-10.10.4.150]
                          also as a rule file has it: CreateZone NAME=… EXT=… BR=… INT=… MASK=…
  zone change NAME [net=] [external=] [domain=] [in=] [out=] [lease=]
                          another net= first lists every machine and service that moves; none takes a value away
  zone apply|delete NAME  mend what somebody changed by hand on the host; remove a zone nobody lives in
  address                 the external addresses, and whether they are on their cards
  address add|remove ADDRESS [nic=]
                          where the host file allows it (may_add); otherwise what to type there
  image                   the images, the files that could become one, the kernels
  image add NAME file=FILE|suite=SUITE [devices=yes]
                          one of the host's imports folder, or built by mmdebstrap
  image delete NAME       ; image kernel NAME KERNEL takes a kernel out of one, for Xen
  vpn                     the admin VPN's peers
  vpn add NAME [user=] [address=]
                          let a user's device in; revoke NAME puts it out; write brings OpenVPN's whole list in line
  adopt [NAME] [zone=] [owner=] [vmip=]
                          machines on the host that are not in the panel; with a name: look after it from now on
  drift NAME [restore|adopt|ignore]
                          what differs on the host from the wish, and what shall become of it
  rescue NAME [image=] | rescue NAME --end
                          start it from a throw-away root, its own volumes beside it (lxc: below /mnt); and back
  check NAME [repair]     the filesystem of a machine that is off; repair mends what needs no question
  doctor [NAME]           why a machine can't be reached, one finding after the other; without NAME the host's health
  jobs                    the latest jobs
  job NUMBER              one job: its plan, its steps; asks about one that waits for approval
  job NUMBER --yes        approve the plan that waits
  job NUMBER --cancel     call off one that has not begun
  job NUMBER --go-on      go on with one that stopped
  createoperator NAME     a new operator with a one-time password
  audit verify            walk the log's chain

Beside running demos, first of all: --demo NAME, or FRIDU_DEMO=NAME, says which is meant.
Ends with 0 when what was asked is so, 1 when it was refused or failed, 2 for a command it does not understand."""

# What terminals act upon (C0 and C1 without tab and line end), and what turns the reading direction.
_CONTROL = re.compile(r"[\x00-\x08\x0b-\x1f\x7f-\x9f\u202a-\u202e\u2066-\u2069]")
PAIR = re.compile(r"\A([A-Za-z_][A-Za-z0-9_]*)=(.*)\Z", re.DOTALL)


def plain(text: str) -> str:
    """The text as a terminal may get it, whoever wrote it: a guest's volume label stands in e2fsck's complaints."""
    return _CONTROL.sub("\ufffd", text)


class Misunderstood(Exception):
    """The command makes no sense; the message says what would."""


@dataclass(frozen=True, kw_only=True)
class Typed:
    """The command line, taken apart; nobody acts yet."""

    verb: str
    words: tuple[str, ...] = ()
    pairs: Mapping[str, str] = field(default_factory=dict)
    as_user: str = ""
    yes: bool = False
    verbose: bool = False
    go_on: bool = False
    cancel: bool = False
    end: bool = False
    force: bool = False
    reason: str = ""
    host: str = ""
    confirm_within: str = ""


@dataclass(frozen=True, kw_only=True)
class Call:
    """A command with who gives it and where its words go.

    `ask` and `wait` are None where nobody can be asked; `wait` asks until a moment and gives None when it has come.
    """

    typed: Typed
    user: User
    actor: Actor
    out: TextIO
    ask: Callable[[str], str] | None = None
    wait: Callable[[Callable[[int], str], datetime], str | None] | None = None

    def demand(self, action: str, *, anywhere: bool = False) -> None:
        """Raises PermissionDenied where the user may not do `action`; `anywhere`: on no object at all."""
        if not (may_somewhere(self.user, action) if anywhere else may(self.user, action)):
            raise PermissionDenied(f"{self.user} may not do that ({action}).")

    def say(self, text: str = "") -> None:
        """One or more lines. What a rule file or a machine had to say can't move a cursor or set a title with it."""
        print(plain(text), file=self.out, flush=True)

    def word(self, number: int, what: str) -> str:
        """The word at that place. Raises Misunderstood."""
        if len(self.typed.words) <= number:
            raise Misunderstood(f"{self.typed.verb} needs {what}.")
        return self.typed.words[number]


def parse(argv: Sequence[str]) -> Typed:
    """Take a command line apart; options may stand anywhere. Raises Misunderstood."""
    parser = _Parser(prog="fridu", usage=USAGE, add_help=False)
    parser.add_argument("words", nargs="*")
    parser.add_argument("--as", dest="as_user", default="")
    parser.add_argument("--reason", "--why", default="")
    parser.add_argument("--host", default="")
    parser.add_argument("--confirm-within", default="")
    flags = ("--go-on",), ("--cancel",), ("--end",), ("--force",)
    for names in (("--yes", "-y"), ("--verbose", "-v"), *flags, ("--help", "-h")):
        parser.add_argument(*names, action="store_true")
    given = parser.parse_intermixed_args(list(argv))
    words = [word for word in given.words if not PAIR.match(word)]
    pairs = {m[1]: m[2] for word in given.words if (m := PAIR.match(word))}
    if given.help or not words or words[0] == "help":
        return Typed(verb="help")
    return Typed(
        verb=words[0],
        words=tuple(words[1:]),
        pairs={k: v for k, v in pairs.items() if k not in ("verbose", "reason")},
        as_user=given.as_user,
        yes=given.yes,
        verbose=given.verbose or pairs.get("verbose", "0") not in ("0", "no", ""),
        go_on=given.go_on,
        cancel=given.cancel,
        end=given.end,
        force=given.force,
        reason=given.reason or pairs.get("reason", ""),
        host=given.host,
        confirm_within=given.confirm_within,
    )


class _Parser(argparse.ArgumentParser):
    def error(self, message: str) -> None:  # type: ignore[override]
        raise Misunderstood(f"{message[:1].upper()}{message[1:]}.")


def mib(text: str, key: str) -> int:
    """A size in MiB: "512", "512M", "5G". Raises Misunderstood."""
    found = re.fullmatch(r"([0-9]{1,7})([MG]?)(?:i?B)?", text, re.IGNORECASE)
    if not found:
        raise Misunderstood(f"{key}={text} is no size. Say megabytes, such as {key}=512, or {key}=5G.")
    return int(found[1]) * (1024 if found[2].upper() == "G" else 1)


def count(text: str, key: str) -> int:
    """A whole number. Raises Misunderstood."""
    if not re.fullmatch(r"[0-9]{1,9}", text):
        raise Misunderstood(f"{key}={text} is no number. Say for example {key}=1.")
    return int(text)
