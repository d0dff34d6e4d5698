"""Public SSH keys as people paste them: read strictly, so that nothing but one key reaches a machine. Pure."""

from __future__ import annotations

import base64
import binascii
import hashlib
import re
from dataclasses import dataclass

MIN_RSA_BITS, MAX_RSA_BITS = 2048, 16384
CURVES = {"nistp256": 65, "nistp384": 97, "nistp521": 133}
SECURITY_KEYS = ("sk-ssh-ed25519@openssh.com", "sk-ecdsa-sha2-nistp256@openssh.com")
TYPES = ("ssh-ed25519", *(f"ecdsa-sha2-{curve}" for curve in CURVES), "ssh-rsa", *SECURITY_KEYS)
EXAMPLE = "It looks like: ssh-ed25519 AAAAC3Nza… fulup@laptop"
BROKEN = f"This is not a whole key; part of it is missing or changed. Copy the line of the .pub file again. {EXAMPLE}"


class KeyRefused(ValueError):
    """The text is no key that may be used; the message says why and what to paste instead."""


@dataclass(frozen=True, kw_only=True)
class PublicKey:
    """One public key: `line` is its type and base64, for authorized_keys; `fingerprint` as ssh-keygen -l says it."""

    line: str
    fingerprint: str
    comment: str


def parse(text: str) -> PublicKey:
    """The one public key in `text`. Raises KeyRefused."""
    line = text.strip()
    _refuse_what_is_no_public_key(line)
    kind, _, rest = line.partition(" ")
    if kind == "ssh-dss":
        raise KeyRefused("DSA keys are broken and no machine takes them. Make one with: ssh-keygen -t ed25519")
    if kind not in TYPES:
        if any(re.search(rf"(^|\s){re.escape(known)}\s", line) for known in (*TYPES, "ssh-dss")):
            raise KeyRefused("Leave out the options before the key; begin with its type, such as ssh-ed25519.")
        raise KeyRefused(f"This is not a public SSH key. {EXAMPLE}")
    encoded, _, comment = rest.strip().partition(" ")
    blob = _decode(encoded)
    _check(kind, blob)
    return PublicKey(
        line=f"{kind} {base64.b64encode(blob).decode()}",
        fingerprint="SHA256:" + base64.b64encode(hashlib.sha256(blob).digest()).decode().rstrip("="),
        comment=comment.strip(),
    )


def _refuse_what_is_no_public_key(line: str) -> None:
    if "PRIVATE KEY" in line or line.startswith("PuTTY-User-Key-File"):
        raise KeyRefused(
            "This is a private key: it must never leave your computer, and from now on counts as known to others. "
            "Make a new pair (ssh-keygen -t ed25519) and paste the file that ends in .pub."
        )
    if "BEGIN SSH2 PUBLIC KEY" in line:
        raise KeyRefused("This is PuTTY's format. Convert it with: ssh-keygen -i -f key.pub, and paste the result.")
    if not line:
        raise KeyRefused(f"Paste a public key. {EXAMPLE}")
    if len(line.splitlines()) > 1:
        raise KeyRefused("Paste one key, on one line; add further keys one by one.")
    if len(line) > 8000 or not line.isprintable():
        raise KeyRefused(BROKEN)


def _decode(encoded: str) -> bytes:
    try:
        return base64.b64decode(encoded.encode("ascii"), validate=True)
    except (binascii.Error, UnicodeEncodeError) as error:
        raise KeyRefused(BROKEN) from error


class _Reader:
    """Reads the length-prefixed strings of RFC 4251."""

    def __init__(self, blob: bytes) -> None:
        self.left = blob

    def string(self) -> bytes:
        length = int.from_bytes(self.left[:4], "big")
        if len(self.left) < 4 + length:
            raise KeyRefused(BROKEN)
        value, self.left = self.left[4 : 4 + length], self.left[4 + length :]
        return value

    def number(self) -> int:
        return int.from_bytes(self.string(), "big", signed=True)


def _check(kind: str, blob: bytes) -> None:
    """Whether the blob is of that type, whole, and strong enough."""
    read = _Reader(blob)
    if read.string() != kind.encode():
        raise KeyRefused(BROKEN)
    if kind == "ssh-rsa":
        _check_rsa(read.number(), read.number())
    elif "ed25519" in kind:
        _demand(len(read.string()) == 32)
    else:
        curve, point = read.string().decode("ascii", "replace"), read.string()
        _demand(curve in kind and curve in CURVES and len(point) == CURVES[curve] and point[:1] == b"\4")
    if kind in SECURITY_KEYS:
        _demand(read.string().startswith(b"ssh:"))
    _demand(read.left == b"")


def _check_rsa(exponent: int, modulus: int) -> None:
    _demand(exponent >= 3 and exponent % 2 == 1 and modulus > 0 and modulus % 2 == 1)
    bits = modulus.bit_length()
    if bits < MIN_RSA_BITS:
        raise KeyRefused(f"This RSA key has {bits} bits, too few to be safe; at least {MIN_RSA_BITS}, or ed25519.")
    if bits > MAX_RSA_BITS:
        raise KeyRefused(f"This RSA key has {bits} bits; machines take at most {MAX_RSA_BITS}.")


def _demand(holds: bool) -> None:
    if not holds:
        raise KeyRefused(BROKEN)
