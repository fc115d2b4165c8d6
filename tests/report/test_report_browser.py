"""The report in a real Chromium: it asks for nothing, sorts and filters, fits screens, and is fit for all readers."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from reported import shared

playwright = pytest.importorskip("playwright.sync_api", reason="playwright is not installed")
axe = pytest.importorskip("axe_playwright_python.sync_playwright", reason="axe-playwright-python is not installed")
CHROMIUM = next(
    (path for name in ("chromium", "chromium-browser", "google-chrome") if (path := Path("/usr/bin") / name).exists()),
    None,
)
pytestmark = pytest.mark.skipif(CHROMIUM is None, reason="there is no Chromium in /usr/bin")
SERIOUS = ("serious", "critical")


@pytest.fixture(scope="module")
def address(tmp_path_factory: pytest.TempPathFactory) -> str:
    file = tmp_path_factory.mktemp("shown") / "report.html"
    file.write_text(shared(tmp_path_factory.mktemp)[1].html, encoding="utf-8")
    return file.as_uri()


@pytest.fixture(scope="module")
def browser() -> Iterator[Any]:
    with playwright.sync_playwright() as started:
        chromium = started.chromium.launch(executable_path=str(CHROMIUM), args=["--no-sandbox"])
        yield chromium
        chromium.close()


@pytest.fixture
def shown(browser: Any, address: str) -> Iterator[Any]:
    """The report in a window of 1280 pixels, with what it asked for and complained about."""
    window = browser.new_page(viewport={"width": 1280, "height": 900})
    window.asked, window.complaints = [], []
    window.on("request", lambda request: window.asked.append(request.url))
    window.on("console", lambda message: window.complaints.append(message.text))
    window.on("pageerror", lambda error: window.complaints.append(str(error)))
    window.goto(address)
    yield window
    window.close()


def column(window: Any, table: str, number: int) -> list[str]:
    """Return the words of a column's rows that are shown."""
    rows = f"Array.from(document.querySelectorAll('#{table} tbody tr')).filter((row) => !row.hidden)"
    found: list[str] = window.evaluate(f"{rows}.map((row) => row.children[{number}].innerText)")
    return found


def test_it_loads_without_complaint_and_asks_for_nothing_but_itself(shown: Any, address: str) -> None:
    assert shown.asked == [address] and shown.complaints == []
    assert shown.title() == "tiny: report"


def test_columns_are_sorted_by_their_buttons_also_from_the_keyboard(shown: Any) -> None:
    head = shown.locator("#leaderboard-table thead th", has_text="Accuracy")
    button = head.get_by_role("button")
    button.click()
    accuracies = [float(text.split()[0]) for text in column(shown, "leaderboard-table", 3)]
    assert accuracies == sorted(accuracies, reverse=True) and head.get_attribute("aria-sort") == "descending"
    button.focus()
    shown.keyboard.press("Enter")
    accuracies = [float(text.split()[0]) for text in column(shown, "leaderboard-table", 3)]
    assert accuracies == sorted(accuracies) and head.get_attribute("aria-sort") == "ascending"
    shown.locator("#leaderboard-table thead th", has_text="Method").get_by_role("button").click()
    assert column(shown, "leaderboard-table", 0) == sorted(column(shown, "leaderboard-table", 0))
    assert shown.locator("#leaderboard-table th[aria-sort]").count() == 1
    gaps = shown.locator("#leaderboard-table thead th", has_text="Less full model").get_by_role("button")
    gaps.click()
    assert set(column(shown, "leaderboard-table", 5)[-4:]) == {"is it"}  # what has no number stands last


def test_rows_are_filtered_by_words_and_choices(shown: Any) -> None:
    form = shown.locator("form.filters[data-table=leaderboard-table]")
    assert form.get_by_role("status").inner_text() == "12 of 12 rows"
    form.get_by_label("Task").select_option("cnn-femnist")
    assert form.get_by_role("status").inner_text() == "6 of 12 rows"
    form.get_by_label("Find").fill("PRISM")
    assert column(shown, "leaderboard-table", 0) == ["prism", "prism"]
    form.get_by_role("button").click()
    shown.wait_for_function("document.querySelector('.count').textContent === '12 of 12 rows'")


def test_a_note_leads_to_its_cells_and_opens_them(shown: Any) -> None:
    link = shown.locator("#leaderboard-table tbody a").first
    target = link.get_attribute("href")
    assert not shown.locator(target).is_visible()
    link.click()
    shown.locator(target).wait_for(state="visible")


@pytest.mark.parametrize("width", [1280, 390])
def test_nothing_overflows_the_screen(shown: Any, width: int) -> None:
    shown.set_viewport_size({"width": width, "height": 900})
    shown.evaluate("document.querySelectorAll('details').forEach((part) => { part.open = true; })")
    assert shown.evaluate("document.documentElement.scrollWidth") == width


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_axe_finds_no_serious_fault(shown: Any, scheme: str) -> None:
    shown.emulate_media(color_scheme=scheme)
    shown.evaluate("document.querySelectorAll('details').forEach((part) => { part.open = true; })")
    rules = {} if scheme == "light" else {"runOnly": ["color-contrast"]}  # all that a dark page has of its own
    found = axe.Axe().run(shown, options=rules).response["violations"]
    assert [(one["id"], one["nodes"][0]["target"]) for one in found if one["impact"] in SERIOUS] == []


def test_the_page_is_light_or_dark_as_the_reader_wishes(shown: Any) -> None:
    ground = "getComputedStyle(document.body).backgroundColor"
    shown.emulate_media(color_scheme="dark")
    dark = shown.evaluate(ground)
    button = shown.get_by_role("button", name="Light page")
    button.click()
    assert shown.evaluate(ground) != dark
    shown.get_by_role("button", name="Dark page").click()
    assert shown.evaluate(ground) == dark
    shown.emulate_media(media="print", color_scheme="dark")
    assert shown.evaluate(ground) == "rgb(255, 255, 255)" and not shown.locator("nav").is_visible()


def test_the_first_stop_of_the_keyboard_leads_past_the_head(shown: Any) -> None:
    shown.keyboard.press("Tab")
    assert shown.evaluate("document.activeElement.textContent") == "To the report"
    shown.keyboard.press("Enter")
    assert shown.evaluate("document.activeElement.id") == "main"


def test_a_table_wider_than_the_screen_says_that_it_scrolls(shown: Any) -> None:
    hint = "document.getElementById('leaderboard-table').parentElement.previousElementSibling"
    shown.set_viewport_size({"width": 390, "height": 900})
    shown.wait_for_function(f"!{hint}.hidden")
    shown.set_viewport_size({"width": 2400, "height": 900})
    shown.evaluate("document.querySelector('.page').style.maxWidth = 'none'")
    shown.evaluate("window.dispatchEvent(new Event('resize'))")
    shown.wait_for_function(f"{hint}.hidden")


def test_without_a_script_all_of_it_is_there(browser: Any, address: str) -> None:
    context = browser.new_context(java_script_enabled=False)
    window = context.new_page()
    window.goto(address)
    for table in ("settings-table", "leaderboard-table", "ranks-table", "wins-table", "outcomes-table"):
        assert window.locator(f"#{table}").is_visible()
    assert window.locator("#leaderboard-table tbody tr").count() == 12
    assert window.locator("main svg").first.is_visible()
    assert not window.locator("form.filters").first.is_visible() and window.locator("th button").count() == 0
    context.close()
