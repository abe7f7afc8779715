"""The hospital's signing key: Ed25519 (RFC 8032), made on site, never leaving and never replaced.

The private key is a PEM file that its owner alone can read; the public key stands beside it as
NAME.pem, for whoever checks the ledger.
"""

import os
import stat
import tempfile
from pathlib import Path

from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey

from fedward.common.errors import ConfigError
from fedward.common.files import unwritable, write_bytes

_CURE = "free some space and try again"


def public_path(private: Path) -> Path:
    """Where the public key of a private key file is."""
    return private.with_suffix(".pem")


def create_key(path: Path) -> Ed25519PrivateKey:
    """Make a key: ``path`` with mode 0600, and its public key beside it.

    Raises:
        ConfigError: there is a key already; it is never overwritten.
        RunError: the folder cannot be written.
    """
    if path.suffix == ".pem":
        raise ConfigError(f"{path} is where the public key goes: name the private one .key")
    key = Ed25519PrivateKey.generate()
    pem = key.private_bytes(
        serialization.Encoding.PEM,
        serialization.PrivateFormat.PKCS8,
        serialization.NoEncryption(),
    )
    _write_new(path, pem)
    write_bytes(public_path(path), public_pem(key.public_key()), cure=_CURE)
    return key


def load_key(path: Path) -> Ed25519PrivateKey:
    """The private key in a file that nobody but its owner can read.

    Raises:
        ConfigError: no such file, others can read it, or it is no Ed25519 key; with the cure.
    """
    try:
        mode = stat.S_IMODE(path.stat().st_mode)
        if mode & 0o077:
            raise ConfigError(
                f"{path} is open to others (mode {mode:04o}): "
                f"`chmod 600 {path}`, and ask who has read it"
            )
        key = serialization.load_pem_private_key(path.read_bytes(), password=None)
    except OSError as error:
        raise ConfigError(f"cannot read the private key {path}: {error.strerror}") from None
    except (ValueError, TypeError, UnsupportedAlgorithm):
        key = None
    if not isinstance(key, Ed25519PrivateKey):
        raise ConfigError(f"{path} is no Ed25519 private key: restore the one of this hospital")
    return key


def load_public_key(path: Path) -> Ed25519PublicKey:
    """The public key in a PEM file.

    Raises:
        ConfigError: no such file, or it is no Ed25519 public key.
    """
    try:
        key = serialization.load_pem_public_key(path.read_bytes())
    except OSError as error:
        raise ConfigError(f"cannot read the public key {path}: {error.strerror}") from None
    except (ValueError, UnsupportedAlgorithm):
        key = None
    if not isinstance(key, Ed25519PublicKey):
        raise ConfigError(f"{path} is no Ed25519 public key: ask the hospital for its .pem file")
    return key


def public_pem(key: Ed25519PublicKey) -> bytes:
    """A public key as PEM."""
    return key.public_bytes(
        serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo
    )


def public_hex(key: Ed25519PublicKey) -> str:
    """A public key as 64 hexadecimal digits."""
    return key.public_bytes_raw().hex()


def public_from_hex(digits: str) -> Ed25519PublicKey:
    """The public key of 64 hexadecimal digits."""
    return Ed25519PublicKey.from_public_bytes(bytes.fromhex(digits))


def _write_new(path: Path, content: bytes) -> None:
    """Write a file with mode 0600 whole, and only where there is none: a link never replaces."""
    temporary: Path | None = None
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        handle, name = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.")  # mode 0600
        temporary = Path(name)
        with os.fdopen(handle, "wb") as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        path.hardlink_to(temporary)
    except FileExistsError:
        raise ConfigError(
            f"{path} exists and is never overwritten: its signatures would be worthless"
        ) from None
    except OSError as error:
        raise unwritable(path, error, _CURE) from None
    finally:
        if temporary is not None:
            temporary.unlink(missing_ok=True)
