"""Template tags every page uses: fields, states, times, figures, notes. See templates/ui/ for their HTML."""

from __future__ import annotations

from datetime import datetime
from typing import Any

from django import forms, template
from django.core.paginator import Page
from django.utils import timezone
from django.utils.html import format_html, format_html_join
from django.utils.safestring import SafeString, mark_safe

from ui import registry, words

register = template.Library()

# Words of rows and of jobs → the mark that stands for them (UI.md: each state a shape and a word).
MARKS = {
    "running": "run",
    "done": "run",
    "nothing": "run",
    "live": "run",
    "stopped": "off",
    "paused": "off",
    "cancelled": "off",
    "former": "off",
    "returned": "off",
    "trial": "busy",
    "unknown": "old",
    "missing": "miss",
    "crashed": "bad",
    "failed": "bad",
    "refused": "bad",
    "drifted": "wait",
    "planned": "wait",
    "draft": "wait",
    "planning": "busy",
    "approved": "busy",
}


@register.filter
def mark(state: str) -> str:
    """The mark's class of a state's word: "running" → "run"."""
    return MARKS.get(str(state), "old")


@register.simple_tag
def st(look: str, text: str) -> SafeString:
    """A state: its shape and its word."""
    return format_html('<span class="st {}">{}</span>', look, text)


@register.simple_tag
def ago(when: datetime | None, never: str = "never") -> SafeString:
    """A moment, relative under a day; the absolute one on hover and for machines."""
    if when is None:
        return format_html("<span>{}</span>", never)
    local = timezone.localtime(when)
    return format_html(
        '<time datetime="{}" title="{}">{}</time>',
        local.isoformat(timespec="seconds"),
        f"{local:%Y-%m-%d %H:%M:%S %Z}",
        words.ago(local, timezone.localtime()),
    )


@register.filter(name="bytes")
def bytes_(count: float | None) -> str:
    return words.size(count or 0)


@register.filter
def mib(count: float | None) -> str:
    return words.size((count or 0) * 1024 * 1024)


@register.filter
def clock(seconds: float | None) -> str:
    return words.clock(seconds or 0)


@register.filter
def left(seconds: float | None) -> str:
    """What is left of a time that runs out; ui.js counts on in the same words."""
    return words.left(seconds or 0)


@register.filter
def took(seconds: float | None) -> str:
    return "" if seconds is None else words.took(seconds)


@register.inclusion_tag("ui/_field.html")
def field(bound: forms.BoundField, help: str = "") -> dict[str, Any]:
    """A form's field: label, input, help and error, tied together for screen readers; typed values stay."""
    help_text, errors = help or str(bound.help_text), list(bound.errors)
    about = " ".join(f"{bound.auto_id}_{part}" for part, there in (("err", errors), ("help", help_text)) if there)
    attrs: dict[str, str | bool] = {"aria-describedby": about} if about else {}
    if errors:
        attrs["aria-invalid"] = "true"
    widget = bound.field.widget
    return {
        "bound": bound,
        "errors": errors,
        "help": help_text,
        "input": bound.as_widget(attrs=attrs),
        "hidden": widget.is_hidden,
        "single": isinstance(widget, forms.CheckboxInput),
        "many": isinstance(widget, forms.RadioSelect | forms.CheckboxSelectMultiple),
    }


@register.inclusion_tag("ui/_form_errors.html")
def form_errors(form: forms.BaseForm) -> dict[str, Any]:
    """What is wrong with a form as a whole."""
    hidden = [error for bound in form.hidden_fields() for error in bound.errors]
    return {"errors": [*form.non_field_errors(), *hidden]}


@register.inclusion_tag("ui/_refusal.html")
def refusal(refused: Any) -> dict[str, Any]:
    """A dom0.errors.Refused as a note; nothing where there is none."""
    return {"refused": refused}


@register.inclusion_tag("ui/_copy.html")
def copybox(element: str, text: str, label: str = "") -> dict[str, str]:
    """Text to take along: one click selects it, the script adds a button."""
    return {"element": element, "text": text, "label": label or "Copy"}


@register.inclusion_tag("ui/_meter.html")
def meter(label: str, value: float, limit: float, said: str, of: str) -> dict[str, Any]:
    """A figure with its limit, as words and as a bar."""
    percent = round(100 * value / limit) if limit else 0
    return {"label": label, "percent": min(100, max(0, percent)), "said": said, "of": of}


@register.inclusion_tag("ui/_pages.html", takes_context=True)
def pages(context: template.Context, page: Page[Any], word: str = "page") -> dict[str, Any]:
    """Previous and next, keeping what was filtered for."""
    query = context["request"].GET.copy()
    query.pop("page", None)
    return {"page": page, "query": query.urlencode(), "word": word}


@register.inclusion_tag("ui/_empty.html")
def empty(title: str, text: str, url: str = "", button: str = "") -> dict[str, str]:
    """What a page says when there is nothing yet: what the thing is, and the way to the first one."""
    return {"title": title, "text": text, "url": url, "button": button}


@register.simple_tag(takes_context=True)
def fragments(context: template.Context, place: str, thing: Any = None) -> SafeString:
    """What higher rooms have to say at this place (ui.registry)."""
    parts = registry.fragments(context["request"], place, thing)
    # Each part is a rendered template, escaped there.
    return format_html_join("\n", "{}", ((mark_safe(part),) for part in parts))  # noqa: S308
