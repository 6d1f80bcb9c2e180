"""Every page of the documentation in a real browser, opened as a file: `python -m tests.thorough --only browser`."""

from __future__ import annotations

import pytest

from dynlab.docs import __main__ as command
from tests.browsing import WIDTHS, Tab, chromium

WHOLE = """() => [...document.images].filter((one) => !one.complete || !one.naturalWidth).map((one) => one.src)"""
EMPTY = """() => [...document.querySelectorAll("math")].filter((one) => !one.getBoundingClientRect().width).length"""
FOUND = "#search-results li a"


@pytest.fixture(scope="module")
def browser():
    with chromium() as made:
        yield made


@pytest.fixture(scope="module")
def pages(tmp_path_factory):
    pytest.importorskip("bokeh", reason="bokeh, for the page with sliders, is not installed")
    out = tmp_path_factory.mktemp("docs") / "pages"
    assert command.build(out, explorer=True) == 0
    return out


@pytest.mark.parametrize("width", WIDTHS)
def test_every_page_fits_and_says_nothing_wrong(browser, pages, width):
    tab, faults = Tab(browser, width), []
    files = sorted(pages.glob("*.html"))
    assert len(files) > 30
    for file in files:
        tab.page.goto(file.as_uri())
        wide = [] if tab.fits() else [f"{file.name} is wider than {width}"]
        faults += [*wide, *(f"{file.name}: no picture {one}" for one in tab.page.evaluate(WHOLE))]
        if file.name != "explorer.html" and (empty := tab.page.evaluate(EMPTY)):
            faults.append(f"{file.name}: {empty} formulas are not drawn")
        tab.shot(f"docs_{file.stem}_{width}.png")
    assert faults == []
    tab.end(pages.as_uri())


def test_the_sidebar_stays(browser, pages):
    tab = Tab(browser, 1400)
    tab.page.goto((pages / "reference.html").as_uri())
    tab.page.evaluate("window.scrollTo(0, 30000)")
    box = tab.page.locator("div.sphinxsidebar").bounding_box()
    assert box["y"] == 0 and box["x"] >= 0 and 0 < box["height"] <= 1000, "in the window's own coordinates"
    assert tab.page.locator("div.body").bounding_box()["x"] >= box["x"] + box["width"]
    tab.page.locator("div.sphinxsidebar").get_by_role("link", name="Words").click()
    tab.page.wait_for_url("**/glossary.html")
    tab.end(pages.as_uri())


def test_on_a_narrow_screen_the_pages_fold_out(browser, pages):
    tab = Tab(browser, 390, has_touch=True, is_mobile=True)
    tab.page.goto((pages / "reference.html").as_uri())
    link = tab.page.locator("details.pages").get_by_role("link", name="Words")
    assert not link.is_visible()
    tab.page.locator("details.pages summary").tap()
    link.tap()
    tab.page.wait_for_url("**/glossary.html")
    assert tab.fits()
    tab.end(pages.as_uri())


@pytest.mark.parametrize("width", WIDTHS)
@pytest.mark.parametrize(
    ("word", "page"),
    [("substitution", "glossary"), ("E_21", "glossary"), ("simulate", "reference"), ("nullclines", "explore")],
)
def test_search_finds(browser, pages, width, word, page):
    tab = Tab(browser, width)
    tab.page.goto((pages / "index.html").as_uri())
    if width < 1000:
        tab.page.locator("details.pages summary").click()
    field = tab.page.locator("input[name=q]:visible").first
    field.fill(word)
    field.press("Enter")
    tab.page.wait_for_selector(FOUND)
    tab.page.wait_for_function(
        "() => document.querySelector('#search-results p.search-summary')?.textContent.includes('found')"
    )
    places = [link.get_attribute("href") for link in tab.page.locator(FOUND).all()]
    assert any(f"{page}.html" in place for place in places), places
    assert tab.fits()
    tab.shot(f"docs_search_{word}_{width}.png")
    tab.page.locator(f"{FOUND}[href*='{page}.html']").first.click()
    tab.page.wait_for_selector("div.body h1")
    tab.end(pages.as_uri())
