"""The files of a takeover as somebody pastes or chooses them, and as the preview hands them on."""

from __future__ import annotations

import json
from typing import Any

from django import forms
from django.core.exceptions import ValidationError

from firewall.takeover.content import MAX_FILES, MAX_TEXT

MAX_ALL = 1_000_000
PASTED = "pasted"


class ManyFiles(forms.ClearableFileInput):
    """Several files at once."""

    allow_multiple_selected = True


class FilesField(forms.FileField):
    """Uploaded files as (name, text)."""

    def clean(self, data: Any, initial: Any = None) -> list[tuple[str, str]]:
        uploads: list[Any] = data if isinstance(data, list) else [data] if data else []
        if len(uploads) > MAX_FILES:
            raise ValidationError(f"Choose at most {MAX_FILES} files at a time.")
        out = []
        for upload in uploads:
            if (upload.size or 0) > MAX_TEXT:
                raise ValidationError(f"{upload.name} has more than 200 kB; a rule file is a few lines.")
            out.append((_plain(str(upload.name))[:100], _plain(upload.read().decode("utf-8", "replace"))))
        return out


class ImportForm(forms.Form):
    """Files of a box, pasted or chosen. `bundle` carries them from the preview to the import."""

    text = forms.CharField(
        required=False,
        strip=False,
        max_length=MAX_TEXT,
        label="Rule file",
        help_text="CreateZone, CreateApp, TuneZone and the start block. It is read, never run.",
        widget=forms.Textarea(attrs={"rows": 14, "spellcheck": "false"}),
    )
    file = FilesField(
        required=False,
        label="or choose files",
        help_text="To take over a whole box, its rule file together with /etc/hosts, /etc/ethers, Fridu-lvm.config, "
        "xend-config.sxp and its guests’ files from /etc/xen. Each is known by its content.",
        widget=ManyFiles(),
    )
    bundle = forms.CharField(required=False, max_length=2 * MAX_ALL, strip=False, widget=forms.HiddenInput)
    exact = forms.BooleanField(
        required=False,
        label="Exactly so",
        help_text="What differs becomes as in the file, and what the file does not have goes.",
    )

    def clean_bundle(self) -> list[tuple[str, str]]:
        text = self.cleaned_data["bundle"]
        try:
            found = json.loads(text) if text else []
            return [(_plain(str(name))[:100], _plain(str(content))[:MAX_TEXT]) for name, content in found][:MAX_FILES]
        except (ValueError, TypeError, RecursionError) as error:
            raise ValidationError("The files did not come along whole. Choose them again.") from error

    def clean(self) -> dict[str, Any]:
        data = super().clean() or self.cleaned_data
        pasted = data.get("text", "")
        files = [*data.get("bundle", ()), *([(PASTED, pasted)] if pasted.strip() else ()), *data.get("file", ())]
        if sum(len(text) for _, text in files) > MAX_ALL:
            self.add_error("file", "Together they have more than 1 MB. Leave out what is no configuration.")
        if not any(text.strip() for _, text in files) and not self.errors:
            self.add_error("text", "Paste the rule file here, or choose it below.")
        data["files"] = _apart(files)
        return data


def _plain(text: str) -> str:
    """Without what no database or page takes: NUL, and halves of a character, which JSON can name."""
    return text.replace("\0", "\ufffd").encode("utf-8", "replace").decode()


def bundle_of(files: list[tuple[str, str]]) -> str:
    """The files as the hidden field carries them."""
    return json.dumps(files, ensure_ascii=False)


def _apart(files: list[tuple[str, str]]) -> list[tuple[str, str]]:
    """Each under a name of its own."""
    out: dict[str, str] = {}
    for name, text in files:
        called, n = name, 2
        while called in out:
            called, n = f"{name} ({n})", n + 1
        out[called] = text
    return list(out.items())
