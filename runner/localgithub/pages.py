"""What links lead to (`html_url`): an issue or a pull request with its comments, to read in a browser."""

from __future__ import annotations

from html import escape

from aiohttp import web

from runner.localgithub.shapes import issue_row, labels_of
from runner.localgithub.state import ApiError
from runner.localgithub.web_api import STATE

HEADERS = {
    "Content-Security-Policy": "default-src 'none'; style-src 'unsafe-inline'",
    "X-Content-Type-Options": "nosniff",
}
TEMPLATE = """<!doctype html>
<html lang="en">
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>{title} · {repository}#{number}</title>
<style>
:root {{ color-scheme: light dark }}
body {{ font: 1rem/1.5 system-ui, sans-serif; max-width: 48rem; margin: 2rem auto; padding: 0 1rem }}
article {{ border: 1px solid #8886; border-radius: .5rem; margin: 1rem 0; padding: 0 1rem }}
pre {{ font: inherit; white-space: pre-wrap; overflow-wrap: anywhere }}
</style>
<p>{repository} on the local GitHub</p>
<h1>{title} <small>#{number}</small></h1>
<p>{state}{labels}</p>
{entries}
</html>
"""


async def _read(request: web.Request) -> web.Response:
    """No token is asked for: the pages of a public repository are public."""
    state = request.app[STATE]
    wanted = f"{request.match_info['owner']}/{request.match_info['name']}"
    row = issue_row(state, wanted, int(request.match_info["number"]))
    comments = state.store.rows("SELECT author, body FROM comments WHERE issue = ? ORDER BY id", row["id"])
    labels = labels_of(state, row["id"])
    text = TEMPLATE.format(
        title=escape(row["title"]),
        repository=escape(row["repository"]),
        number=row["number"],
        state=escape(" as ".join(filter(None, (row["state"], row["state_reason"])))),
        labels="".join(f" · {escape(label)}" for label in labels),
        entries="\n".join(_entry(entry["author"], entry["body"] or "") for entry in (row, *comments)),
    )
    return web.Response(text=text, content_type="text/html", headers=HEADERS)


async def page(request: web.Request) -> web.Response:
    """The page, or a plain 404."""
    try:
        return await _read(request)
    except ApiError as error:
        return web.Response(text=error.message, status=error.status)


def _entry(author: str, body: str) -> str:
    return f"<article><p><b>{escape(author)}</b></p><pre>{escape(body)}</pre></article>"


PAGE = "/{owner}/{name}"
ROUTES = [
    web.get(PAGE + r"/issues/{number:\d{1,9}}", page),
    web.get(PAGE + r"/pull/{number:\d{1,9}}", page),
]
