"""Xen's guest files (`xm create`): Python by look, data by content. Only NAME = value is read, nothing is run. Pure.

A value is a text, a number, or a list of them; anything else is reported with its line and left alone.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass, field

from firewall.findings import Finding, Severity

MAX_TOKENS = 5000
_TOKEN = re.compile(
    r"""(?P<space>[ \t\r]+|\\\n|\#[^\n]*)
    |(?P<end>\n|;)
    |(?P<text>[rRbBuU]?(?:"(?:[^"\\\n]|\\.)*"|'(?:[^'\\\n]|\\.)*'))
    |(?P<number>-?\d{1,12}(?![\w.]))
    |(?P<name>[A-Za-z_]\w*)
    |(?P<sign>[\[\](),=+])
    |(?P<odd>.)""",
    re.VERBOSE,
)
_KNOWN = (
    *("name", "memory", "maxmem", "vcpus", "vif", "disk", "kernel", "ramdisk", "root", "extra", "bootloader", "uuid"),
    *("on_poweroff", "on_reboot", "on_crash", "builder", "dhcp", "hostname", "cpus", "cpu_weight", "vfb", "sdl", "vnc"),
)
Value = str | int | tuple[str | int, ...]


@dataclass(frozen=True, kw_only=True)
class Card:
    """One `vif` of a guest; what the file does not say is empty."""

    line: int
    mac: str = ""
    bridge: str = ""
    ip: str = ""
    vif: str = ""


@dataclass(frozen=True, kw_only=True)
class Guest:
    """A guest as its file describes it. `memory_mib` and `vcpus` are 0 where the file is silent."""

    file: str
    name: str
    line: int = 1
    memory_mib: int = 0
    vcpus: int = 0
    cards: tuple[Card, ...] = ()
    disks: tuple[str, ...] = ()
    kernel: str = ""
    ramdisk: str = ""
    root: str = ""
    extra: str = ""


@dataclass(frozen=True, kw_only=True)
class _Token:
    kind: str
    text: str
    line: int


def looks_like_one(text: str) -> bool:
    """Whether this is a guest's file: a name or memory, and a disk, card or kernel."""
    said = set(re.findall(r"^\s*(\w+)\s*=", text, re.MULTILINE))
    return bool(said & {"name", "memory"}) and bool(said & {"vif", "disk", "kernel", "bootloader"})


def read(file: str, text: str) -> tuple[Guest | None, tuple[Finding, ...]]:
    """The guest a file describes (None where it gives no name) and what is said about its lines."""
    reader = _Reader(tokens=list(_tokens(text)))
    reader.read()
    got, line_of = reader.values, reader.lines
    findings = list(reader.findings)
    name = got.get("name", "")
    if not isinstance(name, str) or not name:
        findings.append(_said(1, Severity.ERROR, "This guest's file gives no name, so nothing is known of it."))
        return None, tuple(findings)
    cards = []
    for entry in _texts(got.get("vif", ())):
        card = _card(entry, line_of["vif"])
        cards.append(card)
    guest = Guest(
        file=file,
        name=name,
        line=line_of["name"],
        memory_mib=_number(got.get("memory", 0)),
        vcpus=_number(got.get("vcpus", 0)),
        cards=tuple(cards),
        disks=tuple(_texts(got.get("disk", ()))),
        kernel=str(got.get("kernel", "")),
        ramdisk=str(got.get("ramdisk", "")),
        root=str(got.get("root", "")),
        extra=str(got.get("extra", "")),
    )
    return guest, tuple(findings)


@dataclass
class _Reader:
    tokens: list[_Token]
    at: int = 0
    values: dict[str, Value] = field(default_factory=dict)
    lines: dict[str, int] = field(default_factory=dict)
    findings: list[Finding] = field(default_factory=list)

    def read(self) -> None:
        while self.at < len(self.tokens):
            first = self.tokens[self.at]
            if first.kind == "end":
                self.at += 1
                continue
            try:
                self.assignment()
            except ValueError as problem:
                self.findings.append(_said(first.line, Severity.WARNING, str(problem)))
                self.skip()

    def assignment(self) -> None:
        name = self.take("name")
        if name is None or self.take("sign", "=") is None:
            raise ValueError("Only NAME = value is read in a guest's file; this line is left alone.")
        value = self.value()
        if self.at < len(self.tokens) and self.take("end") is None:
            raise ValueError(f"{name.text} is more than a text, a number or a list of them; it is left alone.")
        if name.text in self.values:
            sentence = f"{name.text} is given again; the last one counts, as it did for xm."
            self.findings.append(_said(name.line, Severity.WARNING, sentence))
        if name.text not in _KNOWN:
            self.findings.append(_said(name.line, Severity.INFO, f"{name.text} means nothing here."))
        self.values[name.text], self.lines[name.text] = value, name.line

    def value(self) -> Value:
        if self.take("sign", "[") or self.take("sign", "("):
            return self.items()
        return self.one()

    def items(self) -> tuple[str | int, ...]:
        out: list[str | int] = []
        while True:
            while self.take("end"):
                pass
            if self.take("sign", "]") or self.take("sign", ")"):
                return tuple(out)
            out.append(self.one())
            while self.take("end"):
                pass
            if not self.take("sign", ",") and not (self.peek("]") or self.peek(")")):
                raise ValueError("A list holds texts or numbers with commas between them; this one is left alone.")

    def one(self) -> str | int:
        if number := self.take("number"):
            return int(number.text)
        if word := self.take("name"):
            if word.text == "None":
                return ""
            if word.text in ("True", "False"):
                return int(word.text == "True")
            raise ValueError(f"“{word.text[:30]}” would have to be run to be known; it is left alone.")
        text = self.take("text")
        if text is None:
            raise ValueError("Only NAME = value is read in a guest's file; this line is left alone.")
        said = _unquoted(text.text)
        # Python joins texts that stand side by side, or with a plus between.
        while self.take("sign", "+") or self.peek_kind("text"):
            more = self.take("text")
            if more is None:
                raise ValueError("A text can only be joined with another text; this is left alone.")
            said += _unquoted(more.text)
        return said

    def take(self, kind: str, text: str = "") -> _Token | None:
        if self.at < len(self.tokens):
            token = self.tokens[self.at]
            if token.kind == kind and (not text or token.text == text):
                self.at += 1
                return token
        return None

    def peek(self, sign: str) -> bool:
        return self.at < len(self.tokens) and self.tokens[self.at].text == sign and self.peek_kind("sign")

    def peek_kind(self, kind: str) -> bool:
        return self.at < len(self.tokens) and self.tokens[self.at].kind == kind

    def skip(self) -> None:
        """On to the next line."""
        while self.at < len(self.tokens) and self.tokens[self.at].kind != "end":
            self.at += 1


def _tokens(text: str) -> Iterator[_Token]:
    line, count = 1, 0
    for match in _TOKEN.finditer(text):
        kind = match.lastgroup or "odd"
        if kind != "space":
            count += 1
            if count > MAX_TOKENS:
                return
            yield _Token(kind=kind, text=match[0], line=line)
        line += match[0].count("\n")


def _unquoted(text: str) -> str:
    inner = text.lstrip("rRbBuU")[1:-1]
    return re.sub(r"\\(.)", r"\1", inner)[:500]


def _texts(value: Value) -> list[str]:
    return [str(each)[:500] for each in (value if isinstance(value, tuple) else (value,)) if each != ""][:64]


def _number(value: Value) -> int:
    if isinstance(value, int):
        return max(value, 0)
    return int(value) if isinstance(value, str) and value.isascii() and value.isdigit() and len(value) < 8 else 0


def _card(entry: str, line: int) -> Card:
    said = dict(part.strip().split("=", 1) for part in entry.split(",") if "=" in part)
    return Card(
        line=line,
        mac=said.get("mac", "").strip().lower()[:40],
        bridge=said.get("bridge", "").strip()[:40],
        ip=said.get("ip", "").strip()[:40],
        vif=said.get("vifname", "").strip()[:40],
    )


def _said(line: int, severity: Severity, sentence: str) -> Finding:
    return Finding(line=line, severity=severity, sentence=sentence)
