// View: how good the model is, where it errs, and where it comes from.
import { complaint, el, percent, save, size, table } from "./dom.js";
import { ask, isAbort } from "./server.js";
import { state } from "./state.js";

const LARGEST_MATRIX = 40; // categories; beyond that a table cannot be read, and the most confused pairs say it
let parts = {};

export const model = {
  title: "Model",
  /** @param {HTMLElement} host */
  show(host) {
    parts = { body: el("div"), shown: null };
    host.append(parts.body);
  },
  async update() {
    const served = state.model;
    if (!served || parts.shown === served.digest) return;
    const own = parts;
    parts.shown = served.digest;
    try {
      const report = await ask(`models/${served.name}/${served.version}/report`);
      if (own === parts) parts.body.replaceChildren(...draw(report, `models/${served.name}/${served.version}`).filter(Boolean));
    } catch (failure) {
      if (own === parts && !isAbort(failure)) {
        parts.body.replaceChildren(complaint(failure));
        parts.shown = null; // the next change of the state tries again
      }
    }
  },
};

/** @param {any} report @param {string} base @returns {any[]} */
function draw(report, base) {
  const numbers = report.numbers;
  return [
    numbers ? headline(numbers) : el("p", { text: "This bundle holds no numbers of test images." }),
    numbers?.confusion.length && numbers.confusion.length <= LARGEST_MATRIX && confusion(report, base),
    numbers?.most_confused.length > 0 && table("Most confused", ["true", "answered", "images"], numbers.most_confused.map((pair) => [pair.label, pair.predicted, String(pair.images)])),
    report.worst.length > 0 && el("section", {}, el("h3", { text: "What it was most wrong about" }), pictures(report, base, () => true)),
    numbers && reliability(numbers),
    numbers && el("details", {}, el("summary", { text: "Each category" }), table("Each category", ["category", "precision", "recall", "F1", "images"],
      Object.entries(numbers.categories).map(([name, one]) => [name, ...[one.precision, one.recall, one.f1].map((value) => value.toFixed(4)), String(one.images)]))),
    el("section", {}, el("h3", { text: "Preprocessing" }), el("p", { text: report.preprocessing })),
    table("Engines against torch in float32, on validation images", ["engine", "same answer", "largest difference", "may serve"],
      Object.entries(report.parity).map(([name, one]) => [name, percent(one.top1_agreement), one.max_probability_difference.toFixed(6), one.passed ? "yes" : "no"])),
    provenance(report), limits(),
    el("div", { class: "tools" },
      el("button", { type: "button", text: "Model card", onclick: () => save("MODEL_CARD.md", "text/markdown", report.card) }),
      el("button", { type: "button", text: "Report as JSON", onclick: () => save("report.json", "application/json", JSON.stringify(report, null, 1)) })),
  ];
}

/** @param {any} numbers */
function headline(numbers) {
  const [low, high] = numbers.accuracy_interval;
  return el("div", {}, el("p", { class: "big" }, el("strong", { text: percent(numbers.accuracy) }), " right"),
    el("p", { text: `On ${numbers.images} test images that were used neither for training nor for any choice; 95 % interval ${percent(low)} to ${percent(high)}. Macro F1 ${numbers.macro_f1.toFixed(4)}. Expected calibration error ${numbers.ece.toFixed(4)}, without the temperature ${numbers.ece_before.toFixed(4)}.` }));
}

/** @param {any} report @param {string} base */
function confusion(report, base) {
  const names = Object.keys(report.numbers.categories);
  const found = el("div", { role: "status" });
  const cell = (count, row, column, total) => {
    const shade = `s${Math.round((10 * count) / Math.max(1, total))}`;
    if (!count || row === column) return el("td", { class: shade, text: count || "·" });
    const show = () => found.replaceChildren(el("h4", { text: `True ${names[row]}, answered ${names[column]}` }), pictures(report, base, (one) => one.label === names[row] && one.predicted === names[column]));
    return el("td", { class: shade }, el("button", { type: "button", text: count, onclick: show, "aria-label": `${count} of true ${names[row]} answered ${names[column]}: show` }));
  };
  return el("section", {}, el("h3", { text: "Which categories it confuses" }),
    el("div", { class: "scroll", tabindex: 0, role: "region", "aria-label": "Confusion table" }, el("table", { class: "confusion" },
      el("caption", { text: "Rows: true category. Columns: answer. A number off the diagonal opens its images." }),
      el("thead", {}, el("tr", {}, el("th", { scope: "col", text: "true \\ answered" }), ...names.map((text) => el("th", { scope: "col", text })))),
      el("tbody", {}, ...report.numbers.confusion.map((row, y) => el("tr", {}, el("th", { scope: "row", text: names[y] }),
        ...row.map((count, x) => cell(count, y, x, row.reduce((sum, one) => sum + one, 0)))))))), found);
}

/** @param {any} report @param {string} base @param {(one: any) => boolean} wanted */
function pictures(report, base, wanted) {
  const tiles = report.worst.flatMap((one, index) => (wanted(one) ? [el("li", {},
    el("img", { src: `${base}/worst/${index}`, alt: `True ${one.label}, answered ${one.predicted}`, class: "pixels", loading: "lazy" }), el("span", { text: `true ${one.label}` }), el("span", { class: "wrong", text: `${one.predicted} ${percent(one.score)}` }))] : []));
  return tiles.length ? el("ul", { class: "examples" }, ...tiles) : el("p", { text: "This bundle holds no picture of this pair; bundles made by this version hold the 24 worst." });
}

/** @param {any} numbers */
function reliability(numbers) {
  const draw = (title, bins) => el("figure", {}, el("figcaption", { text: title }),
    el("svg:svg", { class: "reliability", viewBox: "0 0 100 100", "aria-hidden": "true" },
      ...bins.filter((bin) => bin.images).map((bin) => el("svg:rect", { class: "fill", x: 100 * bin.low, width: 100 * (bin.high - bin.low) - 0.6, y: 100 - 100 * bin.accuracy, height: 100 * bin.accuracy })),
      el("svg:line", { class: "diagonal", x1: 0, y1: 100, x2: 100, y2: 0 })));
  return el("section", {}, el("h3", { text: "Is it as sure as it is right?" }),
    el("div", { class: "planes" }, draw("without the temperature", numbers.reliability_before), draw("as it answers", numbers.reliability)),
    el("details", {}, el("summary", { text: "As a table" }), table("Right answers by confidence", ["confidence", "images", "mean confidence", "right"],
      numbers.reliability.filter((bin) => bin.images).map((bin) => [`${percent(bin.low)} to ${percent(bin.high)}`, String(bin.images), percent(bin.confidence), percent(bin.accuracy)]))));
}

/** @param {any} report */
function provenance({ provenance: from, digest, architecture, temperature, engine }) {
  const images = Object.entries(from.data.images ?? {}).map(([part, count]) => `${part} ${count}`).join(", ");
  const facts = { made: `${from.created_at.slice(0, 10)} by ${from.command}`, digest, architecture, engine, temperature: temperature.toFixed(4), images: images || "unknown", code: Object.entries(from.code).map(([name, value]) => `${name} ${value}`).join(", ") };
  return el("section", {}, el("h3", { text: "Where it comes from" }), el("dl", { class: "probe" }, ...Object.entries(facts).flatMap(([name, text]) => [el("dt", { text: name }), el("dd", { text })])));
}

function limits() {
  const { max_body_bytes: body, max_images_per_request: images, max_image_pixels: most, max_image_side_px: side } = state.model.limits;
  return el("section", {}, el("h3", { text: "What it takes" }), el("p", { text: `JPEG, PNG, WebP, GIF and BMP; ${size(body)} and ${images} images in a request; ${(most / 1e6).toFixed(0)} million pixels and ${side} px on a side in an image. It knows only its categories: an image of anything else gets the nearest of them.` }));
}
