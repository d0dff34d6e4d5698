"""Several files of one box taken over together: rule files become wishes, its machines kept entries.

Rule files are read as one, in the order given. Bridges of Xen's own configuration that no zone has become isolated
zones. Everything is shown first; then, confirmed, all of it is saved or nothing.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, replace

from django.core.exceptions import ValidationError
from django.db import transaction

from accounts.doors import check
from audit.log import Actor
from dom0.errors import Refused
from firewall import imports
from firewall.findings import Finding
from firewall.imports import ImportReport
from firewall.takeover import content, reading
from firewall.takeover.box import Bridge
from firewall.takeover.reading import Found, Known, Takeover
from hosts.models import Host, Job
from machines.expected import Entry, entries_keep, known_of
from machines.models import SiteDefaults
from machines.services import defaults_change

Files = Sequence[tuple[str, str]]
MEMORY = range(16, 1 << 20)


@dataclass(frozen=True, kw_only=True)
class Said:
    """A line of a file somebody has to read, with what is said about it."""

    file: str
    number: int
    text: str
    findings: tuple[Finding, ...]


@dataclass(frozen=True, kw_only=True)
class BundleReport:
    """What the files say and what would become (or became) of them.

    `text` is what is read as rules, zones made of bridges included. `memory_mib` is the new default for machines,
    None where it stays; `jobs` are all that were asked for.
    """

    rules: ImportReport
    box: Takeover
    lines: tuple[Said, ...]
    text: str = ""
    memory_mib: int | None = None
    jobs: tuple[Job, ...] = ()

    @property
    def machines(self) -> tuple[Found, ...]:
        """The machines that would be kept: those the panel does not have yet."""
        return tuple(each for each in self.box.machines if not each.known)

    @property
    def made(self) -> tuple[str, ...]:
        """All that would be new, in words."""
        memory = [f"the site's default memory, {self.memory_mib} MB"] if self.memory_mib else []
        kept = [f"machine {m.name} kept at {m.address} in {m.zone}, {m.mac or 'no MAC'}" for m in self.machines]
        return (*self.rules.made, *kept, *memory)

    @property
    def does_something(self) -> bool:
        """Whether saving it would change anything."""
        return bool(self.made) or self.rules.does_something


def preview(
    host: Host, files: Files, *, answers: Mapping[str, str] | None = None, exact: bool = False, viewer: str = ""
) -> BundleReport:
    """Read files for a host and say what they would make; nothing is saved."""
    known = {name: Known(address=address, mac=mac) for name, (address, mac) in known_of(host).items()}
    text, parts = _rules(files)

    def look(rules: str) -> tuple[ImportReport, Takeover]:
        report = imports.preview(host, rules, answers=answers, exact=exact, viewer=viewer)
        site = report.merged.site if report.merged else report.site
        prefix = host.facts.get("vif_prefix", "fr")
        return report, reading.read(files, site, known=known, vif_prefix=prefix)

    report, box = look(text)
    if box.bridges:
        text = "\n".join([text, *(_zone_line(bridge) for bridge in box.bridges)])
        report, box = look(text)
    lines = tuple(_lines(files, parts, report, box))
    return BundleReport(rules=report, box=box, lines=lines, text=text, memory_mib=_memory(host, box))


def take_over(
    actor: Actor,
    host: Host,
    files: Files,
    *,
    answers: Mapping[str, str] | None = None,
    exact: bool = False,
    approved: bool = False,
) -> BundleReport:
    """Save what the files say: wishes with their jobs, kept entries, the default memory. All or nothing.

    Raises Refused with the first thing in the way, PermissionDenied.
    """
    check(actor, imports.ACTION)
    with transaction.atomic():
        report = preview(host, files, answers=answers, exact=exact)
        rules = report.rules
        if report.text.strip():
            rules = imports.import_rules(actor, host, report.text, answers=answers, approved=approved, exact=exact)
        jobs = list(rules.jobs)
        entries = [_entry(each) for each in report.machines]
        if entries and (job := entries_keep(actor, host, entries, reason=imports.REASON, approved=approved)):
            jobs.append(job)
        if report.memory_mib:
            _set_memory(actor, host, report.memory_mib)
    return replace(report, rules=rules, jobs=tuple(jobs))


def _rules(files: Files) -> tuple[str, list[tuple[str, int]]]:
    """The rule files as one text, and on how many lines each of them stands."""
    found = [(name, text.replace("\r\n", "\n")) for name, text, kind in content.sort_out(files) if kind == "rules"]
    if not found and len(files) == 1 and content.kind_of(files[0][1]) == "unknown":
        # A file with nothing known in it is read as rules: each line is answered.
        found = [(files[0][0], files[0][1].replace("\r\n", "\n"))]
    return "\n".join(text for _, text in found), [(name, text.count("\n") + 1) for name, text in found]


def _zone_line(bridge: Bridge) -> str:
    """The bridge as an isolated zone of its own name."""
    return f"CreateZone NAME={bridge.name} NIC=none EXT=none BR={bridge.name} INT={bridge.gateway} MASK={bridge.mask}"


def _lines(files: Files, parts: list[tuple[str, int]], report: ImportReport, box: Takeover) -> Iterator[Said]:
    """What is said, by file and line; of the zones made of bridges too."""
    source = {name[:100]: text.replace("\r\n", "\n").split("\n") for name, text in files}
    by_place: dict[tuple[str, int], list[Finding]] = {}
    for finding in report.findings:
        file, number = _place(parts, finding.line)
        by_place.setdefault((file, number), []).append(finding)
    as_rules = {name for name, _ in parts}
    for told in box.told:
        if told.file not in as_rules:
            by_place.setdefault((told.file, told.finding.line), []).append(told.finding)
    order = [name[:100] for name, _ in files]
    for (file, number), findings in sorted(
        by_place.items(), key=lambda item: (order.index(item[0][0]) if item[0][0] in order else -1, item[0][1])
    ):
        lines = source.get(file, [])
        text = lines[number - 1].strip()[:300] if 0 < number <= len(lines) else ""
        yield Said(file=file, number=number, text=text, findings=tuple(findings))


def _place(parts: list[tuple[str, int]], line: int) -> tuple[str, int]:
    """File and line of a line of the joined text; of one that was added: no file."""
    for name, count in parts:
        if line <= count:
            return name[:100], line
        line -= count
    return "", line


def _memory(host: Host, box: Takeover) -> int | None:
    """The default memory the box's configuration names, where it is another than the site's."""
    said = next((s.value for s in box.settings if s.key == "vmram"), "")
    defaults = SiteDefaults.objects.filter(host=host).first()
    if not said.isascii() or not said.isdigit() or len(said) > 7 or int(said) not in MEMORY or defaults is None:
        return None
    return int(said) if int(said) != defaults.memory_mib else None


def _set_memory(actor: Actor, host: Host, memory_mib: int) -> None:
    now = SiteDefaults.objects.select_related("image").get(host=host)
    try:
        defaults_change(actor, host, image=now.image, memory_mib=memory_mib, root_mib=now.root_mib, vcpus=now.vcpus)
    except ValidationError as error:
        raise Refused(f"The site's defaults: {' '.join(error.messages)}", note="Nothing was saved.") from error


def _entry(found: Found) -> Entry:
    facts = asdict(found.guest) if found.guest else {}
    return Entry(name=found.name, address=found.address, mac=found.mac, zone=found.zone, source=found.file, facts=facts)
