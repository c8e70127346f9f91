"""The geography: the proposal's form, every agent in exactly one region, every mistake with its line."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from errors import GeographyError
from runner.agents import Agent, load_agents
from runner.geography import MAX_FILE_BYTES, load_geography, local_geography

ROOT = Path(__file__).resolve().parents[2]


def agents(*names: str) -> list[Agent]:
    return [Agent(name, "", (), name, "", (), "", Path(f"{name}.md"), "0") for name in names]


FLEET = agents("ada", "bob", "eve")
FINE = """regions:
  us-west-2:
    location: Oregon
    agents:
      - ada
      - bob
  eu-west-1:
    location: Ireland
    agents:
      - eve
"""


def write(folder: Path, text: str | bytes) -> Path:
    file = folder / "geography.yaml"
    file.write_bytes(text if isinstance(text, bytes) else text.encode())
    return file


def refusal(file: Path) -> str:
    with pytest.raises(GeographyError) as refused:
        load_geography(file, FLEET)
    return str(refused.value)


def test_this_projects_geography_places_all_66_agents():
    fleet = load_agents(ROOT / ".github" / "agents")
    geography = load_geography(ROOT / "agent_geography.yaml", fleet)
    placed = [name for region in geography.regions for name in region.agents]
    assert sorted(placed) == sorted(agent.name for agent in fleet)
    by_region = {region.name: region for region in geography.regions}
    assert by_region["eu-west-1"].zone == "EU"
    assert 15 <= len(by_region["eu-west-1"].agents) <= 19, "about 17 live in Ireland"
    assert by_region["us-west-2"].zone == "US"


def test_the_proposals_form_is_read(tmp_path):
    geography = load_geography(write(tmp_path, FINE), FLEET)
    assert [(r.name, r.location, r.zone, r.agents) for r in geography.regions] == [
        ("us-west-2", "Oregon", "US", ("ada", "bob")),
        ("eu-west-1", "Ireland", "EU", ("eve",)),
    ]
    assert geography.region_of("eve").name == "eu-west-1"


def test_a_repository_has_the_zone_that_the_file_gives_it_whatever_the_case(tmp_path):
    geography = load_geography(write(tmp_path, FINE + "repositories:\n  Octo/Planets: EU\n"), FLEET)
    assert geography.zone_of("octo/PLANETS") == "EU"
    assert geography.zone_of("octo/moons") is None


@pytest.mark.parametrize(
    "draft", ["      - draft: kubernetes-specialist\n", "    draft: [kubernetes-specialist]\n"]
)
def test_a_draft_may_name_an_agent_that_is_not_there_yet(tmp_path, draft):
    geography = load_geography(write(tmp_path, FINE + draft), FLEET)
    assert geography.regions[1].drafts == ("kubernetes-specialist",)
    assert geography.regions[1].agents == ("eve",)


def test_without_a_file_all_agents_live_here():
    (region,) = local_geography(FLEET).regions
    assert (region.name, region.zone, region.agents) == ("local", "US", ("ada", "bob", "eve"))


@pytest.mark.parametrize(
    ("text", "line", "problem", "fix"),
    [
        (FINE + "      - mallory\n", 11, "'mallory' has no definition", "correct the name, or write `- draft: name`"),
        (FINE + "      - ADA\n", 11, "'ADA' has no definition", "correct the name"),
        (FINE + "      - ada\n", 11, "'ada' stands in us-west-2 already", "keep one of the two lines"),
        (FINE + "      - eve\n", 11, "'eve' stands in eu-west-1 already", "keep one of the two lines"),
        (FINE.replace("      - bob\n", ""), 1, "no region for bob", "list each under one region's `agents`"),
        (FINE.replace("us-west-2", "mars-1"), 2, "'mars-1' is not a region in a known zone", "use a us-… or eu-…"),
        (FINE.replace("us-west-2", "ap-south-1"), 2, "'ap-south-1' is not a region in a known zone", "use a us-…"),
        (FINE.replace("us-west-2", "eu-west-2"), 2, "'eu-west-2' is not a region in a known zone", "use a us-…"),
        (FINE.replace("us-west-2", "us-gov-west-1"), 2, "is not a region in a known zone", "use a us-…"),
        (FINE.replace("us-west-2", "7"), 1, "7 is not a region", "use a us-…"),
        (FINE + "    zone: US\n", 11, "eu-west-1 lies in zone EU, not US", "leave `zone` out"),
        (FINE + "    zone: Moon\n", 11, "zone 'Moon' is unknown", "use one of US, EU"),
        (FINE + "    agnets: []\n", 11, "the key 'agnets' is unknown", "use one of agents, draft, location, zone"),
        (FINE + "region: x\n", 11, "the key 'region' is unknown", "use one of regions, repositories"),
        (FINE + "      - 7\n", 7, "7 in eu-west-1 is not an agent's name", "write `- name`"),
        (FINE + "    draft: 7\n", 11, "`draft` of eu-west-1 is not a list of names", "write `- draft: name`"),
        (FINE + "    draft: bob\n", 11, "`draft` of eu-west-1 is not a list of names", "write `- draft: name`"),
        ("regions:\n  us-west-2: [ada]\n", 2, "region us-west-2 is not a mapping", "give it `location` and `agents`"),
        ("regions:\n  us-west-2:\n    location: x\n", 2, "region us-west-2 lists no agents", "write `agents:`"),
        ("regions: []\n", 1, "`regions` is missing or empty", "write `regions:`"),
        ("repositories: {}\n", 1, "`regions` is missing or empty", "write `regions:`"),
        ("", 1, "the YAML is empty", "write `key: value` lines"),
        ("- us-west-2\n", 1, "the YAML is a list, not a mapping", "write `key: value` lines"),
        (FINE.replace("  eu-west-1", "  us-west-2"), 7, "the key 'us-west-2' stands twice", "correct the YAML"),
        ("a: &a [1]\nb: *a\n", 2, "an alias (*name) is not allowed", "correct the YAML"),
        (FINE + "\tx: y\n", 11, "malformed YAML", "correct the YAML"),
        (FINE + "repositories:\n  planets: EU\n", 12, "does not give a repository's zone", "write `owner/name: US"),
        (FINE + "repositories:\n  a/b: Mars\n", 12, "does not give a repository's zone", "write `owner/name:"),
        (FINE + "repositories: [a/b]\n", 11, "`repositories` is not a mapping", "write `owner/name: EU` lines"),
    ],
)  # fmt: skip
def test_a_mistake_is_named_with_file_line_and_remedy(tmp_path, text, line, problem, fix):
    file = write(tmp_path, text)
    message = refusal(file)
    assert message.startswith(f"{file}:{line}: "), message
    assert problem in message
    assert fix in message.partition("Fix: ")[2]


def test_all_mistakes_are_named_at_once(tmp_path):
    message = refusal(write(tmp_path, FINE.replace("- bob", "- bop").replace("- eve", "- ada")))
    for problem in ("'bop' has no definition", "'ada' stands in us-west-2 already", "no region for bob, eve"):
        assert problem in message


def test_a_file_that_is_not_there_too_large_or_not_utf8_is_refused(tmp_path):
    missing = tmp_path / "nowhere.yaml"
    assert f"{missing}: it cannot be read" in refusal(missing)
    assert "name an existing file" in refusal(missing)
    assert "shorten the file" in refusal(write(tmp_path, FINE + "#" * MAX_FILE_BYTES))
    assert "save the file as UTF-8" in refusal(write(tmp_path, b"regions: \xff\n"))


PIECES = st.lists(
    st.sampled_from(
        [
            *(
                "regions:",
                "  us-west-2:",
                "  eu-west-1: {}",
                "    agents:",
                "      - ada",
                "      - draft: [x]",
            ),
            *(
                "      - {draft: x}",
                "    zone: [US]",
                "    zone: {a: b}",
                "    draft: {a: 1}",
                "    location: [1]",
            ),
            *(
                "repositories:",
                "  a/b: [EU]",
                "  ? [a]",
                "  : b",
                "  7: EU",
                "  <<: {a: b}",
                "{",
                "]",
                "&a x",
                "*a",
            ),
        ]
    ),
    max_size=10,
)


@given(PIECES)
def test_whatever_stands_in_the_file_it_is_a_geography_or_refused(tmp_path_factory, pieces):
    file = write(tmp_path_factory.mktemp("geography"), "\n".join(pieces))
    try:
        load_geography(file, FLEET)
    except GeographyError as refused:
        assert str(refused).startswith(str(file))
        assert "Fix: " in str(refused)
