"""A stack's configuration: read once, typed, and refused as a whole."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest
import yaml

from errors import SettingsError
from infra.config import read_stack
from infra.stack import from_config
from tests.unit.stacks import PRESETS, ROOT, preset, settings


def test_every_mistake_is_told_at_once() -> None:
    wrong = preset("phase3") | {
        "phase": 7,
        "budget": "much",
        "homeCidr": "8.8.0.0/16",
        "alarmEmail": "nobody",
        "databseClass": "db.t4g.small",
        "protect": "perhaps",
        "imageTag": "latest",
        "missionCapUsd": "-3",
    }
    with pytest.raises(SettingsError) as refusal:
        from_config(wrong, stack="trial")
    message = str(refusal.value)
    assert message.startswith("8 problems:")
    for key in (
        "phase",
        "budget",
        "homeCidr",
        "alarmEmail",
        "databseClass",
        "protect",
        "imageTag",
        "missionCapUsd",
    ):
        assert f"stack trial: {key} is" in message
    assert "Fix: did you mean databaseClass?" in message


def test_a_missing_setting_says_how_to_set_it() -> None:
    incomplete = {key: value for key, value in preset("dev").items() if key != "domain"}
    with pytest.raises(
        SettingsError, match=r"domain is missing. Fix: set it: pulumi config set agents-cloud:domain"
    ):
        from_config(incomplete, stack="dev")


@pytest.mark.parametrize("stack", ["Prod", "far-too-long", "a--b", "-a", "a_b", "3rd"])
def test_a_stacks_name_has_to_fit_into_names_of_aws(stack: str) -> None:
    with pytest.raises(SettingsError, match="cannot stand in names of AWS"):
        from_config(preset("dev"), stack=stack)


def test_values_as_pulumi_hands_them_over_mean_the_same() -> None:
    as_strings = {
        key: json.dumps(value) if isinstance(value, list | bool) else str(value)
        for key, value in preset("prod").items()
    }
    assert from_config(as_strings, stack="prod") == settings("prod")


def test_changing_the_phase_alone_moves_a_stack_and_its_limits() -> None:
    moved = [settings("dev", phase=phase) for phase in (2, 3, 4)]
    assert [(one.limits.budget, one.limits.ceiling) for one in moved] == [
        (100, 150),
        (600, 1000),
        (1200, 2000),
    ]
    assert [one.database.multi_az for one in moved] == [False, True, True]
    assert len({one.regions[0].cidr for one in moved}) == 1
    assert [len(one.active_regions) for one in moved] == [1, 1, 2]


def test_a_stacks_own_limits_win_over_the_phases() -> None:
    assert settings(budget=450, homeFlexMaxSize=9).limits.budget == 450
    assert settings(homeFlexMaxSize=9).home.flex_max_size == 9


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        (
            {"secondRegion": "eu-west-2", "secondZones": ["eu-west-2a", "eu-west-2b"]},
            "eu-west-2 lies in neither zone",
        ),
        ({"secondRecoveryRegion": "us-east-1"}, "us-east-1 is no other region of zone EU"),
        ({"homeRecoveryRegion": "us-west-2"}, "us-west-2 is no other region of zone US"),
        ({"secondModelEndpoint": "https://api.openai.com/v1"}, "not among the hosts that serve from zone EU"),
        ({"homeModelEndpoint": "http://api.openai.com/v1"}, "homeModelEndpoint is 'http:"),
        ({"secondCidr": "10.20.0.0/16"}, "overlap"),
        ({"homeZones": ["us-west-2a"]}, "homeZones must be two or three"),
        ({"homeZones": ["us-west-2a", "us-west-2a"]}, "homeZones must be two or three"),
        ({"secondRegion": "us-west-2"}, "both us-west-2"),
        ({"budget": 2000}, "budget 2000 is above ceiling 1000"),
        ({"flexTypes": ["t4g.xlarge"]}, "flexTypes has one entry"),
        ({"clusterEndpoint": "public"}, "public cluster endpoint needs clusterEndpointCidrs"),
        ({"clusterEndpoint": "public", "clusterEndpointCidrs": ["0.0.0.0/0"]}, "not 0.0.0.0/0"),
        ({"clusterEndpointCidrs": ["192.0.2.0/24"]}, "has no effect"),
        ({"databaseMaxStorageGb": 31}, "not 10 % above"),
        ({"imagePins": ["a=1.2.3", "a=1.2.4"]}, "imagePins names a twice"),
        ({"imagePins": ["a=latest"]}, "imagePins is 'a=latest'"),
        ({"dailyCapUsd": "1"}, "caps must grow"),
        ({"gateOverride": "because"}, "gateOverride is 'because'"),
        ({"accountId": "12"}, "accountId is '12'"),
        ({"logDays": 31}, "logDays is 31"),
        ({"homeZones": "us-west-2a"}, "homeZones is not a list"),
    ],
)
def test_settings_that_break_a_rule_are_refused_with_the_rule(
    changes: dict[str, object], message: str
) -> None:
    with pytest.raises(SettingsError, match=message):
        settings(**changes)


def test_another_model_host_of_the_zone_can_be_allowed() -> None:
    chosen = settings(secondModelEndpoint="https://models.example.eu/v1", euModelHosts=["models.example.eu"])
    assert chosen.regions[1].model_endpoint == "https://models.example.eu/v1"


def test_every_key_of_the_schema_is_described_typed_and_used() -> None:
    schema = yaml.safe_load((ROOT / "Pulumi.yaml").read_text(encoding="utf-8"))["config"]
    for key, entry in schema.items():
        assert entry.keys() >= {"type", "description", "default"}, key
    defaults = {key: entry["default"] for key, entry in schema.items()}
    assert from_config(defaults, stack="dev").phase == 2  # an unused key would be refused


def test_presets_have_the_same_keys_and_differ_in_the_phase_alone() -> None:
    written = [
        yaml.safe_load((ROOT / f"Pulumi.{name}.yaml").read_text(encoding="utf-8"))["config"]
        for name in PRESETS.values()
    ]
    assert written[0].keys() == written[1].keys() == written[2].keys()
    different = {key for key in written[0] if len({str(config[key]) for config in written}) > 1}
    assert different == {"agents-cloud:phase"}


def test_keys_of_other_namespaces_are_left_to_their_providers(tmp_path: Path) -> None:
    shutil.copy(ROOT / "Pulumi.yaml", tmp_path)
    (tmp_path / "Pulumi.x.yaml").write_text(
        "config: {aws:region: us-east-1, agents-cloud:phase: 3}", encoding="utf-8"
    )
    read = read_stack(tmp_path, "x")
    assert "aws:region" not in read
    assert read["phase"] == 3


def test_encrypted_values_are_no_settings(tmp_path: Path) -> None:
    shutil.copy(ROOT / "Pulumi.yaml", tmp_path)
    content = "config: {agents-cloud:homeWebhookSecret: {secure: AAABAD}, agents-cloud:phase: 3}"
    (tmp_path / "Pulumi.x.yaml").write_text(content, encoding="utf-8")
    assert "homeWebhookSecret" not in read_stack(tmp_path, "x")


@pytest.mark.parametrize(
    ("stack", "content", "message"),
    [
        ("absent", None, "no such file. Fix: use a stack of dev, phase3, prod"),
        ("broken", "config: [", "not readable YAML"),
        ("list", "- 1", "not a mapping"),
        ("flat", "config: yes", "`config:` is not a mapping"),
        ("../prod", None, "is no stack name"),
    ],
)
def test_a_stack_that_cannot_be_read_says_why(
    tmp_path: Path, stack: str, content: str | None, message: str
) -> None:
    for name in ("Pulumi.yaml", *(f"Pulumi.{name}.yaml" for name in PRESETS.values())):
        shutil.copy(ROOT / name, tmp_path)
    if content is not None:
        (tmp_path / f"Pulumi.{stack}.yaml").write_text(content, encoding="utf-8")
    with pytest.raises(SettingsError, match=message):
        read_stack(tmp_path, stack)
