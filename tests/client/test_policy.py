"""privacy.yaml: what it says, what it may not say, and how mistakes are named."""

from pathlib import Path

import pytest

from fedward.client.policy import Policy, read_policy
from fedward.common.errors import ConfigError

TEXT = """\
unit: patient
patients: 2900
epsilon_total: 8
epsilon_per_study: {default: 4, studies: {fer-private-8: 8, closed: 0}}
valid_from: 2026-01-01
valid_until: 2026-12-31
minimum_noise_multiplier: 0.8
minimum_patients: 100
may_leave: [update, statistics]
"""


def read(folder: Path, text: str) -> Policy:
    path = folder / "privacy.yaml"
    path.write_text(text, encoding="utf-8")
    return read_policy(path)


def test_a_policy_is_read_and_frozen(tmp_path: Path) -> None:
    policy = read(tmp_path, TEXT)
    assert policy.delta == 1 / 29000
    assert policy.valid_until.isoformat() == "2026-12-31"
    assert policy.may_leave == ("update", "statistics")
    assert [policy.share(study) for study in ("fer-private-8", "closed", "else")] == [8, 0, 4]
    with pytest.raises(ValueError, match="frozen"):
        policy.epsilon_total = 9


def test_without_a_default_a_study_may_take_all(tmp_path: Path) -> None:
    policy = read(tmp_path, TEXT.replace("default: 4, ", ""))
    assert policy.share("else") == 8


def test_a_policy_is_the_same_after_json(tmp_path: Path) -> None:
    policy = read(tmp_path, TEXT)
    assert Policy.model_validate_json(policy.model_dump_json()) == policy


@pytest.mark.parametrize(
    ("before", "after", "message"),
    [
        ("epsilon_total", "epsilon_totl", "did you mean 'epsilon_total'"),
        ("default: 4", "defualt: 4", "did you mean 'default'"),
        ("unit: patient", "unit: ward", "unit: Input should be 'image' or 'patient'"),
        ("patients: 2900", "patients: 0", "patients: Input should be greater"),
        ("patients: 2900", "patients: 2900\ndelta: 0.001", "must be below 1/patients"),
        ("patients: 2900", "patients: 50", "patients is below minimum_patients"),
        ("epsilon_total: 8", "epsilon_total: .inf", "epsilon_total: Input should be a finite"),
        ("epsilon_total: 8", "epsilon_total: 5", "no study can take more than epsilon_total"),
        ("epsilon_total: 8", "epsilon_total: 8\nepsilon_total: 80", "epsilon_total stands twice"),
        ("2026-12-31", "2025-12-31", "valid_until is before valid_from"),
        ("2026-12-31", "soon", "valid_until: Input should be a valid date"),
        ("multiplier: 0.8", "multiplier: 0", "minimum_noise_multiplier: Input should be greater"),
        ("[update, statistics]", "[images]", "may_leave.0: Input should be 'update'"),
        ("closed", "a/../\\n", "epsilon_per_study.studies"),
        ("unit: patient", "{", "cannot be read as YAML"),
    ],
)
def test_a_wrong_policy_is_refused_in_one_line(
    tmp_path: Path, before: str, after: str, message: str
) -> None:
    assert before in TEXT
    with pytest.raises(ConfigError, match=r"privacy\.yaml") as caught:
        read(tmp_path, TEXT.replace(before, after, 1))
    assert message in str(caught.value)
    assert "\n" not in str(caught.value)


def test_what_is_no_policy_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="holds no policy"):
        read(tmp_path, "[1, 2]")
    with pytest.raises(ConfigError, match="cannot be read"):
        read_policy(tmp_path / "absent.yaml")
