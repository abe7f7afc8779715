"""Keys: made once, read by their owner alone."""

import stat
from pathlib import Path

import pytest

from fedward.client.keys import (
    create_key,
    load_key,
    load_public_key,
    public_from_hex,
    public_hex,
    public_path,
)
from fedward.common.errors import ConfigError


def test_a_key_is_private_and_its_public_half_lies_beside_it(tmp_path: Path) -> None:
    path = tmp_path / "pki" / "hospital.key"
    key = create_key(path)
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert load_key(path).private_bytes_raw() == key.private_bytes_raw()
    public = load_public_key(public_path(path))
    assert public_path(path).read_text(encoding="utf-8").startswith("-----BEGIN PUBLIC KEY-----")
    assert public_hex(public) == public_hex(key.public_key())
    assert public_hex(public_from_hex(public_hex(public))) == public_hex(public)
    assert sorted(entry.name for entry in path.parent.iterdir()) == ["hospital.key", "hospital.pem"]


def test_a_key_is_never_overwritten(tmp_path: Path) -> None:
    path = tmp_path / "hospital.key"
    create_key(path)
    before = path.read_bytes(), public_path(path).read_bytes()
    with pytest.raises(ConfigError, match="never overwritten"):
        create_key(path)
    assert (path.read_bytes(), public_path(path).read_bytes()) == before
    with pytest.raises(ConfigError, match="where the public key goes"):
        create_key(tmp_path / "hospital.pem")


@pytest.mark.parametrize("mode", [0o640, 0o604, 0o660, 0o644, 0o601])
def test_a_key_that_others_can_reach_is_refused(tmp_path: Path, mode: int) -> None:
    path = tmp_path / "hospital.key"
    create_key(path)
    path.chmod(mode)
    with pytest.raises(ConfigError, match=f"chmod 600 {path}"):
        load_key(path)
    path.chmod(0o400)
    assert load_key(path)


def test_what_is_no_key_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "hospital.key"
    with pytest.raises(ConfigError, match="cannot read the private key"):
        load_key(path)
    with pytest.raises(ConfigError, match="cannot read the public key"):
        load_public_key(path)
    path.write_text("nothing", encoding="utf-8")
    path.chmod(0o600)
    with pytest.raises(ConfigError, match="no Ed25519 private key"):
        load_key(path)
    with pytest.raises(ConfigError, match="no Ed25519 public key"):
        load_public_key(path)
