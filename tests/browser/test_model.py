"""View Model: the bundle's own numbers, its mistakes as pictures, its papers, and bundles that lack them."""

import json
from collections.abc import Callable
from pathlib import Path

import pytest
from playwright.sync_api import Locator, Page, expect

from tests.browser.acting import MODELS, changing, until

pytestmark = pytest.mark.serve
BUNDLE = Path(__file__).resolve().parents[2] / "service" / "demo" / "digits" / "1"
REPORT = "**/report"
DIGITS = list("0123456789")


def _matrix(page: Page) -> Locator:
    return page.locator("table.confusion")


def _section(page: Page, heading: str) -> Locator:
    return page.locator("#view section").filter(has=page.get_by_role("heading", name=heading, exact=True))


@pytest.fixture
def opened(visit: Callable) -> Page:
    page = visit("#model")
    expect(_matrix(page)).to_be_visible()
    return page


@pytest.fixture
def measured(opened: Page) -> dict:
    """What training measured of the engine that serves."""
    models = opened.request.get(f"{opened.watch.url}/models").json()
    metrics = json.loads((BUNDLE / "metrics.json").read_text())
    return metrics.get(models["models"][0]["engine"], metrics["torch-f32"])


def test_the_accuracy_is_what_was_measured(opened: Page, measured: dict) -> None:
    expect(opened.locator("#view .big")).to_have_text(f"{100 * measured['acc@1']:.1f} % right")
    low, high = ("100 %" if edge == 1 else f"{100 * edge:.1f} %" for edge in measured["acc@1_interval"])
    said = opened.locator("#view .big + p")
    expect(said).to_contain_text(f"On {measured['images']} test images")
    expect(said).to_contain_text(f"95 % interval {low} to {high}.")
    expect(said).to_contain_text(f"Macro F1 {measured['macro_f1']:.4f}.")
    expect(said).to_contain_text(
        f"Expected calibration error {measured['ece']:.4f}, without the temperature {measured['ece_before']:.4f}."
    )
    expect(opened.locator("#model")).to_contain_text("99.8 % right on 452 unseen images")


def test_the_confusion_matrix_is_what_was_measured(opened: Page, measured: dict) -> None:
    rows = _matrix(opened).locator("tbody tr")
    assert rows.locator("th").all_inner_texts() == DIGITS
    shown = [[int(text.replace("·", "0")) for text in row.locator("td").all_inner_texts()] for row in rows.all()]
    assert shown == measured["confusion"]
    shades = [row.locator("td").evaluate_all("(all) => all.map((one) => one.className)") for row in rows.all()]
    assert shades[0][0] == "s10"
    assert {shades[y][x] for y in range(10) for x in range(10) if not shown[y][x]} == {"s0"}
    assert sum(map(sum, shown)) == measured["images"]
    wrong = sum(count for y, row in enumerate(shown) for x, count in enumerate(row) if x != y and count)
    assert _matrix(opened).locator("button").count() == wrong == 1


def test_a_number_off_the_diagonal_opens_the_worst_image_of_that_pair(opened: Page) -> None:
    _matrix(opened).get_by_role("button", name="1 of true 9 answered 8: show").click()
    found = _section(opened, "Which categories it confuses").get_by_role("status")
    expect(found.get_by_role("heading")).to_have_text("True 9, answered 8")
    expect(found.locator("li")).to_have_count(1)
    picture = found.get_by_role("img", name="True 9, answered 8")
    picture.scroll_into_view_if_needed()
    expect(picture).to_have_js_property("complete", True)
    until(opened, "document.querySelector('#view [role=status] img').naturalWidth > 0")
    shown = opened.request.get(f"{opened.watch.url}/{picture.get_attribute('src')}").body()
    assert shown == (BUNDLE / "worst" / "0.png").read_bytes()
    expect(found.locator(".wrong")).to_have_text("8 64.8 %")


def test_only_the_images_of_that_pair_are_shown(visit: Callable) -> None:
    def more(report: dict) -> None:
        (one,) = report["worst"]
        report["worst"] = [one, {**one, "label": "8", "predicted": "9"}, {**one, "label": "3"}]

    page = visit("#model", before=changing(REPORT, more))
    _matrix(page).get_by_role("button", name="1 of true 9 answered 8: show").click()
    expect(_section(page, "Which categories it confuses").get_by_role("status").locator("li")).to_have_count(1)
    expect(_section(page, "What it was most wrong about").locator("li")).to_have_count(3)


def test_a_pair_without_a_picture_says_so(visit: Callable) -> None:
    page = visit("#model", before=changing(REPORT, lambda report: report.update(worst=[])))
    _matrix(page).get_by_role("button").click()
    expect(page.locator("#view")).to_contain_text("This bundle holds no picture of this pair")
    expect(page.get_by_role("heading", name="What it was most wrong about")).to_have_count(0)


def test_the_worst_mistakes_are_shown(opened: Page) -> None:
    worst = _section(opened, "What it was most wrong about").locator("li")
    expect(worst).to_have_count(1)
    assert worst.locator("span").all_inner_texts() == ["true 9", "8 64.8 %"]


def test_each_category_and_each_engine_has_its_row(opened: Page, measured: dict) -> None:
    opened.locator("summary").filter(has_text="Each category").click()
    rows = opened.get_by_role("region", name="Each category").locator("tbody tr")
    expect(rows).to_have_count(10)
    for name, row in zip(DIGITS, rows.all(), strict=True):
        one = measured["categories"][name]
        told = [f"{one[key]:.4f}" for key in ("precision", "recall", "f1")]
        assert row.locator("th, td").all_inner_texts() == [name, *told, str(one["images"])]
    parity = json.loads((BUNDLE / "manifest.json").read_text())["parity"]
    engines = opened.get_by_role("region", name="Engines against torch in float32").locator("tbody tr")
    for row, (name, one) in zip(engines.all(), parity.items(), strict=True):
        agreed = "100 %" if one["top1_agreement"] == 1 else f"{100 * one['top1_agreement']:.1f} %"
        told = [name, agreed, f"{one['max_probability_difference']:.6f}", "yes" if one["passed"] else "no"]
        assert row.locator("th, td").all_inner_texts() == told


def test_how_sure_it_is_stands_beside_how_often_it_was_right(opened: Page, measured: dict) -> None:
    shown = _section(opened, "Is it as sure as it is right?")
    expect(shown.locator("figcaption")).to_have_text(["without the temperature", "as it answers"])
    bins = [one for one in measured["reliability"] if one["images"]]
    shown.locator("summary").click()
    rows = shown.locator("tbody tr")
    expect(rows).to_have_count(len(bins))
    for row, one in zip(rows.all(), bins, strict=True):
        _, images, confidence, right = row.locator("th, td").all_inner_texts()
        assert int(images) == one["images"]
        for text, share in ((confidence, one["confidence"]), (right, one["accuracy"])):
            number = float(text.replace("> ", "").replace("< ", "").removesuffix(" %"))
            assert number == pytest.approx(100 * share, abs=0.1)
    for place, name in enumerate(("reliability_before", "reliability")):
        bars = shown.locator("svg").nth(place).locator("rect")
        heights = bars.evaluate_all("(all) => all.map((one) => Number(one.getAttribute('height')))")
        assert heights == pytest.approx([100 * one["accuracy"] for one in measured[name] if one["images"]])


def test_where_it_comes_from_and_what_it_takes_is_said(opened: Page) -> None:
    manifest = json.loads((BUNDLE / "manifest.json").read_text())
    source = _section(opened, "Where it comes from")
    expect(source).to_contain_text(manifest["provenance"]["created_at"][:10])
    expect(source).to_contain_text("simple_resnet")
    expect(source).to_contain_text(f"{manifest['temperature']:.4f}")
    takes = "33.6 MB and 16 images in a request; 65 million pixels and 20000 px on a side"
    expect(_section(opened, "What it takes")).to_contain_text(takes)
    expect(_section(opened, "Preprocessing")).to_contain_text("reduces the image to one gray channel")


def test_card_and_report_are_taken_away(opened: Page) -> None:
    with opened.expect_download() as download:
        opened.get_by_role("button", name="Model card").click()
    assert download.value.suggested_filename == "MODEL_CARD.md"
    assert Path(download.value.path()).read_bytes() == (BUNDLE / "MODEL_CARD.md").read_bytes()
    with opened.expect_download() as download:
        opened.get_by_role("button", name="Report as JSON").click()
    assert download.value.suggested_filename == "report.json"
    report = opened.request.get(f"{opened.watch.url}/models/digits/1/report").json()
    assert json.loads(Path(download.value.path()).read_text()) == report


def test_a_bundle_without_numbers_is_shown_without_them(visit: Callable) -> None:
    def without(page: Page) -> None:
        changing(REPORT, lambda report: report.update(numbers=None, worst=[], card=""))(page)
        nothing = {"accuracy": None, "test_images": None, "reliability": []}
        changing(MODELS, lambda document: document["models"][0].update(nothing))(page)

    page = visit("#model", before=without)
    expect(page.locator("#view")).to_contain_text("This bundle holds no numbers of test images.")
    expect(_matrix(page)).to_have_count(0)
    expect(_section(page, "Where it comes from")).to_be_visible()
    expect(page.locator("#model")).to_have_text("digits: knows 0–9")
    assert "null" not in page.locator("#view").inner_text()
    assert "NaN" not in page.locator("#view").inner_text()


def test_a_matrix_that_cannot_be_read_is_left_out(visit: Callable) -> None:
    def many(report: dict) -> None:
        report["numbers"]["confusion"] = [[1] * 41 for _ in range(41)]

    page = visit("#model", before=changing(REPORT, many))
    expect(page.get_by_role("region", name="Most confused")).to_be_visible()
    expect(_matrix(page)).to_have_count(0)


def test_a_report_that_cannot_be_had_is_told(visit: Callable) -> None:
    page = visit("#model", before=lambda page: page.route(REPORT, lambda route: route.abort()))
    expect(page.get_by_role("alert")).to_contain_text("The server cannot be reached.")
