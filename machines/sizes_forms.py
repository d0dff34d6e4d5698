"""The fields of a machine's volumes, kernel and stages, for a new machine and for what a site gives by default."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any, cast

from django import forms
from django.core.exceptions import ValidationError

from dom0.errors import Refused
from hosts.models import Host
from machines import modes
from machines.models import Boot, SiteDefaults
from machines.size_checks import NO_SWAP, free_memory_mib, free_mib, of_xen, places, shares_kernel
from ui import words

MIB = 1 << 20
FILES = "-"  # image files, where the empty choice means the default
MODES = (
    ("yes", "yes, unless done"),
    ("no", "no, left out"),
    ("force", "force, do it again"),
    ("only", "only this"),
)
NO_DEFAULT = "There is no default; choose one"
Choices = list[tuple[str, str]]


def place_choices(hosts: Sequence[Host], files: str) -> Choices:
    """Where volumes may lie, each with its free room; `files` is the value of the folder of image files, not Xen's."""
    found: dict[str, str] = {}
    for host in hosts:
        of_host = f" on {host}" if len(hosts) > 1 else ""
        for name in (*(() if of_xen(host) else ("",)), *host.facts.get("volume_groups", ())):
            label = f"Volume group {name}{of_host}" if name else f"Image files{of_host}"
            found.setdefault(name or files, f"{label}, {_room(host, name)}")
    return list(found.items())


def _room(host: Host, name: str) -> str:
    free, size = free_mib(host, name), places(host).get(name, {}).get("size_bytes")
    if free is None:
        return "missing now" if name and "places" in host.figures else "free room not known yet"
    return f"{words.size(free * MIB)} free" + (f" of {words.size(size)}" if size else "")


def kernel_choices(hosts: Iterable[Host]) -> Choices:
    """Where a kernel may come from: the hosts' folders, the image, grub inside the machine."""
    names = {str(found["name"]): found for host in hosts for found in host.figures.get("kernels", ())}
    with_initrd = [
        (f"host:{name}", f"{name}{'' if found.get('initrd') else ', without an initrd'}")
        for name, found in sorted(names.items())
    ]
    return [*with_initrd, ("image:", str(Boot.IMAGE.label).capitalize()), ("grub:", str(Boot.GRUB.label).capitalize())]


class ModeField(forms.ChoiceField):
    """Nothing chosen is a choice: yes."""

    depends = True


def stage_fields() -> dict[str, forms.Field]:
    """A select a stage, called as it, with what it does."""
    says = {stage: f"{text[:1].upper()}{text[1:]}." for stage, text in modes.SAYS.items()}
    return {
        stage: ModeField(choices=MODES, required=False, label=stage, help_text=says[stage]) for stage in modes.STAGES
    }


class StagesForm(forms.Form):
    """What is to become of each stage."""

    def __init__(self, *args: Any, chosen: dict[str, str] | None = None, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.fields |= stage_fields()
        for stage in modes.STAGES:
            self.initial.setdefault(stage, (chosen or {}).get(stage, "yes"))

    @property
    def stages(self) -> list[forms.BoundField]:
        return [self[stage] for stage in modes.STAGES]

    def chosen(self) -> dict[str, str]:
        """The stages that are not simply done."""
        return {stage: mode for stage in modes.STAGES if (mode := self.cleaned_data.get(stage) or "yes") != "yes"}

    def clean(self) -> dict[str, Any]:
        data = super().clean() or self.cleaned_data
        try:
            modes.read(self.chosen())
        except Refused as error:
            raise ValidationError(f"{error.message} {error.note}") from error
        return data


class SizesFields(StagesForm):
    """Sizes beside memory and root. `hosts` are those the machine may be made on."""

    volume_group = forms.ChoiceField(required=False, label="Its volumes lie in")
    swap_mib = forms.IntegerField(required=False, min_value=0, max_value=1 << 26, label="Swap, MB")
    log_mib = forms.IntegerField(
        required=False,
        min_value=0,
        max_value=1 << 26,
        label="Log volume, MB",
        help_text="Its /var/log, so that a flood of logs fills no root. 0: none.",
    )
    filesystem = forms.ChoiceField(required=False, label="Filesystem of the root")
    kernel = forms.ChoiceField(required=False, label="Kernel")
    own_kernel = True
    NEEDED = ("image", "volume_group", "kernel")

    def offer(self, hosts: Sequence[Host], defaults: SiteDefaults | None, *, empty: bool) -> None:
        """Fill the choices; with `empty` each has a first one that means the default."""
        self.own_kernel = not hosts or not all(shares_kernel(host) for host in hosts)
        of_group = place_choices(hosts, FILES if empty else "")
        self._choices("volume_group", of_group, self._default(of_group, defaults, "volume_group", empty))
        kinds = [("ext4", "ext4"), ("ext3", "ext3, as the older tools know it")]
        self._choices("filesystem", kinds, f"The default: {defaults.filesystem if defaults else 'ext4'}", empty)
        kernel = _kernel_in_words(defaults)
        said = (f"The default: {kernel}" if kernel else NO_DEFAULT) if empty else "The host's, none chosen yet"
        self._choices("kernel", kernel_choices(hosts), said)
        swap = self.fields["swap_mib"]
        swap.help_text = "0: none." if self.own_kernel else f"{NO_SWAP}. Leave it empty."
        if not self.own_kernel:
            del self.fields["kernel"]
        free = [f"{free_memory_mib(host)} MB free on {host}" for host in hosts if free_memory_mib(host) is not None]
        if empty and free:
            self.fields["memory_mib"].help_text = f"{', '.join(free)}."

    def _default(self, offered: Choices, defaults: SiteDefaults | None, field: str, empty: bool) -> str:
        if not empty:
            return ""
        value = getattr(defaults, field) if defaults else ""
        found = dict(offered).get(value or FILES, value)
        return f"The default: {found}" if found else NO_DEFAULT

    def _choices(self, name: str, offered: Choices, first: str, empty: bool = True) -> None:
        field = cast(forms.ChoiceField, self.fields[name])
        field.choices = [("", first), *offered] if first and empty else offered

    @property
    def must_choose(self) -> bool:
        """Whether something needed has no default."""
        offered = [list(cast(Any, self.fields[name]).choices) for name in self.NEEDED if name in self.fields]
        return any(choices[0][1] == NO_DEFAULT for choices in offered if choices)

    def sizes(self) -> dict[str, Any]:
        """What was chosen, by field of Machine; None where the default is to hold."""
        data = self.cleaned_data
        group = data.get("volume_group")
        boot, _, kernel = (data.get("kernel") or "").partition(":")
        return {
            "volume_group": "" if group == FILES else group or None,
            "swap_mib": data.get("swap_mib"),
            "log_mib": data.get("log_mib"),
            "filesystem": data.get("filesystem") or None,
            "boot": boot or None,
            "kernel": kernel if boot else None,
        }


def _kernel_in_words(defaults: SiteDefaults | None) -> str:
    if defaults is None or (defaults.boot == Boot.HOST and not defaults.kernel):
        return ""
    return defaults.kernel or str(Boot(defaults.boot).label)


def kernel_value(boot: str, kernel: str) -> str:
    """A row's boot and kernel as one choice."""
    return f"{boot}:{kernel}" if kernel or boot != Boot.HOST else ""


class AgainForm(StagesForm):
    """Stages of a machine that exists, done again."""

    reason = forms.CharField(
        required=False,
        max_length=200,
        label="Why",
        help_text="Stands in the audit log and on the job.",
        widget=forms.TextInput(attrs={"autocomplete": "off"}),
    )
