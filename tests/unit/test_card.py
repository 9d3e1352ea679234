"""Model cards: what the paper asks for, from the catalog alone, with its figures; what nobody knows is said to be unknown."""

import re
import shutil
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from counterfoil.errors import InputError, UnknownError
from counterfoil.types import Candidate, Dataset, Decision, Evaluation
from flows.place import Place
from flows.standards import card, card_facts, card_page, papers
from tests.loop_shop import place_of

ASKED_FOR = (  # Mitchell et al. 2019, figure 1
    "Model details", "Intended use", "Factors", "Metrics", "Evaluation data", "Training data", "Quantitative analyses",
    "Ethical considerations", "Caveats and recommendations",
)  # fmt: skip


@pytest.fixture
def place(turned: Path, tmp_path: Path) -> Any:
    opened = place_of(shutil.copytree(turned, tmp_path / "home"))
    yield opened
    opened.catalog.engine.dispose()


def candidate(place: Place, family: str) -> Candidate:
    return next(one for one in place.catalog.find(Candidate) if one.family == family)


def test_it_has_the_sections_of_the_paper_and_says_what_it_cannot_know(place: Place) -> None:
    made = card.card(place, candidate(place, "repurchase").id)
    titles = [section.title for section in made.sections]
    assert [title for title in titles if title in ASKED_FOR] == list(ASKED_FOR)
    assert all(section.text or section.pairs or section.rows or section.points for section in made.sections)
    details = dict(made.sections[0].pairs)
    assert details["owner, contact"] == details["licence of the model"] == card.UNKNOWN


def test_its_figures_are_those_of_the_evaluation_the_decision_and_the_dataset(place: Place) -> None:
    one = candidate(place, "repurchase")
    made = {section.title: section for section in card.card(place, one.id).sections}
    [evaluation] = [e for e in place.catalog.find(Evaluation) if e.candidate == one.id]
    [decision], [dataset] = place.catalog.find(Decision), place.catalog.find(Dataset)
    told = {row[0]: row[1] for row in made["Metrics"].rows}
    assert told == {name: f"{value:.4f}" for name, value in evaluation.metrics.items()}
    slices = {row[0]: (row[1], row[2]) for row in made["Quantitative analyses"].rows}
    for name, part in evaluation.slices.items():
        if "ndcg@10" in part:
            assert slices[name][1] == f"{part['ndcg@10']:.4f}"
    assert slices["everybody"][0] == f"{evaluation.units:,}"
    assert made["Decisions"].points == decision.sentences
    assert decision.id in made["Decisions"].text[0] and "approved by gate" in made["Decisions"].text[0]
    data = dict(made["Training data"].pairs)
    assert data["interactions"] == f"{dataset.rows:,}" and data["people"] == f"{dataset.people:,}"
    record = dict(made["Record"].pairs)
    assert record["artefact's manifest, SHA-256"] == one.sha256
    [row] = made["Service"].rows
    assert row[3:] == ("champion, 100%", row[4], "and still does")


def test_an_interval_covers_the_mean_as_often_as_it_says() -> None:
    random = np.random.default_rng(3)
    covered = 0
    for _ in range(400):
        values = random.beta(0.5, 1.5, size=300)
        mean = card_facts._mean(float(values.mean()), values)
        assert mean.low is not None and mean.high is not None
        covered += mean.low <= 0.25 <= mean.high
    assert 0.92 < covered / 400 < 0.98
    few = card_facts._mean(0.5, np.array([0.0, 1.0, np.nan]))
    assert (few.low, few.units) == (None, 2), "too few units have no interval"
    assert card_facts._mean(0.9, np.full(50, 0.1)).low is None, (
        "a figure about all lists is no mean over units"
    )


def test_limits_name_every_slice_that_is_worse(place: Place) -> None:
    one = candidate(place, "popularity")
    facts = card_facts.gather(card_facts.Reader(place=place), one.id)
    points = " ".join(card._limits(facts).points)
    whole = facts.means["ndcg@10"].value
    for name, mean in facts.slices.items():
        assert (f"{name}: ndcg@10" in points) == (mean.value < whole)
    assert "It knows nothing after 2024-01-24" in points


def test_it_says_who_lost_and_who_never_served(place: Place) -> None:
    made = card.card(place, candidate(place, "popularity").id)
    assert made.opening == "It contended; the gate said promote, and not for it."
    assert "has never served" in next(s for s in made.sections if s.title == "Service").text[0]


class Page(HTMLParser):
    """What a page needs from elsewhere, and whether its tags close."""

    VOID = {"meta", "br", "img", "link", "input", "hr"}

    def __init__(self) -> None:
        super().__init__()
        self.open: list[str] = []
        self.needs: list[str] = []

    def handle_starttag(self, tag: str, attrs: Any) -> None:
        self.needs += [value for name, value in attrs if name in ("src", "href")]
        if tag not in self.VOID:
            self.open.append(tag)

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag


def test_the_page_needs_nothing_else_and_the_markdown_has_the_same_words(place: Place) -> None:
    made = card.card(place, candidate(place, "repurchase").id)
    page, text = card_page.html(made), card_page.markdown(made)
    parser = Page()
    parser.feed(page)
    assert parser.needs == [] and parser.open == []
    assert re.findall(r"^## (.*)$", text, re.M) == [section.title for section in made.sections]
    for section in made.sections:
        for row in section.rows:
            assert row[-1].replace("_", "\\_") in text
    assert card_page.html(made) == page


def test_marks_of_markdown_and_html_are_taken_as_they_are() -> None:
    section = card.Section(title="T", text=("a <b> *c* | d",), head=("x", "y"), rows=(("a|b", "<i>"),))
    made = card.Card(candidate="candidate-0", title="t", opening="o", sections=(section,))
    assert "a\\|b" in card_page.markdown(made) and "\\*c\\*" in card_page.markdown(made)
    assert "<b>" not in card_page.html(made) and "&lt;i&gt;" in card_page.html(made)


def test_each_decision_has_the_papers_of_all_that_it_weighed(place: Place) -> None:
    [decision] = place.catalog.find(Decision)
    written = papers.write(place, decision)
    names = {path.name for path in written}
    assert {
        f"{one.id}{suffix}" for one in place.catalog.find(Candidate) for suffix in (".md", ".html")
    } < names
    assert any(name.endswith(".cdx.json") for name in names)
    before = {path: path.read_bytes() for path in written}
    assert papers.write(place, decision) == written
    assert {path: path.read_bytes() for path in written} == before


def test_what_is_no_candidate_is_said(place: Place) -> None:
    [dataset] = place.catalog.find(Dataset)
    with pytest.raises(InputError, match="cards are of candidates"):
        card.card(place, dataset.id)
    with pytest.raises(UnknownError):
        card.card(place, "candidate-0")
