"""What the forms of every room share."""

from __future__ import annotations

from django import forms
from django.core.exceptions import ValidationError

# Names and addresses are typed as they are: no browser helps with them.
TYPED = {"autocomplete": "off", "spellcheck": "false"}


class Taking(forms.BaseForm):
    """A form that takes a service's objections. `CALLED` renames a service's field to the form's."""

    CALLED: dict[str, str] = {}

    def take(self, error: ValidationError) -> None:
        """Put them beside the fields they are about, or above all where the form has no such field."""
        for field, messages in getattr(error, "message_dict", {"": error.messages}).items():
            name = self.CALLED.get(field, field)
            for message in messages:
                self.add_error(name if name in self.fields else None, message)

    def focus(self) -> None:
        """Have the first field that is wrong, or else the first one, take the focus."""
        for field in self.fields.values():
            field.widget.attrs.pop("autofocus", None)
        first = next((bound for bound in self if bound.errors), self[next(iter(self.fields))])
        first.field.widget.attrs["autofocus"] = True
