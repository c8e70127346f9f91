"""What runs by the clock in each deployed phase, indexes and the audit, and the alarms on the audit's outcome."""

from __future__ import annotations

import json
import re
import subprocess
from collections.abc import Mapping
from typing import Any

import pytest
import yaml

from database.audit.command import OFF, SOUND
from infra.policy.workloads import containers
from infra.schedule import AUDIT, INDEX
from infra.shapes import Resource
from tests.unit.stacks import PRESETS, outlook_of

CLUSTERS = ("phase3", "prod")
COMMANDS = {
    "index": ["python", "-m", "database", "index"],
    "audit": ["python", "-m", "database", "audit", "--last", "0"],
}


def made(preset: str, type: str) -> list[Resource]:
    return [resource for resource in outlook_of(preset).resources if resource.type == type]


def cron_jobs(preset: str) -> Mapping[tuple[str, str], Resource]:
    """(region, name) → CronJob"""
    return {
        (job.region, job.inputs["metadata"]["name"]): job
        for job in made(preset, "kubernetes:batch/v1:CronJob")
    }


@pytest.mark.parametrize("preset", CLUSTERS)
def test_every_cluster_indexes_daily_and_audits_twice_a_week(preset: str) -> None:
    found = cron_jobs(preset)
    regions = [region.name for region in outlook_of(preset).plan.regions]
    assert found.keys() == {(region, name) for region in regions for name in COMMANDS}
    for (_, name), job in found.items():
        (container,) = containers(job)
        assert container["command"] == COMMANDS[name]
        assert "/migrate:" in container["image"]
        assert job.inputs["spec"]["timeZone"] == "Etc/UTC"
    schedules = {name: job.inputs["spec"]["schedule"] for (_, name), job in found.items()}
    assert schedules == {"index": "17 1 * * *", "audit": "43 5 * * Mon,Thu"}


def test_a_cron_job_never_overlaps_ends_in_time_and_leaves_little_behind() -> None:
    for job in cron_jobs("phase3").values():
        spec = job.inputs["spec"]
        assert spec["concurrencyPolicy"] == "Forbid"
        assert spec["jobTemplate"]["spec"]["activeDeadlineSeconds"] <= 2 * 3600
        assert spec["successfulJobsHistoryLimit"] + spec["failedJobsHistoryLimit"] <= 3
        assert spec["jobTemplate"]["spec"]["template"]["spec"]["restartPolicy"] == "Never"


def test_they_share_the_plans_room_because_one_ends_before_the_other_begins() -> None:
    begin = 60 * (60 * INDEX.hour + INDEX.minute)
    assert begin + INDEX.deadline_seconds < 60 * (60 * AUDIT.hour + AUDIT.minute)
    (room,) = [pod for pod in outlook_of("phase3").plan.regions[0].system if pod.name == "scheduled"]
    for job in cron_jobs("phase3").values():
        (container,) = containers(job)
        assert container["resources"]["requests"] == room.requests.quantities


@pytest.mark.parametrize("preset", CLUSTERS)
def test_the_audit_alone_may_log_in_as_agents_and_only_as_agents_of_its_own_database(preset: str) -> None:
    roles = {
        (association.region, association.inputs["serviceAccount"]): association.inputs["roleArn"].rsplit("/")[
            -1
        ]
        for association in made(preset, "aws:eks/podIdentityAssociation:PodIdentityAssociation")
    }
    policies = {policy.inputs["role"]: policy for policy in made(preset, "aws:iam/rolePolicy:RolePolicy")}
    for (region, name), job in cron_jobs(preset).items():
        account = job.inputs["spec"]["jobTemplate"]["spec"]["template"]["spec"]["serviceAccountName"]
        statements = json.loads(policies[roles[region, account]].inputs["policy"])["Statement"]
        logins = [one["Resource"] for one in statements if "rds-db:connect" in one["Action"]]
        if name == "index":
            assert logins == []
        else:
            (login,) = logins
            assert re.fullmatch(rf"arn:aws:rds-db:{region}:\d+:dbuser:[^/*]+/agent-\*", login)
        reads = [one["Resource"] for one in statements if "secretsmanager:GetSecretValue" in one["Action"]]
        assert len(reads) == 1, "the owner's password"


def test_they_reach_the_database_by_the_network_policy_of_the_owners_jobs() -> None:
    (policy,) = [
        resource.inputs["spec"]
        for resource in made("phase3", "kubernetes:networking.k8s.io/v1:NetworkPolicy")
        if resource.inputs["metadata"]["name"] == "database"
    ]
    for job in cron_jobs("phase3").values():
        labels = job.inputs["spec"]["jobTemplate"]["spec"]["template"]["metadata"]["labels"]
        assert policy["podSelector"]["matchLabels"].items() <= labels.items()


def test_the_host_has_a_timer_for_each_and_its_compose_file_what_they_start() -> None:
    (host,) = made("dev", "aws:ec2/instance:Instance")
    setup = str(host.inputs["userData"])
    assert subprocess.run(["bash", "-n"], input=setup, text=True, check=False).returncode == 0
    calendars = re.findall(r"agents-cloud-(\w+)\.timer <<.*?OnCalendar=(.*?)\n", setup, re.DOTALL)
    assert dict(calendars) == {"index": "*-*-* 01:17:00 UTC", "audit": "Mon,Thu *-*-* 05:43:00 UTC"}
    services = compose_services()
    for name, command in COMMANDS.items():
        assert f"docker compose run --rm --no-TTY --no-deps --name agents-cloud-{name} {name}\n" in setup
        assert f"systemctl enable --now agents-cloud-{name}.timer\n" in setup
        service = services[name]
        assert service["command"] == command
        assert service["image"] == services["migrate"]["image"]
        # `up` must not start it, and nothing but the timer may start it again.
        assert (service["profiles"], service["restart"]) == (["schedule"], "no")
        assert (service["read_only"], service["cap_drop"]) == (True, ["ALL"])
        # With a region, the audit logs in as agents by tokens of the host's role.
        assert service["environment"]["AWS_REGION"] == "us-west-2"


def compose_services() -> dict[str, Any]:
    (content,) = [
        str(file.inputs["content"])
        for file in made("dev", "aws:s3/bucketObjectv2:BucketObjectv2")
        if file.inputs["key"] == "compose.yaml"
    ]
    services: dict[str, Any] = yaml.safe_load(content)["services"]
    return services


@pytest.mark.parametrize("preset", PRESETS.values())
def test_an_audit_that_is_off_or_missing_reaches_the_alarm_address(preset: str) -> None:
    patterns = {
        (one.region, one.inputs["metricTransformation"]["name"]): one.inputs["pattern"]
        for one in made(preset, "aws:cloudwatch/logMetricFilter:LogMetricFilter")
    }
    logs = {
        one.inputs["logGroupName"] for one in made(preset, "aws:cloudwatch/logMetricFilter:LogMetricFilter")
    }
    assert logs == {f"/agents-cloud/{preset}/{'host' if preset == 'dev' else 'agents'}"}
    alarms = {
        (one.region, one.inputs["name"].removeprefix(f"agents-cloud-{preset}-")): one.inputs
        for one in made(preset, "aws:cloudwatch/metricAlarm:MetricAlarm")
    }
    topics = {
        one.region: one.inputs["topic"] for one in made(preset, "aws:sns/topicSubscription:TopicSubscription")
    }
    for region in outlook_of(preset).plan.regions:
        off, missing = alarms[region.name, "audit-off"], alarms[region.name, "audit-missing"]
        assert patterns[region.name, off["metricName"]] == f'"{OFF}"'
        assert patterns[region.name, missing["metricName"]] == f'"{SOUND}"'
        assert off["alarmActions"] == missing["alarmActions"] == [topics[region.name]]
        assert (off["threshold"], off["comparisonOperator"]) == (0, "GreaterThanThreshold")
        assert off["treatMissingData"] == "notBreaching"
        assert (missing["threshold"], missing["comparisonOperator"]) == (1, "LessThanThreshold")
        assert missing["treatMissingData"] == "breaching"
        # CloudWatch's limit, and longer than from Thursday to Monday with a day that is not over.
        assert 5 * 86_400 < missing["period"] * missing["evaluationPeriods"] <= 7 * 86_400
