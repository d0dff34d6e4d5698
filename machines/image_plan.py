"""From what is wished of an image to the steps on its host. Pure."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass

from dom0.errors import Refused
from dom0.plan import Draft, Plan
from dom0.state import State
from dom0.steps import Drop, Hand, Put, RemoveFile, Step


@dataclass(frozen=True, kw_only=True)
class Wanted:
    """An image to be made: `archive` is its file, `note` the file that says it is done, on the host.

    It comes from `file` of the imports folder, from `upload` of the panel's spool, `size` bytes long,
    or is built as Debian's `suite`.
    """

    name: str
    archive: str
    note: str
    file: str = ""
    upload: str = ""
    size: int = 0
    suite: str = ""
    devices: bool = False


def plan_make(wanted: Wanted, state: State) -> Plan:
    """Steps after which the archive is in the images folder and its golden filesystem made."""
    draft = Draft(state)
    if wanted.archive in state.archives:
        draft.so("archive", f"{wanted.archive} is in the images folder")
    elif wanted.suite:
        _archive(draft, wanted, f"Have mmdebstrap build {wanted.suite}", "image-build", 60.0, ("suite", wanted.suite))
    elif wanted.upload:
        says = f"Take the upload over into the images folder, as {wanted.archive}"
        what = (("file", wanted.upload), ("size", str(wanted.size)))
        _archive(draft, wanted, says, "image-upload", 1.0, *what)
    else:
        says = f"Take {wanted.file} out of the imports folder, as {wanted.archive}"
        _archive(draft, wanted, says, "image-take", 1.0, ("file", wanted.file))
    if wanted.note in state.files:
        draft.so("image", f"The golden filesystem of {wanted.name} is made")
        return draft.plan()
    devices = (("devices", "yes"),) if wanted.devices else ()
    draft.do(
        Step(
            stage="image",
            title=f"Check {wanted.archive}, find its family and size, make the golden filesystem of {wanted.name}",
            action=Hand(verb="image-make", args=(("archive", wanted.archive), *devices)),
            effect=(Put(room="files", key=wanted.note, value=""),),
            about_s=4.0,
        )
    )
    return draft.plan()


def _archive(draft: Draft, wanted: Wanted, says: str, verb: str, about_s: float, *args: tuple[str, str]) -> None:
    action = Hand(verb=verb, args=(*args, ("archive", wanted.archive)))
    effect = (Put(room="archives", key=wanted.archive, value=0),)
    relies = (("archives", wanted.archive),)
    draft.do(Step(stage="archive", title=says, action=action, effect=effect, relies_on=relies, about_s=about_s))


def plan_kernel(state: State, *, archive: str, digest: str, kernel: str, name: str, note: str, pv: bool) -> Plan:
    """Steps after which the image's `kernel` and its initrd lie in the kernels folder, as NAME-KERNEL."""
    draft = Draft(state)
    if state.files.get(note) == digest:
        draft.so("kernel", f"{kernel} of {name} is in the kernels folder")
        return draft.plan()
    xen = (("pv", "yes"),) if pv else ()
    args = (("archive", archive), ("digest", digest), ("kernel", kernel), ("name", name), *xen)
    title = f"Take {kernel} and its initrd out of {archive}, and check that it is a kernel"
    effect = (Put(room="files", key=note, value=digest),)
    draft.do(Step(stage="kernel", title=title, action=Hand(verb="kernel-extract", args=args), effect=effect))
    return draft.plan()


@dataclass(frozen=True, kw_only=True)
class Unwanted:
    """An image to go: paths of its archive, of the note beside it, of its golden filesystem and of that one's facts.

    `shared`: what of "archive" and "golden" another image uses too, and stays.
    """

    name: str
    archive: str
    archive_path: str
    note: str
    digest: str
    golden_path: str
    facts: str
    shared: Collection[str] = ()


def plan_delete(gone: Unwanted, state: State) -> Plan:
    """Steps after which nothing of the image is left on the host but what others share."""
    draft = Draft(state)
    if "golden" in gone.shared:
        draft.so("image", "Another image has the same content; its golden filesystem stays")
    elif gone.digest:
        _remove(draft, "files", gone.facts, gone.facts)
        _remove(draft, "goldens", gone.digest, gone.golden_path)
        _remove(draft, "goldens", f"{gone.digest}.ext3", f"{gone.golden_path.removesuffix('.ext4')}.ext3")
    if "archive" in gone.shared:
        draft.so("archive", f"Another image is made from {gone.archive}; it stays")
        return draft.plan()
    _remove(draft, "files", gone.note, gone.note)
    _remove(draft, "archives", gone.archive, gone.archive_path, f"The archive {gone.archive} is lost for good.")
    return draft.plan()


def _remove(draft: Draft, room: str, key: str, path: str, destroys: str = "") -> None:
    if key not in getattr(draft.state, room):
        return
    effect = (Drop(room=room, key=key),)
    draft.do(
        Step(
            stage="image",
            title=f"Remove {path}",
            action=RemoveFile(path=path),
            effect=effect,
            relies_on=((room, key),) if destroys else (),
            destroys=destroys,
        )
    )


def refuse_needed(name: str, machines: Collection[str], *, default: bool) -> None:
    """Raises Refused while machines come from the image, or new ones would."""
    by = [f"machine {machine}" for machine in sorted(machines)[:5]]
    if len(machines) > 5:
        by.append(f"{len(machines) - 5} more")
    if default:
        by.append("the defaults of new machines")
    if by:
        raise Refused(
            f"{name} is still needed by {', '.join(by)}.",
            note="Nothing was changed. Delete or reinstall those, or choose another default, then delete the image.",
        )
