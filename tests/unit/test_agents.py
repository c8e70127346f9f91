"""Definitions as people write them, as they are found in the wild, and as an attacker would write them."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from errors import DefinitionError
from runner.agents import MAX_FILE_BYTES, MAX_FRONTMATTER_BYTES, load_agent, load_agents

OWN = Path(__file__).resolve().parents[2] / ".github" / "agents"


def definition(name: str = "ada", more: str = "", body: str = "# Ada\n\nWorks.\n") -> str:
    return f"---\nname: {name}\ndescription: Does one thing well\n{more}---\n{body}"


def write(folder: Path, text: str | bytes = "", name: str = "ada") -> Path:
    file = folder / f"{name}.md"
    file.write_bytes(text if isinstance(text, bytes) else (text or definition(name)).encode())
    return file


def refusal(folder: Path) -> str:
    with pytest.raises(DefinitionError) as refused:
        load_agents(folder)
    return str(refused.value)


# What is taken


def test_this_projects_66_definitions_say_everything_about_their_agents():
    agents = load_agents(OWN)
    assert len(agents) == 66
    for agent in agents:
        assert agent.description and agent.tools and agent.responsibilities and agent.body.strip(), agent.name
        assert agent.specialization != agent.name, f"{agent.name} says what it is special in"


def test_66_definitions_from_the_wild_are_read_as_they_are(real: Path):
    agents = {agent.name: agent for agent in load_agents(real / "agents")}
    assert len(agents) == 66
    assert "APIs-architect" in agents
    assert all(agent.description and agent.body for agent in agents.values())
    assert sum(bool(agent.responsibilities) for agent in agents.values()) > 50, "read from the prose"


def test_agents_come_in_the_order_of_their_names_whatever_the_folder_says(tmp_path):
    for name in ("zoe", "ada", "Bob"):
        write(tmp_path, name=name)
    assert [agent.name for agent in load_agents(tmp_path)] == ["Bob", "ada", "zoe"]


@pytest.mark.parametrize(
    "tools",
    ["tools: [view, edit]\n", "tools: view, edit\n", "tools:\n  - view\n  - edit\n", 'tools: "view,edit"\n'],
)
def test_tools_may_be_a_list_or_a_text_with_commas(tmp_path, tools):
    write(tmp_path, definition(more=tools))
    assert load_agents(tmp_path)[0].tools == ("view", "edit")


def test_only_name_and_description_are_needed(tmp_path):
    write(tmp_path)
    (agent,) = load_agents(tmp_path)
    assert (agent.tools, agent.specialization, agent.responsibilities) == ((), "ada", ())


def test_line_ends_of_windows_and_a_byte_order_mark_change_nothing_but_the_digest(tmp_path):
    write(tmp_path, definition(more="tools: view\n"))
    (plain,) = load_agents(tmp_path)
    write(tmp_path, b"\xef\xbb\xbf" + definition(more="tools: view\n").replace("\n", "\r\n").encode())
    (windows,) = load_agents(tmp_path)
    assert (windows.name, windows.tools, windows.body) == (plain.name, plain.tools, plain.body)
    assert windows.digest != plain.digest


def test_responsibilities_are_read_from_the_prose_where_the_frontmatter_has_none(tmp_path):
    body = "## 🎯 Core Responsibilities\n\n1. **Design**: draw it\n- build it\n\n## Other\n- not this\n"
    write(tmp_path, definition(body=body))
    assert load_agents(tmp_path)[0].responsibilities == ("Design: draw it", "build it")


def test_companion_files_are_no_agents(tmp_path):
    write(tmp_path)
    for name in ("README.md", "readme.md", "ada.context.md", "notes.txt", "ada.json"):
        (tmp_path / name).write_text("no frontmatter here")
    (tmp_path / "folder.md").mkdir()
    assert [agent.name for agent in load_agents(tmp_path)] == ["ada"]


def test_the_file_name_that_github_also_accepts_is_taken(tmp_path):
    (tmp_path / "ada.agent.md").write_text(definition())
    assert load_agents(tmp_path)[0].name == "ada"
    assert load_agent(tmp_path, "ada").name == "ada"


def test_a_name_keeps_its_case_and_has_a_lower_case_form_for_kubernetes_and_dns(tmp_path):
    write(tmp_path, name="APIs-architect")
    (agent,) = load_agents(tmp_path)
    assert (agent.name, agent.resource_name) == ("APIs-architect", "apis-architect")


def test_an_edited_definition_has_another_digest(tmp_path):
    file = write(tmp_path)
    before = load_agents(tmp_path)[0].digest
    file.write_text(definition(body="# Ada\n\nWorks better.\n"))
    assert load_agents(tmp_path)[0].digest != before


# What is refused: each message names the file, the line and the way out


@pytest.mark.parametrize(
    ("text", "line", "problem", "fix"),
    [
        ("# Ada\n", 1, "no frontmatter", "start the file with a line `---`"),
        ("", 1, "no frontmatter", "start the file"),
        ("---\nname: ada\n", 1, "the frontmatter does not end", "close it with a line `---`"),
        (definition(more="tools: [view\n"), 4, "malformed YAML", "correct the YAML at this line"),
        (definition(more="tools: {a: b: c}\n"), 4, "malformed YAML", "correct the YAML"),
        ("---\n- ada\n---\n", 2, "the YAML is a list, not a mapping", "write `key: value` lines"),
        ("---\njust text\n---\n", 2, "is a Text, not a mapping", "write `key: value` lines"),
        ("---\n---\n", 2, "the YAML is empty", "write `key: value` lines"),
        ("---\ndescription: x\n---\n", 2, "`name` is missing", "write `name: …`"),
        ("---\nname: ada\n---\n", 2, "`description` is missing", "write `description: …`"),
        ("---\nname: ada\ndescription: ''\n---\n", 3, "`description` is missing or not a text", "write"),
        ("---\nname: ada\ndescription: [x]\n---\n", 3, "`description` is missing or not a text", "write"),
        ("---\nname: 7\ndescription: x\n---\n", 2, "`name` is missing or not a text", "write `name: …`"),
        ("---\nname: bob\ndescription: x\n---\n", 2, "the name 'bob' differs from the file's 'ada'", "rename the file"),
        ("---\ndescription: x\nname: Ada\n---\n", 3, "'Ada' differs from the file's 'ada'", "write `name: ada`"),
        (definition(more="tools: {view: yes}\n"), 4, "`tools` is not a list of texts", "write one `- text` a line"),
        (definition(more="tools: [1, 2]\n"), 4, "`tools` is not a list of texts", "write one `- text` a line"),
        (definition(more="name: ada\n"), 4, "the key 'name' stands twice", "correct the YAML"),
        (definition(more="a: &a [x]\nb: *a\n"), 5, "an alias (*name) is not allowed", "correct the YAML"),
        (definition(more="a: !!python/object/apply:os.system [id]\n"), 4, "malformed YAML", "correct the YAML"),
        (definition(more=f"a: {'x' * MAX_FRONTMATTER_BYTES}\n"), 1, "the frontmatter is over", "move text to the body"),
    ],
)  # fmt: skip
def test_a_broken_definition_is_refused_with_file_line_and_remedy(tmp_path, text, line, problem, fix):
    file = write(tmp_path, text)
    if not text:
        file.write_text("")
    message = refusal(tmp_path)
    assert message.startswith(f"{file}:{line}: "), message
    assert problem in message
    assert fix in message.partition("Fix: ")[2]


@pytest.mark.parametrize(
    "name", ["../ada", "..", "/etc/passwd", "a/b", "a\\b", "a b", "-ada", "ada-", "ä", "a" * 47, "a.b", "\x00", "$(id)"]
)  # fmt: skip
def test_a_name_that_is_a_path_or_no_label_is_refused(tmp_path, name):
    quoted = name.replace("\\", "\\\\").replace("\x00", "\\0")
    file = write(tmp_path, f'---\nname: "{quoted}"\ndescription: x\n---\n')
    message = refusal(tmp_path)
    assert message.startswith(f"{file}:2: the name "), message
    assert "use 1 to 46 letters, digits and hyphens" in message
    with pytest.raises(DefinitionError, match="not usable as a name"):
        load_agent(tmp_path, name)


@pytest.mark.parametrize("name", ["cloud-agent", "Cloud-Agent", "agent", "general-agent"])
def test_a_generic_agent_is_refused(tmp_path, name):
    file = write(tmp_path, name=name)
    message = refusal(tmp_path)
    assert f"{file}:2: {name!r} is a generic agent" in message
    assert "give it one specialisation" in message


def test_names_that_differ_only_in_case_are_refused(tmp_path):
    write(tmp_path, name="ada")
    file = write(tmp_path, name="Ada")
    message = refusal(tmp_path)
    assert "'ada' and 'Ada'" in message or "'Ada' and 'ada'" in message
    assert "one name where case does not count" in message
    assert "rename one of them" in message
    assert str(file.parent) in message


def test_the_same_name_in_two_files_is_refused(tmp_path):
    write(tmp_path, name="ada")
    (tmp_path / "ada.agent.md").write_text(definition())
    message = refusal(tmp_path)
    assert "ada.agent.md" in message
    assert "ada.md" in message


def test_a_file_that_is_too_large_is_refused_before_it_is_parsed(tmp_path):
    file = write(tmp_path, definition(body="x" * MAX_FILE_BYTES))
    message = refusal(tmp_path)
    assert message.startswith(f"{file}: ")
    assert f"the limit is {MAX_FILE_BYTES}" in message
    assert "shorten the definition" in message


def test_invalid_utf8_is_refused_with_the_line_where_it_stands(tmp_path):
    file = write(tmp_path, definition().encode() + b"one\ntwo \xff\n")
    message = refusal(tmp_path)
    assert message.startswith(f"{file}:9: not valid UTF-8")
    assert "save the file as UTF-8" in message


def test_a_link_out_of_the_folder_is_refused(tmp_path):
    outside = tmp_path / "outside.md"
    outside.write_text(definition())
    folder = tmp_path / "agents"
    folder.mkdir()
    (folder / "ada.md").symlink_to(outside)
    message = refusal(folder)
    assert "a link that leaves the folder" in message
    assert "put the file itself here" in message


def test_a_link_to_nowhere_and_a_pipe_are_refused(tmp_path):
    (tmp_path / "ada.md").symlink_to(tmp_path / "gone.md")
    os.mkfifo(tmp_path / "bob.md")
    message = refusal(tmp_path)
    assert f"{tmp_path / 'ada.md'}: it cannot be read" in message
    assert f"{tmp_path / 'bob.md'}: it is not a file" in message


def test_a_folder_that_is_missing_or_empty_is_refused(tmp_path):
    assert "is not a folder" in refusal(tmp_path / "nowhere")
    assert "there is no agent definition" in refusal(tmp_path)
    assert "there is no agent definition" in refusal(tmp_path), "companions are no agents"


def test_all_broken_definitions_are_named_at_once_and_none_is_loaded(tmp_path):
    write(tmp_path, name="fine")
    for name in ("ada", "bob"):
        write(tmp_path, "no frontmatter", name=name)
    message = refusal(tmp_path)
    assert "ada.md:1:" in message
    assert "bob.md:1:" in message


def test_an_agent_without_a_definition_is_refused_by_name(tmp_path):
    write(tmp_path)
    with pytest.raises(DefinitionError, match=r"there is no definition bob\.md\. Fix: check the name"):
        load_agent(tmp_path, "bob")


# Whatever stands in a file, it is a definition or a DefinitionError


@given(st.binary(max_size=400))
def test_random_bytes_are_refused_and_break_nothing(tmp_path_factory, raw):
    folder = tmp_path_factory.mktemp("agents")
    write(folder, raw or b"-")
    assert str(folder) in refusal(folder)


YAML_PIECES = st.lists(
    st.sampled_from(
        [
            *(
                "name: ada",
                "description: x",
                "tools:",
                "- a",
                "  - b",
                "? [a]",
                ": b",
                "&a",
                "*a",
                "<<: *a",
                "<<: {b: c}",
            ),
            *(
                "!!int ''",
                "!!float ''",
                "!!bool maybe",
                "!!timestamp 1",
                "!!set {a}",
                "!!binary é",
                "!!null x",
                "!x y",
            ),
            *(
                "!!int x",
                "a: !!int ''",
                "b: !!bool maybe",
                "c: !!omap [1]",
                "d: !!pairs 1",
                "%TAG ! x",
                "%YAML 9.9",
            ),
            *(
                "{",
                "}",
                "[",
                "]",
                ",",
                "'",
                '"',
                "|",
                ">",
                "#",
                "...",
                "\t",
                "9" * 5000,
                "1_000",
                "0x",
                "-.inf",
                "\x85",
            ),
            *(
                "{a: {b: [c]}}",
                "{[a]: b}",
                "{{a: b}: c}",
                "[" * 2000,
                "2001-99-99",
                "~: ~",
                "? ",
                "\ufeff",
                "1:99:99",
            ),
        ]
    ),
    max_size=12,
)


@given(YAML_PIECES, st.sampled_from(["\n", " "]))
def test_yaml_made_of_traps_is_a_definition_or_refused(tmp_path_factory, pieces, separator):
    folder = tmp_path_factory.mktemp("agents")
    file = write(folder, f"---\nname: ada\ndescription: x\n{separator.join(pieces)}\n---\n")
    try:
        load_agents(folder)
    except DefinitionError as refused:
        assert str(refused).startswith(str(file))
        assert "Fix: " in str(refused)
