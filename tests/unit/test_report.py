"""The page of a run: self-contained and well-formed, the same for the same findings, and nothing that was found is missing."""

import re
import shutil
from dataclasses import replace
from html.parser import HTMLParser
from itertools import pairwise
from pathlib import Path
from xml.etree import ElementTree

import pytest

from counterfoil.types import Dataset, Decision
from flows.report import svg, turn
from flows.report.bench import html
from flows.report.findings import Contender, Findings
from flows.report.page import page
from tests.loop_shop import place_of

FOUND = Findings(
    title="shop, 2024-01-25",
    opening="Learned from yesterday.",
    verdict="promote",
    sentences=("Contenders are compared.", "a <b> & c", "Promote repurchase, the only one that passes."),
    primary="ndcg@10",
    reference="popularity",
    contenders=(
        Contender(
            name="repurchase",
            tone="best",
            value=0.4,
            low=0.35,
            high=0.45,
            lead=(0.3, 0.25, 0.35),
            bar=0.002,
            metrics={"ndcg@10": 0.4, "coverage@10": 0.3},
            slices={"new people": {"units": 3.0, "ndcg@10": 0.1}, "nobody": {"units": 0.0}},
            cost={"fit_seconds": 1.5, "peak_bytes": 2e6},
            config={"half_life_days": 30.0},
            trials=(
                {"number": 0, "value": 0.2, "state": "complete"},
                {"number": 1, "value": None, "state": "pruned"},
                {"number": 2, "value": 0.1, "state": "complete"},
            ),
        ),
        Contender(
            name="popularity",
            tone="reference",
            value=0.1,
            low=0.05,
            high=0.15,
            metrics={"ndcg@10": 0.1, "coverage@10": 0.01},
            slices={"new people": {"units": 3.0, "ndcg@10": 0.2}},
            cost={"fit_seconds": 0.1, "peak_bytes": 1e6},
            curve=({"step": 1, "loss": 2.0}, {"step": 2, "loss": 1.0}),
        ),
    ),
    facts={"people": "150"},
    record={"decision": "decision-0"},
)


def plots(text: str) -> list[ElementTree.Element]:
    """Return the plots of a page; each must be well-formed."""
    return [ElementTree.fromstring(found) for found in re.findall(r"<svg.*?</svg>", text, re.DOTALL)]


class Tags(HTMLParser):
    """Whether every tag that is opened is closed in order."""

    VOID = {"meta", "br", "line", "circle", "rect", "polyline"}

    def __init__(self) -> None:
        super().__init__()
        self.open: list[str] = []
        self.wrong: list[str] = []

    def handle_starttag(self, tag: str, attrs: object) -> None:
        if tag not in self.VOID:
            self.open.append(tag)

    def handle_endtag(self, tag: str) -> None:
        if tag in self.VOID:
            return
        if not self.open or self.open.pop() != tag:
            self.wrong.append(tag)


def headings(text: str) -> list[str]:
    return re.findall(r"<h2>(.*?)</h2>", text)


def test_a_page_tells_everything_and_is_well_formed() -> None:
    text = page(FOUND)
    tags = Tags()
    tags.feed(text)
    assert tags.wrong == [] and tags.open == []
    assert headings(text) == [
        "Contenders",
        "Leads",
        "Accuracy against coverage",
        "Slices",
        "Learning curves",
        "Tuning",
        "Cost",
        "Every metric",
        "Data",
        "Settings",
        "Record",
    ]
    assert [plot.get("aria-label") for plot in plots(text)] == [
        "Leads over popularity in ndcg@10, with 95% intervals",
        "ndcg@10 against coverage@10",
        "loss while learning",
        "best ndcg@10 on the validation so far, by trial",
    ]
    assert "a &lt;b&gt; &amp; c" in text and "a <b>" not in text
    assert "3 trials, 2 complete, 1 pruned" in text
    assert page(FOUND) == text


def test_a_page_refers_to_nothing_outside_itself() -> None:
    text = page(FOUND)
    assert not re.search(r"<(script|link|img|iframe|object)|\b(src|href)=|url\(|@import|https?://", text)
    assert "default-src 'none'" in text


def test_what_was_not_found_has_no_section() -> None:
    bare = replace(
        FOUND,
        contenders=(Contender(name="only", tone="plain", value=0.1, low=0.1, high=0.1),),
        sentences=(),
        verdict=None,
        record={},
    )
    assert headings(page(bare)) == ["Contenders", "Data", "Settings"]
    assert plots(page(bare)) == []


def test_the_best_of_a_slice_stands_out() -> None:
    text = page(FOUND)
    [cells] = re.findall(r"<tr><th scope=row>new people</th><td class=n>3</td>(.*?)</tr>", text)
    repurchase, popularity = re.findall(r"<span.*?</span>", cells)
    assert repurchase == "<span class='heat' style='--share:0%'>0.1000</span>"
    assert popularity == "<span class='heat top' style='--share:100%'>0.2000</span>"
    assert "nobody" not in text, "a slice without anybody is not shown"


# plots


@pytest.mark.parametrize(
    ("low", "high", "expected"),
    [
        (0.0, 1.0, [0.0, 0.2, 0.4, 0.6, 0.8, 1.0]),
        (-0.013, 0.041, [0.0, 0.02, 0.04]),
        (120.0, 980.0, [200.0, 400.0, 600.0, 800.0]),
    ],
)
def test_ticks_are_round(low: float, high: float, expected: list[float]) -> None:
    assert svg.Scale(low, high, 0, 100).ticks() == pytest.approx(expected)


def test_a_forest_plot_puts_the_interval_and_the_bar_where_they_belong() -> None:
    rows = [
        svg.Interval(name="up", mean=0.2, low=0.1, high=0.3, bar=0.05, tone="best"),
        svg.Interval(name="down", mean=-0.1, low=-0.2, high=0.0, bar=None, tone="broken"),
    ]
    root = ElementTree.fromstring(svg.forest(rows, "leads"))
    zero = float(next(one for one in root.iter("line") if one.get("class") == "zero").get("x1"))  # type: ignore[arg-type]
    band = next(one for one in root.iter("rect"))
    assert float(band.get("x")) == zero  # type: ignore[arg-type]
    found = {}
    for mark in root.iter("g"):
        line, dot = mark.find("line"), mark.find("circle")
        assert line is not None and dot is not None
        found[mark.get("class")] = [float(x) for x in (line.get("x1"), dot.get("cx"), line.get("x2"))]  # type: ignore[arg-type]
    low, mean, high = found["best"]
    assert zero < low < mean < high and mean - low == pytest.approx(high - mean, abs=0.02)
    assert float(band.get("width")) == pytest.approx((low - zero) / 2, abs=0.02)  # type: ignore[arg-type]
    assert found["broken"][2] == zero and found["broken"][0] < found["broken"][1] < zero
    assert root.find(".//title").text == "up: +0.2000 (+0.1000 to +0.3000)"  # type: ignore[union-attr]


def test_names_in_a_scatter_plot_do_not_lie_on_each_other() -> None:
    points = [
        svg.Point(name=f"family {n}", x=0.3 + n / 1e4, y=0.2, low=0.19, high=0.21, tone="plain")
        for n in range(9)
    ]
    points.append(svg.Point(name="far away", x=3.0, y=0.1, low=0.1, high=0.1, tone="plain"))
    root = ElementTree.fromstring(svg.scatter(points, "coverage", "ndcg", "both"))
    names = sorted(float(one.get("y")) for one in root.iter("text") if (one.text or "").startswith("family"))  # type: ignore[arg-type]
    assert len(names) == 9 and min(b - a for a, b in pairwise(names)) > 11.9


@pytest.mark.parametrize("value", [0.0, 0.25, -3.0, 1e6])
def test_one_value_alone_can_be_drawn(value: float) -> None:
    for plot in (
        svg.forest(
            [svg.Interval(name="a", mean=value, low=value, high=value, bar=None, tone="plain")], "one"
        ),
        svg.scatter(
            [svg.Point(name="a", x=value, y=value, low=value, high=value, tone="plain")], "x", "y", "one"
        ),
        svg.lines([svg.Line(name="a", points=[(value, value)])], "x", "y", "one"),
    ):
        assert "nan" not in plot and ElementTree.fromstring(plot) is not None


# what fills a page


def test_the_page_of_a_turn_is_made_from_the_catalog(turned: Path, tmp_path: Path) -> None:
    place = place_of(shutil.copytree(turned, tmp_path / "home"))
    [decision], [dataset] = place.catalog.find(Decision), place.catalog.find(Dataset)
    path = turn.write(place, decision)
    assert path == place.settings.home / "reports/small" / decision.id / "index.html"
    text = path.read_text()
    for told in (decision.id, decision.winner, dataset.sha256, dataset.address, *decision.sentences[-1:]):
        assert told is not None and told in text
    found = turn.findings(place, decision)
    assert [(one.name, one.tone) for one in found.contenders] == [
        ("repurchase", "best"),
        ("popularity", "reference"),
    ]
    assert (found.primary, found.reference) == ("ndcg@10", "popularity")
    first, second = found.contenders
    assert first.lead is not None and first.lead[1] < first.lead[0] < first.lead[2] and second.lead is None
    assert "light people" in first.slices and first.cost["artefact_bytes"] > 0
    assert {"Leads", "Accuracy against coverage", "Slices", "Cost"} <= set(headings(text))
    turn.write(place, decision)
    assert path.read_text() == text
    place.catalog.engine.dispose()


def test_the_page_of_a_benchmark_says_by_how_much_the_best_leads() -> None:
    def family(name: str, ndcg: float, tuning: dict | None) -> dict:
        return {
            "family": name,
            "paper": "a paper",
            "config": {"family": name},
            "tuning": tuning,
            "curve": [],
            "metrics": {
                "ndcg@10": {"mean": ndcg, "seeds": [ndcg - 0.001, ndcg + 0.001]},
                "coverage@10": {"mean": 0.2, "seeds": [0.2, 0.2]},
            },
            "standard_error": 0.005,
            "fit_seconds": 1.0,
            "fit_cpu_seconds": 2.0,
            "peak_bytes": 1e6,
            "artefact_bytes": 1e5,
            "score_ms": 0.5,
            "batch_ms": 0.1,
        }

    tuning = {"trials": [{"number": 0, "state": "complete", "value": 0.3}], "cpu_seconds": 61.5}
    report = {
        "data": "shop.csv",
        "format": "interactions",
        "protocol": "leave-one-out",
        "repeats": False,
        "people": 10,
        "items": 20,
        "learned_from": 100,
        "units": 9,
        "k": 10,
        "primary": "ndcg@10",
        "best": "itemknn",
        "families": [family("popularity", 0.1, None), family("itemknn", 0.3, tuning)],
        "leads": [
            {"family": "itemknn", "over": "popularity", "lead": 0.2, "low": 0.1, "high": 0.3, "p": 0.001}
        ],
        "refused": [{"family": "tfidf", "kind": "InputError", "reason": "tfidf has no words to read"}],
    }
    text = html(report)
    assert "itemknn leads popularity by +0.2000 (+0.1000 to +0.3000), paired, p 0.001." in text
    assert "-0.2000 (-0.3000 to -0.1000)" in text, "the other is behind the best"
    assert "0.2902 to 0.3098" in text and "means of 2 seeds" in text
    assert "tfidf has no words to read" in text
    assert "tuning, CPU s" in text and "61.5" in text
    assert "Record" not in headings(text) and "Tuning" in headings(text)
