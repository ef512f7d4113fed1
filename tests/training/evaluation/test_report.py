"""report.html and MODEL_CARD.md: whole in themselves, the same bytes each time, and no name can break out of them."""

import base64
import io
import re
from datetime import UTC, datetime
from html.parser import HTMLParser
from typing import Any

import numpy as np
import pytest
from PIL import Image

from training.data.preparation import scan_data
from training.data.splitting import SplitRule
from training.evaluation.numbers import evaluate
from training.evaluation.report import WorstImage, render_report
from training.export.model_card import render_card
from vision.bundle.manifest import ArchitectureEntry, Manifest, Parity, Provenance
from vision.preprocessing import Preprocessing

HOSTILE = '<u>&"'
CATEGORIES = (HOSTILE, "cat", "dog")
PREPROCESSING = Preprocessing.imagenet()
PARITY = {
    "openvino-f32": Parity(images=90, top1_agreement=1.0, max_probability_difference=0.000012, passed=True),
    "openvino-int8": Parity(images=90, top1_agreement=0.9123, max_probability_difference=0.25, passed=False),
}


class Page(HTMLParser):
    """What a browser would find: tags, attributes, and the texts between them."""

    def __init__(self, html: str) -> None:
        super().__init__()
        self.tags: list[str] = []
        self.attributes: list[tuple[str, str, str]] = []
        self.texts: list[str] = []
        self.feed(html)
        self.close()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)
        self.attributes += [(tag, name, value or "") for name, value in attrs]

    def handle_data(self, data: str) -> None:
        self.texts.append(data)


def numbers_of(categories: tuple[str, ...]) -> dict[str, Any]:
    generator = np.random.default_rng(0)
    labels = np.arange(30 * len(categories)) % len(categories)
    logits = generator.normal(0, 1, (len(labels), len(categories))) + 1.5 * np.eye(len(categories))[labels]
    return evaluate(logits, labels, categories, 1.3)


def history(*phases: str) -> list[dict[str, Any]]:
    return [
        {
            "phase": phase,
            "epoch": index,
            "train_loss": 1 / (index + 1),
            "val_loss": 1.1 / (index + 1),
            "val_acc@1": 0.5 + 0.05 * index,
        }
        for index, phase in enumerate(phases)
    ]


def worst_image(pixels: np.ndarray, label: str = HOSTILE) -> WorstImage:
    return WorstImage(f"{label}/x {label}.png", label, "cat", 0.93, 0.021, pixels)


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    """The report of a folder where one category's name, and a file that is no image, are hostile."""
    folder = tmp_path_factory.mktemp("data")
    for label, category in enumerate(CATEGORIES):
        (folder / category).mkdir()
        for index in range(20):
            pixels = np.random.default_rng([index, label]).integers(0, 256, (9, 9, 3), dtype=np.uint8)
            Image.fromarray(pixels).save(folder / category / f"{index}.png")
    (folder / HOSTILE / f"{HOSTILE}.jpg").write_text("a letter")
    return scan_data(folder, SplitRule(0, 0.25, 0.25), "quarantine")


@pytest.fixture(scope="module")
def given(data: dict[str, Any]) -> dict[str, Any]:
    """What a run with a frozen and a fine-tuned phase hands to the report."""
    pixels = np.random.default_rng(0).integers(0, 256, (32, 32, 3), dtype=np.uint8)
    return {
        "title": "pets/3",
        "numbers": numbers_of(CATEGORIES),
        "history": history("frozen", "frozen", "fine-tuned", "fine-tuned", "fine-tuned"),
        "seconds": [1.5, 2.0, 10.0, 11.0, 12.5],
        "worst": [worst_image(pixels), worst_image(255 - pixels, "dog")],
        "data": data,
        "engines": {name: parity.model_dump() for name, parity in PARITY.items()},
        "config": {"arch": "lenet5", "weights": "none", "group_by": f"({HOSTILE})"},
        "preprocessing": PREPROCESSING.describe(),
    }


@pytest.fixture(scope="module")
def html(given: dict[str, Any]) -> str:
    return render_report(**given)


def test_the_page_fetches_and_runs_nothing(html: str) -> None:
    page = Page(html)
    assert not {"script", "link", "iframe", "object", "embed", "base", "form"} & set(page.tags)
    pointing = [
        value
        for _, name, value in page.attributes
        if name.split(":")[-1] in ("src", "href", "srcset", "data", "action", "poster")
    ]
    assert pointing
    assert all(value.startswith(("data:image/", "#")) for value in pointing)
    assert not [name for _, name, _ in page.attributes if name.startswith("on")]
    assert not re.search(r"url\((?!#)|@import", html)


def test_an_address_is_only_ever_the_name_of_a_namespace(html: str) -> None:
    holding = {(tag, name) for tag, name, value in Page(html).attributes if "://" in value}
    assert all(name.startswith("xmlns") or tag.startswith("cc:") or name == "rdf:resource" for tag, name in holding)


def test_a_hostile_name_is_text_wherever_it_stands(html: str) -> None:
    page = Page(html)
    assert "u" not in page.tags
    assert HOSTILE not in html
    places = [text.strip() for text in page.texts if HOSTILE in text]
    assert places.count(HOSTILE) >= 5, "two tables of categories, the most confused, and both axes of the matrix"
    assert any(text.startswith(f"label {HOSTILE} (0.02)") for text in places)
    assert any(text.startswith("unreadable: ") and f"left out: {HOSTILE}/{HOSTILE}.jpg" in text for text in places)
    assert any(f"group_by = ({HOSTILE})" in text for text in places)
    assert ("img", "alt", f"{HOSTILE}/x {HOSTILE}.png") in page.attributes


def test_a_hostile_name_is_text_inside_the_matrix_too(html: str) -> None:
    ticks = [
        text for svg in re.findall(r"<svg.*?</svg>", html, re.DOTALL) for text in Page(svg).texts if HOSTILE in text
    ]
    assert ticks == [HOSTILE, HOSTILE]


@pytest.mark.parametrize("field", ["title", "preprocessing"])
def test_what_the_caller_says_is_text(given: dict[str, Any], field: str) -> None:
    page = Page(render_report(**given | {field: f"x{HOSTILE}x"}))
    assert "u" not in page.tags
    assert f"x{HOSTILE}x" in "".join(page.texts)


def test_a_line_says_where_a_phase_begins(given: dict[str, Any], html: str) -> None:
    assert html.count("fine-tuned begins") == 2, "once for the loss, once for the accuracy"
    assert "frozen begins" not in html
    assert "begins" not in render_report(**given | {"history": history("scratch", "scratch"), "seconds": [1.0, 1.0]})


def test_each_phase_has_its_epochs_seconds_and_best_accuracy(html: str) -> None:
    rows = re.findall(r"<tr>(.*?)</tr>", html)
    assert "<td>frozen</td><td>2</td><td>3.5</td><td>0.5500</td>" in rows
    assert "<td>fine-tuned</td><td>3</td><td>33.5</td><td>0.7000</td>" in rows


def test_the_numbers_are_those_of_the_evaluation(given: dict[str, Any], html: str) -> None:
    numbers = given["numbers"]
    text = " ".join(Page(html).texts)
    low, high = numbers["acc@1_interval"]
    assert f"{low:.4f} to {high:.4f}" in text
    for name in ("acc@1", "macro_f1", "nll", "nll_before", "brier", "brier_before", "ece", "ece_before"):
        assert f"{numbers[name]:.4f}" in text
    cat = numbers["categories"]["cat"]
    assert (
        f"<td>cat</td><td>{cat['precision']:.3f}</td><td>{cat['recall']:.3f}</td><td>{cat['f1']:.3f}</td><td>30</td>"
        in html
    )
    assert "60 of 61 files were used" in text
    assert "<td>openvino-int8</td><td>0.9123</td><td>0.250000</td><td>refused</td>" in html
    assert "<td>openvino-f32</td><td>1.0000</td><td>0.000012</td><td>may serve</td>" in html


def test_the_same_input_gives_the_same_bytes(given: dict[str, Any], html: str) -> None:
    assert render_report(**given) == html


def pictures(html: str) -> list[Image.Image]:
    sources = [value for tag, name, value in Page(html).attributes if (tag, name) == ("img", "src")]
    prefix = "data:image/jpeg;base64,"
    assert all(source.startswith(prefix) for source in sources)
    return [Image.open(io.BytesIO(base64.b64decode(source.removeprefix(prefix), validate=True))) for source in sources]


def test_the_worst_images_are_inside_in_their_order(given: dict[str, Any], html: str) -> None:
    shown = pictures(html)
    assert len(shown) == 2
    for picture, image in zip(shown, given["worst"], strict=True):
        assert (picture.mode, picture.size) == ("RGB", (128, 128))
        expected = Image.fromarray(image.pixels).resize((128, 128), Image.Resampling.NEAREST)
        assert np.abs(np.asarray(picture).astype(int) - np.asarray(expected)).mean() < 40


@pytest.mark.parametrize("side_px", [8, 300])
def test_images_of_one_channel_are_shown_in_gray_at_a_size_that_can_be_seen(
    given: dict[str, Any], side_px: int
) -> None:
    gradient = np.linspace(0, 255, side_px * side_px).astype(np.uint8).reshape(side_px, side_px, 1)
    (picture,) = pictures(render_report(**given | {"worst": [worst_image(gradient)]}))
    assert (picture.mode, picture.size) == ("L", (128, 128))
    expected = Image.fromarray(gradient[:, :, 0]).resize((128, 128))
    assert np.abs(np.asarray(picture).astype(int) - np.asarray(expected)).mean() < 10


@pytest.mark.parametrize(("count", "figures"), [(40, 3), (41, 2)])
def test_a_matrix_of_more_than_40_categories_is_left_out_and_the_confused_pairs_stay(
    given: dict[str, Any], count: int, figures: int
) -> None:
    numbers = numbers_of(tuple(f"kind {index:02}" for index in range(count)))
    page = Page(render_report(**given | {"numbers": numbers, "worst": []}))
    assert page.tags.count("svg") == figures
    pair = numbers["most_confused"][0]
    assert pair["label"] in page.texts
    assert "most confused: label" in page.texts


def test_acc_at_5_is_shown_where_it_says_something(given: dict[str, Any], html: str) -> None:
    assert "acc@5" not in html
    six = numbers_of(("ant", "bee", "cat", "dog", "eel", "fox"))
    assert "acc@5" in render_report(**given | {"numbers": six})


def manifest(categories: tuple[str, ...] = CATEGORIES, **data: Any) -> Manifest:
    return Manifest.model_construct(
        name="pets",
        version=3,
        architecture=ArchitectureEntry(name="lenet5"),
        categories=categories,
        preprocessing=PREPROCESSING,
        temperature=1.3,
        metrics={},
        parity=PARITY,
        provenance=Provenance(
            created_at=datetime(2026, 5, 4, 3, 2, 1, tzinfo=UTC),
            command="python -m training train pets",
            data={"sha256": "aa" * 32, "split_sha256": "bb" * 32, "images": {"train": 210, "val": 90, "test": 90}}
            | data,
            config={"arch": "lenet5", "weights": "none", "seed": 11},
            code={"sightline": "0.1.0", "torch": "2.15.0"},
        ),
        files={},
    )


def test_the_card_says_how_good_the_model_is_and_where_it_is_weak() -> None:
    six = ("ant", "bee", "cow", "dog", "eel", "fox")
    numbers = numbers_of(six)
    card = render_card(manifest(six), numbers)
    low, high = numbers["acc@1_interval"]
    assert card.startswith("# pets/3\n")
    assert f"| acc@1 | {numbers['acc@1']:.4f} (95 %: {low:.4f} to {high:.4f}) |" in card
    assert f"| expected calibration error | {numbers['ece']:.4f} (uncalibrated {numbers['ece_before']:.4f}) |" in card
    weakest = sorted(six, key=lambda name: numbers["categories"][name]["f1"])[:3]
    listed = ", ".join(f"{name} {numbers['categories'][name]['f1']:.3f} (30 images)" for name in weakest)
    assert f"Weakest categories by F1: {listed}." in card
    assert "| openvino-int8 | 0.9123 | 0.250000 | refused |" in card
    assert "| openvino-f32 | 1.0000 | 0.000012 | may serve |" in card


def test_the_card_says_how_the_model_was_made() -> None:
    card = render_card(manifest(left_out=["cat/text.jpg", "dog/cut.png"]), numbers_of(CATEGORIES))
    for said in (
        "lenet5, weights none, seed 11",
        "made 2026-05-04 by `python -m training train pets`",
        "train 210, val 90, test 90",
        "left out: cat/text.jpg, dog/cut.png",
        "sha256 of the images " + "aa" * 32,
        "sha256 of the split " + "bb" * 32,
        PREPROCESSING.describe(),
        "temperature 1.3000",
        "sightline 0.1.0, torch 2.15.0",
    ):
        assert said in card
    assert "left out: none" in render_card(manifest(), numbers_of(CATEGORIES))


def test_the_card_cuts_a_long_list_of_categories_and_is_the_same_each_time() -> None:
    many = tuple(f"kind {index:02}" for index in range(60))
    numbers = numbers_of(many)
    card = render_card(manifest(many), numbers)
    assert "Tells 60 categories apart: kind 00, kind 01" in card
    assert "kind 49 and 10 more" in card
    assert "kind 50, " not in card
    assert render_card(manifest(many), numbers) == card
