"""What is to become of each stage of a creation: the seed's yes, no, force and only. Pure.

yes    do it unless it is done (what nothing else is said of)
no     leave it out; what needs it is refused before anything is done
force  do it again even where it was done
only   do this stage and no other
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from dom0.errors import Refused

STAGES = ("lvmcreate", "fscreate", "installroot", "tuneroot", "updateether", "createvmconf", "start")
MODES = ("yes", "no", "force", "only")
#: Of these, force loses what is on the machine's volumes.
LOSING = ("lvmcreate", "fscreate", "installroot")
#: What each does, for whoever chooses.
SAYS = {
    "lvmcreate": "make the volumes: root, swap, log",
    "fscreate": "format them; a root that gets an image brings its own filesystem",
    "installroot": "copy the image onto the root",
    "tuneroot": "write name, network, keys and password into it",
    "updateether": "tell DHCP, DNS and the firewall",
    "createvmconf": "define it for the hypervisor",
    "start": "start it",
}


@dataclass(frozen=True, kw_only=True)
class Modes:
    """A mode a stage; a stage nothing is said of is "yes". One made by `read` holds "yes", "no" and "force" alone."""

    chosen: Mapping[str, str] = field(default_factory=dict)

    def of(self, stage: str) -> str:
        return self.chosen.get(stage, "yes")

    def does(self, stage: str) -> bool:
        return self.of(stage) != "no"

    def forced(self, stage: str) -> bool:
        return self.of(stage) == "force"

    @property
    def loses(self) -> tuple[str, ...]:
        """The stages whose force costs what is on the volumes."""
        return tuple(stage for stage in LOSING if self.forced(stage))

    @property
    def left_out(self) -> tuple[str, ...]:
        return tuple(stage for stage in STAGES if not self.does(stage))

    @property
    def finishes(self) -> bool:
        """Whether a machine whose stages ended so can be started: each before the start was done, or it runs."""
        return self.does("start") or self.left_out in ((), ("start",))


ALL = Modes()


def read(chosen: Mapping[str, str]) -> Modes:
    """The modes as somebody chose them. Raises Refused for what nobody knows, or can't be both."""
    for stage, mode in chosen.items():
        if stage not in STAGES:
            raise Refused(f"There is no stage {stage[:40]}.", note=f"The stages are {', '.join(STAGES)}.")
        if mode not in MODES:
            raise Refused(f"{stage}={mode[:40]} is none of {', '.join(MODES)}.", note=f"Say for example {stage}=no.")
    alone = [stage for stage, mode in chosen.items() if mode == "only"]
    if not alone:
        return Modes(chosen={stage: mode for stage, mode in chosen.items() if mode != "yes"})
    others = [stage for stage, mode in chosen.items() if mode in ("force", "only") and stage != alone[0]]
    if others:
        raise Refused(
            f"{alone[0]}=only leaves out every other stage, {others[0]}={chosen[others[0]]} asks for one more.",
            note=f"Leave out the rest one by one, for example {others[-1]}=yes and the others =no.",
        )
    return Modes(chosen={stage: "no" for stage in STAGES if stage != alone[0]})
