"""One-time root passwords: shown once to whoever asked, stored nowhere but as a crypt(3) hash in the machine."""

from __future__ import annotations

import ctypes
import secrets
import threading

LETTERS = "abcdefghijkmnopqrstuvwxyzABCDEFGHJKLMNPQRSTUVWXYZ23456789"  # none that is mistaken for another
SALT = "./0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz"

_one_at_a_time = threading.Lock()  # crypt(3) answers in a buffer of its own


def one_time() -> tuple[str, str]:
    """A new password of 20 characters (117 bits) and its SHA-512 hash for /etc/shadow."""
    password = "".join(secrets.choice(LETTERS) for _ in range(20))
    return password, hashed(password, "".join(secrets.choice(SALT) for _ in range(16)))


def named() -> str:
    """What tells one one-time password from another in plans and marks; says nothing of it."""
    return secrets.token_hex(6)


def hashed(password: str, salt: str) -> str:
    """The crypt(3) hash that glibc, musl and busybox all know ($6$). Raises OSError where libcrypt does not do it."""
    library = ctypes.CDLL("libcrypt.so.1")
    library.crypt.restype = ctypes.c_char_p
    with _one_at_a_time:
        found: bytes | None = library.crypt(password.encode(), f"$6${salt}".encode())
    if not found or not found.startswith(b"$6$"):
        raise OSError("libcrypt.so.1 makes no SHA-512 hashes")
    return found.decode()
