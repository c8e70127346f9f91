"""The page as people see it: in Chromium, on the running system."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest

from database import control
from database.memory import judge_outcome
from database.missions import Mission
from runner.process import run_agent
from runner.settings import RunnerSettings
from tests.browser.chromium import Tab
from tests.servers.past_missions import Past, recalled_entry, write_past
from tests.servers.system import CLOUD, DOCS, NOBODY, REPOSITORY, System, open_system

# Whatever makes the page, or what is open over it, scroll sideways.
TOO_WIDE = """
    [document.documentElement, document.querySelector("#missions"), document.querySelector("#detail")]
        .filter((node) => node.scrollWidth > node.clientWidth)
        .map((node) => [node.id, ...[...node.querySelectorAll("*")]
            .filter((inner) => inner.getBoundingClientRect().right > node.getBoundingClientRect().right + 1)
            .map((inner) => inner.outerHTML.slice(0, 100))].join(" "))
"""
CONTRAST = (Path(__file__).parent / "contrast.js").read_text()
HOSTILE = "<script>document.title='owned'</script><img src=x onerror=\"document.title='owned'\"> VPC cluster"
RIGHT_TO_LEFT = "ענן AWS VPC \u202e gnihtemos Kubernetes cluster العربية"
ERASED = {key: recalled_entry()[key] for key in ("memory_id", "similarity")}
VIEWS = [(width, dark) for width in (400, 1400) for dark in (False, True)]


def row(number: int) -> str:
    return f"document.querySelector('[data-mission=\"{number}\"]')"


def state_is(number: int, state: str) -> str:
    return f"{row(number)}?.querySelector('.chip').textContent === '{state}'"


def tile(agent: str) -> str:
    return f"document.querySelector('.tile[aria-label^=\"{agent}:\"]')"


async def until_live(tab: Tab) -> None:
    await tab.until("document.querySelector('#connection').dataset.is === 'live'")
    await tab.until("document.querySelectorAll('.tile').length === 4")


@asynccontextmanager
async def held_runner(system: System, agent: str, step: str) -> AsyncIterator[asyncio.Event]:
    """A runner that stops at `step` of each mission until the event is set."""
    go, stop = asyncio.Event(), asyncio.Event()

    async def hold(reached: str, _: Mission) -> None:
        if reached == step:
            await go.wait()

    settings = RunnerSettings.from_environment(system.runner_variables(agent))
    running = asyncio.create_task(run_agent(settings, stop, hold))
    try:
        yield go
    finally:
        go.set()
        stop.set()
        await running


@pytest.fixture
async def resting(database, redis_server, tmp_path):
    """The system with its gateway and without runners."""
    async with open_system(database, redis_server, tmp_path) as system:
        await system.start_gateway()
        yield system


async def test_a_mission_arrives_is_worked_and_ends_before_our_eyes(resting, browser):
    tab = await browser.open(resting.url)
    await until_live(tab)
    await tab.evaluate("window.sameDocument = true")
    assert await tab.evaluate("document.querySelector('#mission-list').childElementCount") == 0

    async with held_runner(resting, "cloud-architect", "recalled") as go:
        await tab.until(f"{tile('cloud-architect')}.dataset.presence === 'ready'")
        number = resting.github.open_issue(REPOSITORY, CLOUD)
        await tab.until(state_is(number, "running"))
        await tab.until(f"{tile('cloud-architect')}.dataset.working === 'true'")
        assert (
            await tab.evaluate("document.querySelector('#headline').textContent")
            == "0 of 1 issue in a final state"
        )
        go.set()
        await tab.until(state_is(number, "done"))

    await tab.until(f"{tile('cloud-architect')}.dataset.working === 'false'")
    assert (
        await tab.evaluate("document.querySelector('#headline').textContent")
        == "1 of 1 issue in a final state"
    )
    assert await tab.evaluate("document.querySelector('#bar').ariaValueNow") == "1"
    shown = await tab.evaluate(f"{row(number)}.innerText")
    assert CLOUD in shown
    assert "cloud-architect" in shown
    assert "kubernetes" in shown  # of the matcher's reasons
    assert await tab.evaluate("window.sameDocument")
    assert tab.complaints == []


async def test_an_issue_that_nobody_fits_is_shown_with_the_nearest(system, browser):
    tab = await browser.open(system.url)
    number = system.github.open_issue(REPOSITORY, NOBODY)
    await tab.until(state_is(number, "abstained"))

    shown = await tab.evaluate(f"{row(number)}.innerText")
    assert "no agent" in shown
    assert "nearest" in shown


async def test_hostile_titles_are_text_and_nothing_else(system, browser):
    tab = await browser.open(system.url)
    hostile = system.github.open_issue(REPOSITORY, HOSTILE, body=HOSTILE)
    turned = system.github.open_issue(REPOSITORY, RIGHT_TO_LEFT)
    await tab.until(state_is(hostile, "done"))
    await tab.until(state_is(turned, "done"))

    assert HOSTILE in await tab.evaluate(f"{row(hostile)}.textContent")
    # What is written from right to left turns around only itself: the chip stays left of it, the time right.
    places = await tab.evaluate(
        f"['.chip', 'h3', '.took'].map((part) => {row(turned)}.querySelector(part).getBoundingClientRect().left)"
    )
    assert places == sorted(places)
    await tab.evaluate(f"{row(hostile)}.querySelector('.more').click()")
    await tab.until("document.querySelector('#detail').open")
    assert HOSTILE in await tab.evaluate("document.querySelector('#detail').textContent")

    assert await tab.evaluate("document.title") != "owned"
    assert await tab.evaluate("document.querySelectorAll('img, script').length") == 2  # the page's own
    assert tab.complaints == []


async def test_a_mission_and_an_agent_open_with_the_keyboard_and_close_again(system, browser):
    tab = await browser.open(system.url)
    number = system.github.open_issue(REPOSITORY, DOCS, body="Please.")
    await tab.until(state_is(number, "done"))

    await tab.evaluate(f"{row(number)}.querySelector('.more').focus()")
    await tab.press("Enter", 13)
    await tab.until("document.querySelector('#detail').open")
    shown = await tab.evaluate("document.querySelector('#detail').innerText")
    for part in (DOCS, "Why this agent", "Recalled", "Outcome", "Answer", "No model ran", "Please."):
        assert part in shown
    await tab.press("Escape", 27)
    await tab.until("!document.querySelector('#detail').open")
    await tab.until("location.hash === ''")

    # One tab stop for all tiles of a region; arrow keys go on from there.
    assert await tab.evaluate("document.querySelectorAll('.tile[tabindex=\"0\"]').length") == 1
    await tab.evaluate("document.querySelector('.tile').focus()")
    await tab.press("ArrowRight", 39)
    second = await tab.evaluate("document.activeElement.querySelector('.name').textContent")
    assert second == await tab.evaluate("document.querySelectorAll('.tile .name')[1].textContent")
    await tab.press("Enter", 13)
    await tab.until(f"document.querySelector('#detail-title')?.textContent === '{second}'")
    assert "Newest missions" in await tab.evaluate("document.querySelector('#detail').innerText")
    assert tab.complaints == []


async def test_an_address_leads_straight_to_a_mission(system, browser):
    number = system.github.open_issue(REPOSITORY, DOCS)
    mission = await system.until_state(number, "done")

    tab = await browser.open(f"{system.url}/#mission={mission['id']}")

    await tab.until(f"document.querySelector('#detail-title')?.textContent.includes({DOCS!r})")


async def test_pauses_and_failures_are_told_and_go_away_again(system, browser):
    tab = await browser.open(system.url)
    await until_live(tab)
    async with system.gateway.acquire() as connection:
        await control.pause(connection, "all", "alice", "release day")
    await tab.until("document.querySelector('#notices').innerText.includes('Everything is paused')")
    assert "by alice" in await tab.evaluate("document.querySelector('#notices').innerText")
    number = system.github.open_issue(REPOSITORY, CLOUD)
    await tab.until(state_is(number, "queued"))

    async with system.gateway.acquire() as connection:
        await control.resume(connection, "all")

    await tab.until("document.querySelector('#notices').childElementCount === 0")
    await tab.until(state_is(number, "done"))


async def test_proven_work_shows_up_in_memory(system, browser):
    number = system.github.open_issue(REPOSITORY, CLOUD)
    mission = await system.until_state(number, "done")
    tab = await browser.open(system.url)
    proven = "document.querySelector('[data-key=\"Proven outcomes\"] dd').textContent"
    await tab.until(f"{proven} === '0'")

    async with system.gateway.acquire() as connection:
        await judge_outcome(connection, mission["id"], succeeded=True, by="closed as completed")

    await tab.until(f"{proven} === '1'")


async def test_a_gateway_that_went_away_is_told_and_found_again(system, browser):
    tab = await browser.open(system.url)
    await until_live(tab)

    await system.stop_all()
    await tab.until("document.querySelector('#connection').dataset.is === 'lost'")
    await system.start_gateway()  # on the same port
    await tab.until("document.querySelector('#connection').dataset.is === 'live'")


@pytest.fixture
async def busy(system, browser):
    """A tab on a system that has something to show everywhere."""
    numbers = [
        system.github.open_issue(REPOSITORY, title)
        for title in (
            CLOUD,
            DOCS,
            NOBODY,
            HOSTILE,
            RIGHT_TO_LEFT,
            "Averylongwordwithoutabreak" * 9 + " VPC cluster",
        )
    ]
    for number in numbers:
        await system.until_state(number, "done", "abstained")
    async with system.gateway.acquire() as connection:
        await control.pause(connection, "all", "alice", "x" * 300)
    await system.gateway.execute(
        "UPDATE missions SET state = 'failed', reason = $1 WHERE issue_number = $2",
        "the model endpoint answered 500 " * 6,
        numbers[1],
    )
    await system.gateway.execute(
        "UPDATE missions SET misrouted_from = 'secure-specialist', recalled = $1 WHERE issue_number = $2",
        json.dumps([recalled_entry(issue_title="Earlier <b>work</b>"), ERASED]),
        numbers[0],
    )
    waiting = system.github.open_issue(REPOSITORY, "Another Kubernetes cluster on AWS")
    tab = await browser.open(system.url)
    await tab.until(state_is(waiting, "queued"))
    await tab.until("document.querySelectorAll('#errors li').length > 0")
    await tab.until("document.querySelectorAll('.plot svg').length >= 3")
    return tab


async def test_the_page_is_readable_at_every_width_and_in_every_scheme(busy, tmp_path):
    for width, dark in VIEWS:
        await busy.look(width, 900, dark=dark, still=True)
        scheme = "dark" if dark else "light"
        await busy.until(f"innerWidth === {width} && matchMedia('(prefers-color-scheme: {scheme})').matches")
        await busy.until("document.getAnimations().length === 0")
        where = f"{width} px, {scheme}"
        assert await busy.evaluate(TOO_WIDE) == [], where
        assert await busy.evaluate(CONTRAST) == [], where
        await busy.screenshot(tmp_path / f"{width}-{scheme}.png", whole=True)
        await busy.evaluate("document.querySelector('.more').click()")
        await busy.until("document.querySelector('#detail').open")
        assert await busy.evaluate(TOO_WIDE) == [], where
        assert await busy.evaluate(CONTRAST) == [], where
        await busy.press("Escape", 27)
        await busy.until("!document.querySelector('#detail').open")
    assert busy.complaints == []


async def test_everything_that_can_be_pressed_has_a_name_and_every_plot_its_words(busy):
    await busy.evaluate("document.querySelector('.more').click()")
    await busy.until("document.querySelector('#detail').open")
    tree = (await busy.send("Accessibility.getFullAXTree"))["nodes"]
    named = {"button", "link", "image", "progressbar", "meter", "dialog"}
    nameless = [
        node["role"]["value"]
        for node in tree
        if not node.get("ignored")
        and node["role"]["value"] in named
        and not node.get("name", {}).get("value")
    ]
    assert nameless == []
    assert await busy.evaluate(
        "[...document.querySelectorAll('svg[role=img]')].every((plot) => plot.getAttribute('aria-label'))"
    )
    ids = await busy.evaluate("[...document.querySelectorAll('[id]')].map((node) => node.id)")
    assert sorted(set(ids)) == sorted(ids)


async def test_who_wants_less_motion_gets_none(busy):
    await busy.look(1400, 900, dark=False, still=True)
    await busy.until("matchMedia('(prefers-reduced-motion: reduce)').matches")

    await busy.until("document.getAnimations().length === 0")


async def test_a_recalled_work_that_was_erased_is_called_so_in_the_row_and_in_the_sheet(busy):
    assert "83 % erased" in await busy.evaluate("document.querySelector('.recalled').innerText")
    await busy.evaluate(
        "document.querySelector('.recalled').closest('[data-mission]').querySelector('.more').click()"
    )
    await busy.until("document.querySelector('#detail .candidates i')?.innerText === 'erased'")


async def test_the_page_asks_nobody_but_its_own_gateway(busy, system):
    assert {address.split("/")[2] for address in busy.requests} == {system.url.removeprefix("http://")}


@pytest.fixture
async def remembering(resting, browser):
    """A tab on the memory page of a system with a past, in which every group, arm and width of an interval occurs."""
    agents = [
        row["agent_name"] for row in await resting.gateway.fetch("SELECT agent_name FROM agents ORDER BY 1")
    ]
    past = [
        Past(
            agent,
            "succeeded" if number % 20 < share else "failed",
            "control" if number % 10 == 9 else "memory",
            minutes=40 - number / 2,
            days=170 - 2.7 * number,
            similarities=None if number % 10 == 9 else [0.7 + (number % 30) / 100] * (number % 3),
            files=[f"src/{agent}/{number % 4}/a.py"],
        )
        for agent, share in zip(agents, (20, 12, 2), strict=False)
        for number in range(60)
    ]
    async with resting.database.connect("agents_owner") as owner:
        await write_past(owner, past)
    tab = await browser.open(f"{resting.url}/memory")
    await tab.until("document.querySelectorAll('.plot svg').length >= 6")
    return tab


async def test_the_memory_page_is_readable_at_every_width_and_in_every_scheme(remembering, tmp_path):
    for width, dark in VIEWS:
        await remembering.look(width, 900, dark=dark, still=True)
        scheme = "dark" if dark else "light"
        await remembering.until(
            f"innerWidth === {width} && matchMedia('(prefers-color-scheme: {scheme})').matches"
        )
        # Plots are drawn again for the new width.
        await remembering.until(
            "[...document.querySelectorAll('.plot')].every((node) => [...node.querySelectorAll('svg')]"
            ".every((plot) => Math.abs(plot.clientWidth - node.clientWidth) <= 1))"
        )
        where = f"{width} px, {scheme}"
        assert (
            await remembering.evaluate(TOO_WIDE.replace("#missions", "#agents").replace("#detail", "#groups"))
            == []
        ), where
        assert await remembering.evaluate(CONTRAST) == [], where
        await remembering.screenshot(tmp_path / f"memory-{width}-{scheme}.png", whole=True)
    assert remembering.complaints == []


async def test_the_memory_page_shows_groups_hits_and_what_memory_is_worth(remembering):
    groups = (
        "[...document.querySelectorAll('.group')].map((group) =>"
        " ['h3', 'strong'].map((part) => group.querySelector(part).innerText).join(' '))"
    )
    assert await remembering.evaluate(groups) == [
        "Hall of Fame 1",
        "High performers 0",
        "Unproven 1",
        "Needs improvement 1",
        "Quarantined 0",
        "Eliminated 1",
    ]
    spoken = await remembering.evaluate(
        "[...document.querySelectorAll('svg[role=img]')].map((plot) => plot.getAttribute('aria-label')).join('; ')"
    )
    for part in (
        "were given similar work: 67 %",
        "with memory: ",
        "without memory: ",
        "works recalled: ",
        "by week: ",
    ):
        assert part in spoken
    assert await remembering.evaluate("document.querySelectorAll('#curve .band').length") == 2
    assert "words alone count" in await remembering.evaluate(
        "document.querySelector('#similarity').innerText"
    )
    tree = (await remembering.send("Accessibility.getFullAXTree"))["nodes"]
    named = {"button", "link", "image", "columnheader"}
    assert [
        node["role"]["value"]
        for node in tree
        if not node.get("ignored")
        and node["role"]["value"] in named
        and not node.get("name", {}).get("value")
    ] == []


async def test_the_agents_of_the_memory_page_are_sorted_by_the_column_that_is_pressed(remembering):
    names = "[...document.querySelectorAll('#rows th')].map((cell) => cell.innerText)"
    best = await remembering.evaluate(names)
    await remembering.evaluate("document.querySelector('[data-key=agent]').click()")
    assert await remembering.evaluate(names) == sorted(best, key=str.casefold)
    assert await remembering.evaluate("document.querySelector('[aria-sort]').innerText") == "Agent ▴"
    assert await remembering.evaluate("document.activeElement.dataset.key") == "agent"
    await remembering.evaluate("document.querySelector('[data-key=record]').click()")
    assert await remembering.evaluate(names) == best

    await remembering.evaluate("document.querySelector('#rows th a').click()")
    await remembering.until(f"document.querySelector('#detail-title')?.textContent === '{best[0]}'")


async def test_before_the_first_mission_the_memory_page_says_so(resting, browser):
    tab = await browser.open(f"{resting.url}/memory")
    await tab.until("document.querySelectorAll('.empty').length === 6")
    assert "not judged yet" in await tab.evaluate("document.querySelector('#rows').innerText")
    assert {address.split("/")[2] for address in tab.requests} == {resting.url.removeprefix("http://")}
    assert tab.complaints == []
