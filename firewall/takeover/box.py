"""The other files of a Fridu-in-Xen box: /etc/hosts, /etc/ethers, Fridu-lvm.config, xend-config.sxp. Pure."""

from __future__ import annotations

import re
from dataclasses import dataclass
from ipaddress import AddressValueError, IPv4Address

from firewall import grammar
from firewall.findings import Finding, Severity

MAC = re.compile(r"[0-9A-Fa-f]{1,2}(:[0-9A-Fa-f]{1,2}){5}")
_NAME = re.compile(r"[A-Za-z0-9]([A-Za-z0-9.-]{0,61}[A-Za-z0-9])?")
_SCRIPT = re.compile(r"\(\s*network-script\s+['\"]?\S*[Ff]ridu\S*\s+([^)'\"]+)['\"]?\s*\)")
_SETTING = re.compile(r"([a-z][a-z0-9_]{1,30})\s*=\s*(\S*)")
#: What the config's values become here; {} is the value.
DEFAULTS = {
    "lvmvg": 'its volume group {}: volume_groups = ["{}"] in the host file',
    "vmram": "a new machine's memory, {} MB: the site's defaults hold it",
    "vmbr": "the bridge of a machine nobody said otherwise of, {}: here a machine's zone follows from its address",
    "linuxroot": "its root archive {}: put it into the host's images folder and add it as an image",
    "xenkerneldir": "its guests' kernels in {}: kept with each guest as its file names them",
    "vmroot": "a new machine's root volume, {}: the site's defaults hold it",
    "vmswap": "a new machine's swap volume, {}: machines made here have none of their own yet",
    "fscreate": "its file system {}: machines made here get ext4",
}
#: The stages of the old script, and what it was told about itself.
SILENT = ("lvmcreate", "installroot", "tuneroot", "updateether", "createvmconf", "verbose", "bootfrom")


@dataclass(frozen=True, kw_only=True)
class HostEntry:
    """A line of /etc/hosts: an address with its names, the first of which counts."""

    line: int
    address: str
    names: tuple[str, ...]


@dataclass(frozen=True, kw_only=True)
class EtherEntry:
    """A line of /etc/ethers: a MAC and the name or address it belongs to."""

    line: int
    mac: str
    who: str


@dataclass(frozen=True, kw_only=True)
class Bridge:
    """A bridge the network script was told to make."""

    line: int
    name: str
    gateway: str
    mask: str
    network: str


@dataclass(frozen=True, kw_only=True)
class Setting:
    """A default of the site."""

    line: int
    key: str
    value: str


def hosts(text: str) -> tuple[tuple[HostEntry, ...], tuple[Finding, ...]]:
    """The IPv4 entries of /etc/hosts, loopback left out."""
    found, findings = [], []
    for line, words in _lines(text):
        if ":" in words[0]:
            continue
        try:
            address = IPv4Address(words[0])
        except AddressValueError:
            findings.append(_warn(line, f"“{words[0][:40]}” is no address; the line is left alone."))
            continue
        names = tuple(w for w in words[1:] if _NAME.fullmatch(w))
        if address.is_loopback or address.is_multicast or int(address) in (0, 2**32 - 1):
            continue
        if len(names) < len(words) - 1 or not names:
            findings.append(_warn(line, f"{address} has a name that is none, or no name at all."))
        if names:
            found.append(HostEntry(line=line, address=str(address), names=names))
    return tuple(found), tuple(findings)


def ethers(text: str) -> tuple[tuple[EtherEntry, ...], tuple[Finding, ...]]:
    """The entries of /etc/ethers, MACs in small letters with two digits each."""
    found, findings = [], []
    for line, words in _lines(text):
        if len(words) != 2 or not MAC.fullmatch(words[0]):
            findings.append(_warn(line, "This is no “MAC NAME”, for example AA:BB:CC:DD:EE:02 VM-02; left alone."))
            continue
        mac = normal_mac(words[0])
        if int(mac[:2], 16) & 1:
            findings.append(_warn(line, f"{mac} is a group's address, no card has it; left alone."))
            continue
        found.append(EtherEntry(line=line, mac=mac, who=words[1][:63]))
    return tuple(found), tuple(findings)


def bridges(text: str) -> tuple[tuple[Bridge, ...], tuple[Finding, ...]]:
    """The bridges xend's network script makes, `NAME:GATEWAY:MASK` each."""
    found, findings = [], []
    for line, raw in enumerate(text.split("\n"), start=1):
        match = _SCRIPT.search(raw) if not raw.lstrip().startswith("#") else None
        for word in match[1].split() if match else ():
            name, _, rest = word.partition(":")
            gateway, _, mask = rest.partition(":")
            try:
                network = grammar.subnet(gateway, mask)
            except grammar.NotUnderstood as problem:
                findings.append(_warn(line, f"{name[:20]}: {problem}"))
                continue
            found.append(Bridge(line=line, name=name, gateway=gateway, mask=mask, network=network))
    return tuple(found), tuple(findings)


def settings(text: str) -> tuple[tuple[Setting, ...], tuple[Finding, ...]]:
    """The site's defaults in Fridu-lvm.config, and what each becomes."""
    found: list[Setting] = []
    findings: list[Finding] = []
    for line, raw in enumerate(text.split("\n"), start=1):
        body = grammar.words(raw.strip()).body if not raw.lstrip().startswith("#") else ""
        if not body:
            continue
        match = _SETTING.fullmatch(body)
        if match is None:
            findings.append(_warn(line, f"`{body[:60]}` is no key=value; it is left alone, and never run."))
            continue
        key, value = match[1], match[2].strip("\"'")
        if key in SILENT:
            continue
        if any(c in value for c in "$`"):
            findings.append(_warn(line, f"{key} needs a shell to be evaluated. Write its value."))
        elif key in DEFAULTS:
            found.append(Setting(line=line, key=key, value=value[:200]))
            said = DEFAULTS[key].replace("{}", value[:100])
            findings.append(Finding(line=line, severity=Severity.INFO, sentence=f"{key}: {said}."))
        else:
            findings.append(_warn(line, f"{key} has no counterpart here; noted, not used."))
    return tuple(found), tuple(findings)


def normal_mac(text: str) -> str:
    """A MAC in small letters, two digits each."""
    return ":".join(f"{int(part, 16):02x}" for part in text.split(":"))


def _lines(text: str) -> list[tuple[int, list[str]]]:
    bare = [(n, raw.split("#", 1)[0].split()) for n, raw in enumerate(text.split("\n"), start=1)]
    return [(n, words) for n, words in bare if words]


def _warn(line: int, sentence: str) -> Finding:
    return Finding(line=line, severity=Severity.WARNING, sentence=sentence)
