"""Entries in words: "fulup asked to create machine Choir", "dominig tried to see machine 7"."""

from __future__ import annotations

from audit.models import Entry

# action → (what somebody may want to do, what he did); "{}" is the object.
DEEDS: dict[str, tuple[str, str]] = {
    "account.login": ("sign in as {}", "signed in"),
    "account.logout": ("sign out", "signed out"),
    "account.own": ("change their account", "changed their account"),
    "account.password": ("change the password of {}", "changed the password of {}"),
    "account.reauthenticate": ("confirm with the password", "confirmed with the password"),
    "account.key_add": ("add an SSH key of {}", "added an SSH key of {}"),
    "account.key_remove": ("remove an SSH key of {}", "removed an SSH key of {}"),
    "people.view": ("see people: {}", "saw people"),
    "people.change": ("change people: {}", "changed people"),
    "people.invite": ("invite {}", "invited {}"),
    "people.create": ("create {}", "created {}, with a one-time password"),
    "people.accept": ("accept the invitation", "accepted the invitation"),
    "people.link": ("make a new link for {}", "made a new one-use link for {}"),
    "people.role": ("give {} another role", "gave {} another role"),
    "people.deactivate": ("deactivate {}", "deactivated {}"),
    "people.activate": ("let {} in again", "let {} in again"),
    "owner.create": ("create {}", "created {}"),
    "owner.member_add": ("add a member to {}", "added a member to {}"),
    "owner.member_remove": ("remove a member of {}", "removed a member of {}"),
    "audit.lock": ("put the log's triggers back", "put the log's triggers back: some were missing"),
    "audit.view": ("read the audit log: {}", "read the audit log"),
    "admin.view": ("see the Django admin: {}", "saw the Django admin"),
    "overview.view": ("see the overview", "saw the overview"),
    "job.approve": ("approve the plan for {}", "approved the plan for {}"),
    "job.cancel": ("cancel the job for {}", "cancelled the job for {}"),
    "job.go_on": ("go on with the job for {}", "went on with the job for {}"),
    "machine.console": ("use the console of {}", "opened the console of {}"),
    "machine.key": ("choose the SSH keys on {}", "chose the SSH keys on {}"),
    "machine.change": ("change {}", "changed {}"),
    "machine.limits": ("set the limits of {}", "set the limits of {}"),
    "machine.expect": ("change the {}", "changed the {}"),
    "machine.password": ("set a one-time root password on {}", "set a one-time root password on {}"),
    "machine.pause": ("pause {}", "paused {}"),
    "machine.resume": ("let {} go on", "let {} go on"),
    "machine.doctor": ("diagnose {}", "diagnosed {}"),
    "machine.check": ("check the filesystem of {}", "checked the filesystem of {}"),
    "machine.rescue": ("start {} from a rescue image", "started {} from a rescue image"),
    "machine.adopt": ("adopt {}", "adopted {}"),
    "machine.drift": ("settle what differs of {}", "settled what differs of {}"),
    "host.doctor": ("diagnose {}", "diagnosed {}"),
    "machine.reinstall": ("reinstall {}", "reinstalled {}"),
    "snapshot.view": ("see the snapshots of {}", "saw the snapshots of {}"),
    "snapshot.take": ("take a snapshot of {}", "took a snapshot of {}"),
    "snapshot.restore": ("restore {} to a snapshot", "restored {} to a snapshot"),
    "snapshot.delete": ("delete a snapshot of {}", "deleted a snapshot of {}"),
    "snapshot.expire": ("have an expired snapshot of {} removed", "had an expired snapshot of {} removed"),
    "snapshot.grow": ("have the {} given more room", "had the {} given more room"),
    "machine.reboot": ("restart {}", "restarted {}"),
    "policy.change": ("change who may reach whom: {}", "changed who may reach whom: {}"),
    "firewall.view": ("see the firewall: {}", "saw the firewall"),
    "firewall.try": ("try {}", "tried {}"),
    "firewall.apply": ("apply the {}", "applied the {}"),
    "firewall.confirm": ("keep the {} on trial", "kept the {} on trial"),
    "firewall.return": ("take back the {} on trial", "took back the {} on trial"),
    "firewall.probe": ("try a packet: {}", "tried a packet: {}"),
    "firewall.stop": ("close the {} but for SSH", "closed the {} but for SSH"),
    "firewall.restore": ("load the rules again: {}", "loaded the rules again: {}"),
    "firewall.adopt": ("take over what differs: {}", "took over what differs: {}"),
    "vpn.view": ("see the admin VPN: {}", "saw the admin VPN"),
    "vpn.change": ("change the admin VPN's peers: {}", "changed the admin VPN's peers: {}"),
    "address.add": ("put {} on its card", "put {} on its card"),
    "address.remove": ("take {} off its card", "took {} off its card"),
    "firewall.import": ("import a rule file: {}", "imported a rule file: {}"),
    "image.make": ("have {} made", "had {} made"),
    "image.kernel": ("take a kernel out of {}", "took a kernel out of {}"),
    "machine.stages": ("do stages of {} again", "did stages of {} again"),
    "defaults.change": ("change what new machines get on {}", "changed what new machines get on {}"),
}
# The second half of any other action.
VERBS: dict[str, tuple[str, str]] = {
    "view": ("see {}", "saw {}"),
    "create": ("create {}", "created {}"),
    "add": ("add {}", "added {}"),
    "change": ("change {}", "changed {}"),
    "apply": ("apply {}", "applied {}"),
    "delete": ("delete {}", "deleted {}"),
    "remove": ("remove {}", "removed {}"),
    "start": ("start {}", "started {}"),
    "stop": ("stop {}", "stopped {}"),
    "publish": ("publish {}", "published {}"),
    "unpublish": ("unpublish {}", "unpublished {}"),
}
SILENT_KINDS = ("", "diagnosis", "user", "owner", "host", "firewall", "firewall stop", "own rules")


def deed(entry: Entry) -> str:
    """What the entry's actor did or wanted, to be read after the name."""
    verb = entry.action.partition(".")[2]
    wish, past = DEEDS.get(entry.action) or VERBS.get(verb) or (f"{entry.action}: {{}}", f"{entry.action}: {{}}")
    # The object's text is somebody's typing: put in last, never formatted itself.
    said = {
        _asked(entry): f"asked to {wish}",
        entry.outcome == Entry.Outcome.NOTHING: f"wanted to {wish}; it was so already",
        entry.outcome == Entry.Outcome.REFUSED: f"tried to {wish}",
        entry.outcome == Entry.Outcome.FAILED: f"failed to {wish}",
    }.get(True, past)
    return said.replace("{}", _thing(entry)).rstrip(": ")


def outcome(entry: Entry) -> tuple[str, str]:
    """The mark and the word of how it ended."""
    if _asked(entry):
        return "busy", "asked for"
    if entry.data.get("state") == "drifted":
        return "wait", "drifted"
    mark = {Entry.Outcome.DONE: "run", Entry.Outcome.NOTHING: "run"}.get(Entry.Outcome(entry.outcome), "bad")
    return mark, entry.get_outcome_display()


def _asked(entry: Entry) -> bool:
    """Whether the entry is a job's beginning: what came of it stands in another."""
    return entry.job is not None and "asked" in entry.data


def _thing(entry: Entry) -> str:
    text = entry.object_text or entry.object_id
    silent = entry.object_kind in SILENT_KINDS or text.startswith("/")
    return text if silent else f"{entry.object_kind} {text}"
