"""What the log can be asked for."""

from __future__ import annotations

from typing import Any

from django import forms

from audit.models import Entry

DAY = forms.DateInput(attrs={"type": "date"})


class FilterForm(forms.Form):
    """All optional; a value that makes no sense is left out of the question."""

    q = forms.CharField(required=False, max_length=100)
    who = forms.CharField(required=False, max_length=150)
    action = forms.CharField(required=False, max_length=60)
    out = forms.ChoiceField(required=False, choices=[("", "Every outcome"), *Entry.Outcome.choices])
    since = forms.DateField(required=False, widget=DAY)
    until = forms.DateField(required=False, widget=DAY)
    kind = forms.CharField(required=False, max_length=30)
    id = forms.CharField(required=False, max_length=40)
    before = forms.IntegerField(required=False, min_value=1, max_value=2**63 - 1)

    def chosen(self) -> dict[str, Any]:
        """What is asked for, of that which makes sense."""
        self.is_valid()
        return {key: value for key, value in self.cleaned_data.items() if value}
