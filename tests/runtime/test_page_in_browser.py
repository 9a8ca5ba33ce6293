"""The page in a real browser: it loads, moves, and its controls change what agents and links do."""

from __future__ import annotations

import shutil
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Any

import pytest

from tests.runtime.pages import Visitor, visited

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

playwright = pytest.importorskip("playwright.async_api", reason="no playwright: pip install '.[test-all]'")
CHROMIUM = shutil.which("chromium")
pytestmark = [
    pytest.mark.skipif(CHROMIUM is None, reason="no browser: apt-get install chromium"),
]
ARGUMENTS = [
    *("--headless", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run"),
    *("--disable-background-networking", "--disable-component-update", "--disable-sync"),
]
LIMIT_MS = 30_000.0


@asynccontextmanager
async def looking(
    visitor: Visitor, width: int = 1280, scheme: str = "light"
) -> AsyncIterator[tuple[Any, list[str]]]:
    """The page after its second answer, and what the browser complains of."""
    async with playwright.async_playwright() as driver:
        browser = await driver.chromium.launch(executable_path=CHROMIUM, args=ARGUMENTS)
        try:
            context = await browser.new_context(viewport={"width": width, "height": 900}, color_scheme=scheme)
            page = await context.new_page()
            page.set_default_timeout(LIMIT_MS)
            complaints: list[str] = []
            page.on("console", lambda message: complaints.append(f"{message.type}: {message.text}"))
            page.on("pageerror", lambda error: complaints.append(str(error)))
            page.on("request", lambda request: complaints.extend(foreign(request.url, visitor.url)))
            await page.goto(visitor.url)
            await page.wait_for_selector('body[data-answers]:not([data-answers="1"])')
            yield page, complaints
        finally:
            await browser.close()


def foreign(url: str, own: str) -> list[str]:
    """A complaint if it is not of this listener."""
    return [] if url.startswith((own, "data:", "blob:")) else [f"asked for {url}"]


async def test_it_loads_and_moves_without_a_complaint() -> None:
    async with visited(3) as visitor, looking(visitor) as (page, complaints):
        assert await page.title() == "a swarm · hyperpush"
        assert await page.locator("#graph .node").count() == 3
        assert await page.locator("#graph path.link").count() >= 6
        assert await page.locator("#agent-table tbody tr").count() == 3
        assert await page.locator("#loss .main-svg").count() > 0, "plotly has drawn"
        assert "training" in await page.text_content("#loss-text")
        assert "of the messages missing" in await page.text_content("#figures")
        before = await page.text_content("#agent-table")
        count = await page.get_attribute("body", "data-answers")
        await page.wait_for_selector(f'body:not([data-answers="{count}"])')
        assert await page.text_content("#agent-table") != before
        assert complaints == []


async def test_a_slider_changes_a_live_link() -> None:
    async with visited(3) as visitor, looking(visitor) as (page, complaints):
        await page.select_option("#fault-from", "agent-0")
        await page.select_option("#fault-to", "agent-1")
        await page.locator("#fault-loss").fill("60")
        await page.wait_for_selector("#said:has-text('60 %')")
        _, told = await visitor.ask("GET", "/v1/faults")
        (live,) = told["agents"]["agent-0"]["live"]
        assert live["change"] == {"drop": 0.6}
        assert live["targets"] == ["agent-1"]
        await page.click("#fault-cut")
        await page.wait_for_selector("#said:has-text('cut')")
        _, told = await visitor.ask("GET", "/v1/faults")
        assert told["agents"]["agent-0"]["live"][-1]["faults"] is None
        await page.click("#fault-clear")
        await page.wait_for_selector("#said:has-text('taken back')")
        _, told = await visitor.ask("GET", "/v1/faults")
        assert told["agents"]["agent-0"]["live"] == []
        assert complaints == []


async def test_buttons_kill_an_agent_and_bring_it_back() -> None:
    async with visited(3) as visitor, looking(visitor, width=390, scheme="dark") as (page, complaints):
        await page.get_by_role("button", name="Kill agent-2").click()
        await page.wait_for_selector("#graph .node.absent")
        await page.wait_for_selector("#events li:has-text('agent-2 is killed')")
        await page.get_by_role("button", name="Restart agent-2").click()
        await page.wait_for_selector("#graph:not(:has(.node.absent))")
        width = await page.locator("html").evaluate("(page) => page.scrollWidth")
        assert width <= 390, "nothing is wider than a phone"
        assert complaints == []


async def test_it_is_used_with_the_keyboard_and_in_the_dark() -> None:
    async with visited(2) as visitor, looking(visitor) as (page, complaints):
        await page.locator("#graph .node").first.focus()
        await page.keyboard.press("Enter")
        await page.wait_for_selector("#graph .node.chosen")
        assert await page.input_value("#chosen") == "agent-0"
        assert (await page.text_content("#loss-text")).startswith("agent-0")
        await page.get_by_role("button", name="Dark").click()
        assert await page.get_attribute("html", "data-theme") == "dark"
        await page.locator("details summary").focus()
        await page.keyboard.press("Enter")
        await page.wait_for_selector("#link-table tbody tr")
        unnamed = await page.locator("button, input, select").evaluate_all(
            "(all) => all.filter((one) => !(one.labels?.length || one.textContent || one.ariaLabel)).length"
        )
        assert unnamed == 0, "a screen reader has a name for every control"
        assert complaints == []


async def test_it_says_when_nobody_answers_any_more() -> None:
    async with visited(1) as visitor, looking(visitor) as (page, _):
        await visitor.page.close()
        await page.wait_for_selector("#trouble:not([hidden])")
        assert "Nobody answers" in await page.text_content("#trouble")
        assert await page.locator("#agent-table tbody tr").count() == 1, "what was seen last stays"
