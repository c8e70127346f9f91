"""Settings are checked before anything starts, all at once, and never give a secret away."""

from __future__ import annotations

from pathlib import Path

import pytest

from errors import SettingsError
from runner.settings import GatewaySettings, RunnerSettings

RUNNER = {"AGENT_NAME": "ada", "DATABASE_URL": "postgresql://agent-ada@db/agents"}
GATEWAY = {"DATABASE_URL": "postgresql://gateway@db/agents", "WEBHOOK_SECRET": "0123456789abcdef"}


def runner(**variables: str) -> RunnerSettings:
    return RunnerSettings.from_environment({**RUNNER, **variables})


def gateway(**variables: str) -> GatewaySettings:
    return GatewaySettings.from_environment({**GATEWAY, **variables})


def test_a_pod_needs_two_variables_and_listens_on_8080():
    settings = runner()
    assert (settings.agent, settings.port, settings.executor) == ("ada", 8080, "recall")
    assert settings.agents_folder == Path(".github/agents")
    assert settings.redis_url == "", "Redis only wakes: without it a runner polls"
    assert settings.drain_seconds == 100, "a pod's grace period and a spot node's two minutes allow for it"


def test_what_is_set_is_taken():
    settings = runner(PORT="0", CONCURRENCY="9", LEASE_SECONDS="2.5", REDIS_URL="rediss://cache:6379/0")
    assert (settings.port, settings.concurrency, settings.lease_seconds) == (0, 9, 2.5)
    assert settings.redis_url == "rediss://cache:6379/0"


def test_every_wrong_setting_is_named_at_once_with_its_rule():
    wrong = {
        "PORT": "http",
        "CONCURRENCY": "0",
        "LEASE_SECONDS": "nan",
        "POLL_SECONDS": "51",
        "DRAIN_SECONDS": "-1",
        "EXECUTOR": "magic",
        "ZONE": "MARS",
        "ALLOW_SHELL": "maybe",
        "DATABASE_URL": "mysql://db",
        "REDIS_URL": "memcached://cache",
        "GITHUB_API_URL": "ftp://github",
        "GITHUB_TOKEN_FILE": "/nowhere/token",
    }
    with pytest.raises(SettingsError) as refused:
        RunnerSettings.from_environment(wrong)
    message = str(refused.value)
    assert "AGENT_NAME is not set. Fix: set the environment variable AGENT_NAME" in message
    assert "PORT='http' is not from 0 to 65535. Fix: set PORT to from 0 to 65535" in message
    assert "EXECUTOR='magic' is not one of recall, model, actions" in message
    assert "DATABASE_URL is no postgresql URL. Fix: set DATABASE_URL to postgresql://HOST:PORT/…" in message
    assert all(name in message for name in wrong), message
    assert message.count("Fix: ") == len(wrong) + 1


def test_a_gateway_names_its_mistakes_at_once_too():
    with pytest.raises(SettingsError) as refused:
        gateway(WEBHOOK_SECRET="short", PORT="70000", EMBEDDING_MODEL="gpt", DATABASE_URL="")
    message = str(refused.value)
    for mistake in (
        "WEBHOOK_SECRET is shorter than 16",
        "PORT='70000'",
        "EMBEDDING_MODEL",
        "DATABASE_URL is not set",
    ):
        assert mistake in message
    assert "short'" not in message


def test_a_secret_may_come_from_a_file(tmp_path):
    file = tmp_path / "secret"
    file.write_text("fedcba9876543210\n")
    assert gateway(WEBHOOK_SECRET="", WEBHOOK_SECRET_FILE=str(file)).webhook_secret == "fedcba9876543210"


def test_no_secret_is_seen_in_a_printed_setting():
    secrets = {
        "DATABASE_URL": "postgresql://u:hidden-1@db/agents",
        "REDIS_URL": "redis://:hidden-2@cache",
        "GITHUB_TOKEN": "hidden-3",
        "GITHUB_APP_PRIVATE_KEY": "hidden-4",
        "OPENAI_API_KEY": "hidden-5",
        "WEBHOOK_SECRET": "hidden-6-0123456789",
    }
    for settings in (runner(**secrets), gateway(**secrets)):
        assert "hidden" not in repr(settings)
        assert "hidden" not in str(settings)


@pytest.mark.parametrize("name", ["DATABASE_URL", "REDIS_URL", "GITHUB_API_URL"])
def test_no_secret_is_seen_in_a_message_about_it(name):
    with pytest.raises(SettingsError) as refused:
        runner(**{name: "u:hidden@host"})
    assert name in str(refused.value)
    assert "hidden" not in str(refused.value)
