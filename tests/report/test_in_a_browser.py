"""A report in a browser, wide and as on a phone: it loads, fits, and says what scrolls."""

import shutil

import pytest

CHROMIUM = shutil.which("chromium")
WIDTHS = (1280, 390)
CASES = [(name, width) for name in ("one", "two") for width in WIDTHS]


@pytest.fixture(scope="module")
def browser():
    if CHROMIUM is None:
        pytest.skip("chromium is not installed (Debian's package of that name)")
    reason = "playwright is not installed (pip install 'fedkd[browser]')"
    sync = pytest.importorskip("playwright.sync_api", reason=reason)
    with sync.sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox"])
        yield browser
        browser.close()


@pytest.fixture
def visit(browser, pages):
    """Return a function that opens a report at a width; whatever is reported is a failure."""
    opened, told = [], []

    def visit(name, width, **media):
        page = browser.new_page(viewport={"width": width, "height": 900})
        opened.append(page)
        page.on("console", lambda message: told.append(f"{message.type}: {message.text}"))
        page.on("pageerror", lambda error: told.append(str(error)))
        page.on("requestfailed", lambda request: told.append(f"failed: {request.url}"))
        page.emulate_media(**media)
        page.goto(pages[name].as_uri())
        return page

    yield visit
    for page in opened:
        page.close()
    assert told == []


@pytest.mark.parametrize(("name", "width"), CASES)
def test_it_fits(visit, name, width):
    page = visit(name, width)
    assert page.evaluate("document.documentElement.scrollWidth") == width


@pytest.mark.parametrize("name", ["one", "two"])
def test_every_figure_is_there_and_told_in_numbers(visit, name):
    page = visit(name, 390)
    page.evaluate("document.querySelectorAll('details').forEach(each => each.open = true)")
    found = page.eval_on_selector_all(
        "figure svg[role], figure img",
        """all => all.map(each => [each.getAttribute('aria-label') || each.alt,
            each.getBoundingClientRect().width, each.getBoundingClientRect().height,
            each.complete !== false && each.naturalWidth !== 0])""",
    )
    assert len(found) == page.locator("figure svg, figure img").count() > 4
    for words, width, height, loaded in found:
        assert any(character.isdigit() for character in words), words
        assert width > 200
        assert height > 80
        assert loaded


def hints(page):
    """Return for each table that is shown whether it can be scrolled, and whether that is said."""
    return page.eval_on_selector_all(
        ".scroll",
        """all => all.filter(each => each.checkVisibility()).map(each =>
            [each.scrollWidth > each.clientWidth,
             each.querySelector('.hint').checkVisibility()])""",
    )


@pytest.mark.parametrize(("name", "width"), CASES)
def test_a_table_says_that_it_scrolls_where_it_does(visit, name, width):
    found = hints(visit(name, width))
    assert all(scrolls == said for scrolls, said in found)
    assert [True, True] in found or (name, width) != ("two", 390)


def test_cards_have_no_gaps_below_their_captions(visit):
    gaps = visit("two", 1280).eval_on_selector_all(
        "figure",
        """all => all.map(each => each.getBoundingClientRect().bottom
            - each.lastElementChild.getBoundingClientRect().bottom)""",
    )
    assert max(gaps) < 20


def test_a_phone_has_the_cards_in_their_order(visit):
    page = visit("two", 390)
    for gallery in page.query_selector_all(".gallery"):
        tops = gallery.eval_on_selector_all(
            "figure",
            """all => all.map(each => [+each.style.order, each.getBoundingClientRect().top])
                .sort((a, b) => a[0] - b[0]).map(each => each[1])""",
        )
        assert tops == sorted(set(tops))


def test_it_prints_black_on_white_and_whole(visit):
    page = visit("two", 700, media="print", color_scheme="dark")
    style = "getComputedStyle(document.body)"
    assert page.evaluate(f"{style}.backgroundColor") == "rgb(255, 255, 255)"
    assert page.evaluate(f"{style}.color") == "rgb(0, 0, 0)"
    cut = page.eval_on_selector_all(
        ".scroll", "all => all.filter(each => each.scrollWidth > each.clientWidth).length"
    )
    assert cut == 0
    assert not page.locator(".hint:visible").count()
    kept = "all => all.map(each => getComputedStyle(each).breakInside)"
    assert {*page.eval_on_selector_all("figure", kept)} == {"avoid"}
