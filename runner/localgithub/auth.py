"""The two middlewares: faults on demand, then who calls and whether the rate limit allows it."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field

from aiohttp import web

from runner.localgithub.faults import Fault
from runner.localgithub.pages import page
from runner.localgithub.people import Actor, actor_of
from runner.localgithub.state import ApiError, State
from runner.localgithub.web_api import ACTOR, STATE, refusal

Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]
WINDOW_SECONDS = 3600
# GitHub refuses App tokens that live longer.
JWT_SECONDS = 600
RATE_LIMITED = "API rate limit exceeded for installation."
SECONDARY_LIMITED = (
    "You have exceeded a secondary rate limit. Please wait a few minutes before you try again."
)


@dataclass(slots=True)
class RateLimit:
    """Calls that each account made in its window of one hour."""

    used: dict[str, int] = field(default_factory=dict)
    reset: dict[str, float] = field(default_factory=dict)

    def count(self, login: str, now: float) -> tuple[int, int]:
        """Counts a call; gives (used, end of the window)."""
        if self.reset.get(login, 0.0) <= now:
            self.reset[login] = now + WINDOW_SECONDS
            self.used[login] = 0
        self.used[login] += 1
        return self.used[login], int(self.reset[login])


RATE_LIMIT = web.AppKey("rate_limit", RateLimit)


@web.middleware
async def faults(request: web.Request, handler: Handler) -> web.StreamResponse:
    """Lets the next fault that fits strike this call."""
    state = request.app[STATE]
    is_admin = request.path.startswith("/_local/")
    fault = None if is_admin else state.faults.take(request.method, request.path)
    if fault is None:
        return await handler(request)
    if fault.kind in ("drop_after", "garbage"):
        await handler(request)
    if fault.kind in ("drop", "drop_after"):
        if request.transport is not None:
            request.transport.abort()
        return web.Response()
    if fault.kind == "hang":
        await state.faults.hang(fault.seconds)
        return web.Response(status=504)
    return _faulty(fault, state)


def _faulty(fault: Fault, state: State) -> web.Response:
    if fault.kind == "garbage":
        return web.Response(text="<html>Bad gateway</html>", content_type="text/html")
    if fault.kind == "oversized":
        return web.Response(body=b'["' + b"x" * int(fault.seconds * 1024 * 1024) + b'"]')
    if fault.kind == "rate_limit":
        response = refusal(ApiError(403, RATE_LIMITED))
        response.headers["X-RateLimit-Remaining"] = "0"
        response.headers["X-RateLimit-Reset"] = str(int(state.settings.clock() + fault.seconds))
        return response
    if fault.kind == "secondary_limit":
        response = refusal(ApiError(429, SECONDARY_LIMITED))
        response.headers["Retry-After"] = str(int(fault.seconds))
        return response
    return refusal(ApiError(fault.status, "Server Error"))


@web.middleware
async def authenticate(request: web.Request, handler: Handler) -> web.StreamResponse:
    """Finds out who calls, counts the call, and turns refusals into GitHub's JSON."""
    if request.match_info.handler is page:
        return await handler(request)
    state = request.app[STATE]
    try:
        actor = _actor(state, request)
        request[ACTOR] = actor
        now = state.settings.clock()
        used, reset = request.app[RATE_LIMIT].count(actor.login, now)
        limit = state.settings.rate_limit
        try:
            if used > limit:
                raise ApiError(403, RATE_LIMITED)
            response = await handler(request)
        except ApiError as error:
            response = refusal(error)
        headers = {"Limit": limit, "Remaining": max(0, limit - used), "Used": used, "Reset": reset}
        for name, value in headers.items():
            response.headers[f"X-RateLimit-{name}"] = str(value)
        return response
    except ApiError as error:
        return refusal(error)
    except web.HTTPRequestEntityTooLarge:
        return refusal(ApiError(413, "Payload too big"))
    except web.HTTPException as error:
        return refusal(ApiError(error.status, "Not Found" if error.status == 404 else error.reason))


def _actor(state: State, request: web.Request) -> Actor:
    scheme, _, token = request.headers.get("Authorization", "").partition(" ")
    if not token:
        raise ApiError(401, "Requires authentication")
    if scheme.lower() not in ("bearer", "token"):
        raise ApiError(401, "Bad credentials")
    if token.count(".") == 2:
        return _app(state, token)
    actor = actor_of(state, token)
    if actor is None:
        raise ApiError(401, "Bad credentials")
    return actor


def _app(state: State, token: str) -> Actor:
    import jwt  # only where an App calls

    settings = state.settings
    if settings.app_public_key is None:
        raise ApiError(401, "A JSON web token could not be decoded")
    # `clock` may be a test's, so the times are compared here.
    required = ["iss", "iat", "exp"]
    try:
        claims = jwt.decode(
            token,
            settings.app_public_key,
            algorithms=["RS256"],
            options={"verify_exp": False, "verify_iat": False, "require": required},
        )
    except jwt.PyJWTError as error:
        raise ApiError(401, "A JSON web token could not be decoded") from error
    now = settings.clock()
    if claims["exp"] <= now or claims["iat"] > now:
        raise ApiError(401, "'Expiration time' claim ('exp') must be a numeric value in the future")
    if claims["exp"] - now > JWT_SECONDS:
        raise ApiError(401, "'Expiration time' claim ('exp') is too far in the future")
    if str(claims["iss"]) != settings.app_id:
        raise ApiError(404, "Integration not found")
    return Actor(settings.bot, is_app=True)
