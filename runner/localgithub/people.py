"""Accounts, what they may do in a repository, and their tokens."""

from __future__ import annotations

import hashlib
import secrets
from dataclasses import dataclass
from typing import Any

from runner.localgithub.state import ApiError, State, stable_id

# GitHub's `permission` knows four values; the finer `role_name` tells the rest.
LEGACY = {"admin": "admin", "maintain": "write", "write": "write", "triage": "read", "read": "read"}
WRITERS = frozenset({"admin", "maintain", "write"})


@dataclass(frozen=True, slots=True)
class Actor:
    """Who makes a call. `owner` limits an installation token to one owner's repositories."""

    login: str
    owner: str | None = None
    is_app: bool = False


def ensure_user(state: State, login: str) -> None:
    """Makes the account where it is missing; a login that ends in [bot] is an App's."""
    kind = "Bot" if login.endswith("[bot]") else "User"
    state.store.run("INSERT OR IGNORE INTO users (login, type) VALUES (?, ?)", login, kind)


def user_type(state: State, login: str) -> str | None:
    """User or Bot; None for an unknown account."""
    row = state.store.row("SELECT type FROM users WHERE login = ?", login)
    return None if row is None else str(row["type"])


def user_shape(state: State, login: str) -> dict[str, Any]:
    """An account in GitHub's JSON shape."""
    number = stable_id("user", login)
    return {
        "login": login,
        "id": number,
        "node_id": f"U_{number}",
        "avatar_url": "",
        "gravatar_id": "",
        "url": f"{state.url}/users/{login}",
        "html_url": f"{state.url}/{login}",
        "type": user_type(state, login) or ("Bot" if login.endswith("[bot]") else "User"),
        "site_admin": False,
    }


def grant(state: State, repository: str, login: str, role: str) -> None:
    """Gives a role (admin, maintain, write, triage, read or none)."""
    if role not in LEGACY and role != "none":
        raise ApiError(422, f"{role!r} is no role: use {', '.join(LEGACY)} or none")
    ensure_user(state, login)
    sql = """
        INSERT INTO collaborators (repository, login, permission) VALUES (?, ?, ?)
        ON CONFLICT (repository, login) DO UPDATE SET permission = excluded.permission"""
    state.store.run(sql, repository, login, role)


def role_of(state: State, repository: str, login: str) -> str:
    """The role; anybody may read a public repository."""
    sql = "SELECT permission FROM collaborators WHERE repository = ? AND login = ?"
    row = state.store.row(sql, repository, login)
    return "read" if row is None else str(row["permission"])


def may_write(state: State, repository: str, login: str) -> bool:
    """True when the role allows to write."""
    return role_of(state, repository, login) in WRITERS


def require_write(state: State, repository: str, actor: Actor) -> None:
    """Raises ApiError 403 when the caller may not write."""
    if not may_write(state, repository, actor.login):
        raise ApiError(403, "Resource not accessible by integration")


def new_token(
    state: State, login: str, *, owner: str | None = None, expires: float | None = None, prefix: str = "ghp_"
) -> str:
    """A new token; only its digest is kept."""
    ensure_user(state, login)
    token = prefix + secrets.token_hex(20)
    remember_token(state, token, login, owner=owner, expires=expires)
    return token


def remember_token(
    state: State, token: str, login: str, *, owner: str | None = None, expires: float | None = None
) -> None:
    """Accepts `token` as `login` until `expires` (epoch seconds; None: for good)."""
    ensure_user(state, login)
    sql = "INSERT OR REPLACE INTO tokens (digest, login, owner, expires) VALUES (?, ?, ?, ?)"
    state.store.run(sql, _digest(token), login, owner, expires)


def actor_of(state: State, token: str) -> Actor | None:
    """Whose token this is; None when it is unknown or has expired."""
    row = state.store.row("SELECT login, owner, expires FROM tokens WHERE digest = ?", _digest(token))
    if row is None or (row["expires"] is not None and row["expires"] <= state.settings.clock()):
        return None
    return Actor(row["login"], row["owner"])


def _digest(token: str) -> str:
    return hashlib.sha256(token.encode()).hexdigest()
