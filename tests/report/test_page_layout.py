"""What stands where on a page, and which words it explains."""

import re

from markupsafe import Markup

from fedkd.report.cards import Picture, balanced
from fedkd.report.glossary import WORDS, glossary, scored
from fedkd.score import ALMA, Score


def picture(height, width=300.0):
    return Picture(Markup(f'<svg viewBox="0 0 {width} {height}">'), "word")


def test_the_shorter_column_gets_the_next_card():
    [block] = balanced([picture(600), picture(200), picture(200), picture(100)])
    assert [[place for place, _ in column] for column in block.columns] == [[0], [1, 2, 3]]
    assert block.shorter == 1


def test_a_wide_picture_has_both_columns():
    blocks = balanced([picture(200), picture(200, width=600.0), picture(200)])
    assert [[[n for n, _ in column] for column in block.columns] for block in blocks] == [
        [[0], []], [[1]], [[2], []]
    ]  # fmt: skip


def explained(page):
    return re.findall(r"<dt>([^<]*)</dt><dd>", page.partition("What the numbers mean")[2])


def test_the_glossary_has_the_words_that_the_page_shows(pages):
    found = explained(pages["one"].read_text())
    assert found[:3] == ["ALMA", "local", "global"]
    assert {"±", "Seconds", "Traffic", "Digest"} < {*found}
    assert not {"Effective neighbours", "Imbalance", "Epsilon", "EPD", "Diverged"} & {*found}
    assert {"Effective neighbours", "Diverged", "Rejected"} < {*explained(pages["two"].read_text())}


def test_a_word_in_a_command_or_a_style_is_not_shown():
    hidden = "<style>.epsilon {}</style><pre>privacy.epsilon=8</pre><p class='epsilon'></p>"
    assert glossary(hidden, ALMA) == []
    assert [name for name, _ in glossary("<td>epsilon</td>", ALMA)] == ["Epsilon"]


def test_a_metrics_name_is_escaped():
    score = Score("<b>rmse</b>", more=False)
    assert all("<B>" not in word.text for word in scored(score))


def test_every_word_is_found_by_its_own_pattern():
    for word in WORDS:
        assert re.search(word.pattern, word.name, re.I) or word.name in ("Weight", "Traffic")


def test_tables_can_be_scrolled_and_say_so(pages):
    page = pages["two"].read_text()
    tables = re.findall(r'<div class="scroll[^>]*tabindex="0"[^>]*>\s*<p class="hint"', page)
    assert len(tables) == page.count("<table>") > 0


def test_how_to_repeat_is_on_the_page(pages):
    page = pages["one"].read_text()
    assert "<code>fedkd run strategy=knfu" in page
    assert "Versions: " in page
    assert "Digest of the final models" in page


def test_who_fell_out_is_on_the_page(pages):
    page = pages["two"].read_text()
    assert "1 of 20 diverged" in page
    assert "1 of 20 with replies rejected" in page
    assert "Clients that diverged" not in pages["one"].read_text()
