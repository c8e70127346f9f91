"""A set of file changes as one commit, through GitHub's git data API (docs.github.com/rest/git).

The commit becomes visible only when a branch points to it, so a crash on the way leaves nothing to clean up.
"""

from __future__ import annotations

import base64
from collections.abc import Mapping
from typing import Any

from errors import ExecutionError
from runner.github.objects import read
from runner.github.transport import Transport

REGULAR_FILE = "100644"
MAX_PATHS = 1_000


async def commit_change(
    transport: Transport, repository: str, base_sha: str, files: Mapping[str, bytes | None], message: str
) -> str:
    """The id of a new commit on `base_sha` with `files` (None deletes) changed; file modes are kept.

    Raises ExecutionError when there is nothing to change or too much (more than 1,000 paths).
    """
    if len(files) > MAX_PATHS:
        raise ExecutionError(f"the change touches {len(files)} files; at most {MAX_PATHS} are allowed")
    root = f"/repos/{repository}/git"
    base = await transport.request("GET", f"{root}/commits/{base_sha}", repository=repository)
    base_tree = read(lambda data: str(data["tree"]["sha"]), base.data)
    modes = await _modes(transport, repository, base_tree)
    entries: list[dict[str, Any]] = []
    for path, content in sorted(files.items()):
        if content is None:
            if path in modes:  # GitHub refuses to delete what is not there
                entries.append({"path": path, "mode": modes[path], "type": "blob", "sha": None})
            continue
        entry: dict[str, Any] = {"path": path, "mode": modes.get(path, REGULAR_FILE), "type": "blob"}
        try:
            entry["content"] = content.decode("utf-8")  # GitHub makes the blob: one call less
        except UnicodeDecodeError:
            entry["sha"] = await _blob(transport, repository, content)
        entries.append(entry)
    tree_sha = base_tree
    if entries:
        body = {"base_tree": base_tree, "tree": entries}
        tree = await transport.request(
            "POST", f"{root}/trees", repository=repository, json=body, repeatable=True
        )
        tree_sha = read(_sha, tree.data)
    if tree_sha == base_tree:
        raise ExecutionError("the change leaves every file as it is")
    body = {"message": message, "tree": tree_sha, "parents": [base_sha]}
    commit = await transport.request(
        "POST", f"{root}/commits", repository=repository, json=body, repeatable=True
    )
    return read(_sha, commit.data)


async def _blob(transport: Transport, repository: str, content: bytes) -> str:
    body = {"content": base64.b64encode(content).decode("ascii"), "encoding": "base64"}
    path = f"/repos/{repository}/git/blobs"
    answer = await transport.request("POST", path, repository=repository, json=body, repeatable=True)
    return read(_sha, answer.data)


async def _modes(transport: Transport, repository: str, tree: str) -> dict[str, str]:
    # Without the old mode, a script that is changed would lose its run bit.
    path = f"/repos/{repository}/git/trees/{tree}"
    answer = await transport.request("GET", path, repository=repository, params={"recursive": 1})
    return read(
        lambda data: {str(e["path"]): str(e["mode"]) for e in data["tree"] if e["type"] != "tree"},
        answer.data,
    )


def _sha(data: Mapping[str, Any]) -> str:
    return str(data["sha"])
