"""What people type about machines. Rules live in services; forms say which words belong to which field."""

from __future__ import annotations

from typing import Any, cast

from django import forms
from django.core.exceptions import ValidationError
from django.db.models import Q, QuerySet
from django.urls import reverse
from netaddr import IPAddress

from accounts.models import Owner, SSHKey, User, name_grammar
from hosts.models import Host
from machines import create_sizes, modes
from machines.models import Image, Machine, SiteDefaults
from machines.sizes_forms import NO_DEFAULT, SizesFields, kernel_value
from ui import words
from ui.forms import TYPED, Taking
from zones.models import Zone


def people_of(owner: Owner) -> Q:
    """The users whose machines `owner`'s are, as a condition on SSH keys."""
    return Q(user__own=owner) | Q(user__owners=owner)


def keys_for(owner: Owner | None, user: User) -> QuerySet[SSHKey]:
    """The SSH keys `user` may put on a machine of `owner`: those of the owner's people, and his own."""
    whose = Q(user=user)
    if owner is not None:
        whose |= people_of(owner)
    return SSHKey.objects.filter(whose, user__is_active=True).select_related("user").distinct().order_by("user", "name")


class KeyChoice(forms.ModelMultipleChoiceField):  # type: ignore[type-arg]
    """SSH keys as checkboxes, each with whose it is."""

    widget = forms.CheckboxSelectMultiple

    def clean(self, value: Any) -> Any:
        """As Django does, but a number no database has is no choice either, instead of an error of ours."""
        for pk in value or ():
            if not (str(pk).isascii() and str(pk).isdigit() and len(str(pk)) < 19):
                raise ValidationError(self.error_messages["invalid_pk_value"], code="invalid_pk_value")
        return super().clean(value)

    def label_from_instance(self, obj: SSHKey) -> str:
        return f"{obj.user.get_username()}, {obj.name}  {obj.fingerprint}"


class CreateForm(Taking, SizesFields):
    """A new machine: name and address; all else from the site's defaults."""

    CALLED = {"boot": "kernel", "stages": "lvmcreate"}
    field_order = ("name", "address", "owner", "ssh_keys")  # the rest after these

    name = forms.CharField(
        max_length=31,
        validators=[name_grammar],
        error_messages={
            "required": "Give it a name, for example WEB-Dom.",
            "max_length": "A name has at most 31 letters, digits and hyphens; this one has %(show_value)d.",
        },
        help_text="Letters, digits and hyphens; also its host name.",
        widget=forms.TextInput(attrs={**TYPED}),
    )
    address = forms.GenericIPAddressField(
        protocol="IPv4",
        error_messages={
            "required": "Give it an address in one of the zones, for example 10.10.2.6.",
            "invalid": "That is not an IPv4 address. One looks like 10.10.2.6.",
        },
        widget=forms.TextInput(
            attrs={
                **TYPED,
                "inputmode": "decimal",
                "list": "free",
                "class": "mono",
            }
        ),
    )
    owner = forms.ModelChoiceField(
        Owner.objects.all(),
        empty_label="Choose",
        error_messages={"required": "Choose whom it is for."},
        help_text="Is root on it, starts and stops it.",
    )
    ssh_keys = KeyChoice(
        SSHKey.objects.none(),
        required=False,
        label="SSH keys that open it",
        error_messages={
            "invalid_choice": "One of these keys is of neither the owner nor you. Choose again from those shown.",
            "invalid_pk_value": "One of these keys is of neither the owner nor you. Choose again from those shown.",
        },
    )
    zone = forms.ModelChoiceField(
        Zone.objects.select_related("host"), required=False, empty_label="The one the address is in"
    )
    image = forms.ModelChoiceField(Image.objects.select_related("host"), required=False)
    memory_mib = forms.IntegerField(required=False, min_value=16, max_value=1 << 20, label="Memory, MB")
    root_mib = forms.IntegerField(required=False, min_value=16, max_value=1 << 26, label="Root volume, MB")
    vcpus = forms.IntegerField(required=False, min_value=1, max_value=64, label="vCPUs")
    autostart = forms.BooleanField(required=False, initial=True, label="Starts with the host")
    start_order = forms.IntegerField(
        required=False,
        min_value=0,
        max_value=32767,
        label="Start order",
        help_text="Lower starts first; 100 is usual.",
        widget=forms.NumberInput(attrs={"placeholder": "100"}),
    )
    reason = forms.CharField(
        required=False,
        max_length=200,
        label="Why",
        help_text="Stands in the audit log and on the job.",
        widget=forms.TextInput(attrs={"autocomplete": "off"}),
    )
    SIZES = ("zone", "image", *create_sizes.SIZES, "start_order")

    def __init__(self, *args: Any, user: User, defaults: SiteDefaults | None, **kwargs: Any) -> None:
        super().__init__(*args, chosen=defaults.stages if defaults else None, **kwargs)
        self.offer(list(Host.objects.all()), defaults, empty=True)
        owner = self._owner()
        keys = cast(KeyChoice, self.fields["ssh_keys"])
        keys.queryset = keys_for(owner, user)
        if not self.is_bound and owner is not None:
            self.initial["ssh_keys"] = list(keys.queryset.filter(people_of(owner)).values_list("pk", flat=True))
        self.fields["owner"].widget.attrs.update(
            {"hx-get": reverse("machines:create"), "hx-target": "#keys", "hx-swap": "outerHTML"}
        )
        if defaults is not None:
            self._say_defaults(defaults)

    def _owner(self) -> Owner | None:
        chosen = self.data.get("owner") if self.is_bound else self.initial.get("owner")
        return Owner.objects.filter(pk=int(str(chosen))).first() if str(chosen or "").isdecimal() else None

    def _say_defaults(self, defaults: SiteDefaults) -> None:
        image = cast("forms.ModelChoiceField[Image]", self.fields["image"])
        image.empty_label = f"The default: {defaults.image}" if defaults.image else NO_DEFAULT
        for name in ("memory_mib", "root_mib", "vcpus", "swap_mib", "log_mib"):
            self.fields[name].widget.attrs["placeholder"] = str(getattr(defaults, name))

    @property
    def opened(self) -> bool:
        """Whether the sizes must be in sight: one has to be chosen, or somebody changed or mistook one."""
        if self.must_choose:
            return True
        named = [self[name] for name in self.SIZES if name in self.fields]
        return any(bound.errors or bound.value() for bound in named) or not self["autostart"].value()

    @property
    def stages_opened(self) -> bool:
        """Whether somebody chose something for a stage."""
        return any(bound.errors or (bound.value() or "yes") != "yes" for bound in self.stages)

    def wish(self) -> dict[str, Any]:
        """What was typed, as services.machine_create takes it."""
        named = ("name", "address", "owner", "ssh_keys", "zone", "image", "memory_mib", "root_mib", "vcpus")
        wish = {name: self.cleaned_data[name] for name in (*named, "autostart", "start_order", "reason")}
        stages = {stage: self.cleaned_data.get(stage) or "yes" for stage in modes.STAGES}
        return wish | self.sizes() | {"stages": stages}

    def clean(self) -> dict[str, Any]:
        data = super().clean() or self.cleaned_data
        if data.get("address") and not data.get("zone") and "zone" not in self.errors:
            self._find_zone(data)
        return data

    def _find_zone(self, data: dict[str, Any]) -> None:
        """The zone by its address; several hosts may use the same subnet, then it must be named."""
        address = IPAddress(data["address"])
        zones = [zone for zone in Zone.objects.select_related("host") if address in zone.network]
        if len(zones) == 1:
            data["zone"] = zones[0]
        elif zones:
            names = " and ".join(f"{zone} on {zone.host}" for zone in zones)
            self.add_error("zone", f"{address} lies in {names}. Choose one.")
        else:
            self.add_error("address", f"{address} lies in no zone. {_zones_in_words()}")


def _zones_in_words() -> str:
    zones = list(Zone.objects.all()[:4])
    if not zones:
        return "There is no zone yet: create one first."
    said = ", ".join(f"{zone} is {zone.cidr}" for zone in zones)
    return f"{said}{' …' if Zone.objects.count() > 4 else ''}."


class KeysForm(forms.Form):
    """Which SSH keys open a machine."""

    ssh_keys = KeyChoice(
        SSHKey.objects.none(),
        required=False,
        label="SSH keys that open it",
        error_messages={
            "invalid_choice": "One of these keys is not yours to put there. Choose again from those shown.",
            "invalid_pk_value": "One of these keys is not yours to put there. Choose again from those shown.",
        },
    )

    def __init__(self, *args: Any, machine: Machine, user: User, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        there = machine.ssh_keys.all()
        keys = cast(KeyChoice, self.fields["ssh_keys"])
        # What is on it stays choosable, also the key of somebody who has left its owner since.
        may = keys_for(machine.owner, user).values("pk") if user.is_operator else keys_for(None, user).values("pk")
        keys.queryset = (
            SSHKey.objects.filter(Q(pk__in=may) | Q(pk__in=there.values("pk")))
            .select_related("user")
            .order_by("user__username", "name")
        )
        self.initial.setdefault("ssh_keys", [key.pk for key in there])


class DeleteForm(forms.Form):
    """The name, typed once more, before everything of a machine is erased."""

    name = forms.CharField(max_length=31, widget=forms.TextInput(attrs={**TYPED, "class": "mono"}))
    reason = forms.CharField(
        required=False,
        max_length=200,
        label="Why",
        help_text="Stands in the audit log and on the job.",
        widget=forms.TextInput(attrs={"autocomplete": "off"}),
    )

    def __init__(self, *args: Any, machine: Machine, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.machine = machine
        self.fields["name"].label = f"Type {machine.name} to go on"
        self.fields["name"].error_messages["required"] = f"Type {machine.name}, as it is written above."

    def clean_name(self) -> str:
        name: str = self.cleaned_data["name"]
        if name != self.machine.name:
            raise ValidationError(f"That is not its name. Type {self.machine.name}, as it is written above.")
        return name


class ImageForm(Taking, forms.Form):
    """An archive in the host's images folder, made known by its digest."""

    name = forms.CharField(max_length=31, validators=[name_grammar], help_text="For example debian-12.")
    archive = forms.CharField(
        max_length=80,
        label="File",
        help_text="In the host's images folder, for example debian-12.tar.gz.",
        widget=forms.TextInput(attrs={"class": "mono", "spellcheck": "false"}),
    )
    digest = forms.CharField(
        max_length=64,
        label="SHA-256",
        help_text="What sha256sum says of the file, on the host.",
        widget=forms.TextInput(attrs={"class": "mono", "spellcheck": "false"}),
    )
    family = forms.ChoiceField(choices=Image.Family, help_text="How it is tuned before its first start.")
    min_root_mib = forms.IntegerField(
        min_value=16,
        max_value=1 << 26,
        initial=64,
        label="Smallest root volume, MB",
        help_text="What its files take, with some room to work.",
    )

    def __init__(self, *args: Any, host: Host | None, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.host = host

    def clean_digest(self) -> str:
        return str(self.cleaned_data["digest"]).strip().lower()


class ImageImportForm(Taking, forms.Form):
    """A file of the host's imports folder; digest, family and size are found by the host."""

    name = forms.CharField(max_length=31, validators=[name_grammar], help_text="For example debian-12.")
    file = forms.ChoiceField(
        label="File",
        error_messages={
            "required": "Choose a file of the list.",
            "invalid_choice": "That file is not in the imports folder any more. Choose one of the list.",
        },
    )
    devices = forms.BooleanField(
        required=False,
        label="It may bring device nodes",
        help_text="Hardly any needs this: /dev is made anew at every start. Without it, a device node is refused.",
    )

    def __init__(self, *args: Any, host: Host, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        offered = host.figures.get("imports", ())
        choices = [(item["name"], f"{item['name']}, {words.size(item['size'])}") for item in offered]
        cast(forms.ChoiceField, self.fields["file"]).choices = choices


class ImageUploadForm(Taking, forms.Form):
    """An archive that comes through the panel."""

    name = forms.CharField(max_length=31, validators=[name_grammar], help_text="For example debian-12.")
    file = forms.FileField(
        label="Archive",
        allow_empty_file=True,
        error_messages={"required": "Choose an archive: .tar, .tar.gz, .tar.xz, .tar.zst or .tar.bz2."},
    )


class ImageBuildForm(Taking, forms.Form):
    """A suite that mmdebstrap builds on the host."""

    name = forms.CharField(max_length=31, validators=[name_grammar], help_text="For example debian-13.")
    suite = forms.ChoiceField(choices=[("bookworm", "Debian 12, bookworm"), ("trixie", "Debian 13, trixie")])


class DefaultsForm(Taking, SizesFields):
    """What a new machine gets where nobody says otherwise."""

    CALLED = {"boot": "kernel", "stages": "lvmcreate"}
    image = forms.ModelChoiceField(Image.objects.none(), required=False, empty_label="None: each names its own")
    memory_mib = forms.IntegerField(min_value=16, max_value=1 << 20, label="Memory, MB")
    root_mib = forms.IntegerField(min_value=16, max_value=1 << 26, label="Root volume, MB")
    vcpus = forms.IntegerField(min_value=1, max_value=64, label="vCPUs")
    field_order = ("image", "memory_mib", "root_mib", "vcpus")

    def __init__(self, *args: Any, instance: SiteDefaults, **kwargs: Any) -> None:
        super().__init__(*args, chosen=instance.stages, **kwargs)
        self.offer([instance.host], instance, empty=False)
        image = cast("forms.ModelChoiceField[Image]", self.fields["image"])
        image.queryset = Image.objects.filter(host=instance.host_id)
        now = {name: getattr(instance, name) for name in create_sizes.DEFAULTS if name in self.fields}
        now |= {"image": instance.image_id, "kernel": kernel_value(instance.boot, instance.kernel)}
        self.initial = {**now, **self.initial}

    @property
    def stages_opened(self) -> bool:
        return any(bound.errors or (bound.value() or "yes") != "yes" for bound in self.stages)

    def changes(self) -> dict[str, Any]:
        """What was typed, by field of SiteDefaults."""
        data = {name: self.cleaned_data[name] for name in ("image", "memory_mib", "root_mib", "vcpus")}
        empty = {"volume_group": "", "swap_mib": 0, "log_mib": 0, "filesystem": "ext4", "boot": "host", "kernel": ""}
        chosen = {field: value for field, value in self.sizes().items() if value is not None}
        return data | empty | chosen | {"stages": self.chosen()}
