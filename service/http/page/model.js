// View: how good the model is, where it errs, and where it comes from.
import { button, el, percent, save, size } from "./dom.js";
import { facts, figure, more, section, table } from "./parts.js";
import { load } from "./load.js";
import { ask } from "./server.js";
import { state } from "./state.js";

const LARGEST_MATRIX = 40; // categories; beyond that a table cannot be read, and the most confused pairs say it
let parts = {};

export const model = {
	title: "Model",
	show(host) {
		parts = { body: el("div"), shown: null };
		host.append(parts.body);
	},
	async update() {
		const served = state.model;
		if (!served || parts.shown === served.digest + state.server) return;
		parts.shown = served.digest + state.server; // so that it is asked for again when the server is back
		const base = `models/${served.name}/${served.version}`;
		await load(
			parts.body,
			() => ask(`${base}/report`),
			(report) => draw(report, base),
		);
	},
};

function draw(report, base) {
	const numbers = report.numbers;
	return [
		numbers ? headline(numbers) : el("p", "This bundle holds no numbers of test images."),
		numbers?.confusion.length && numbers.confusion.length <= LARGEST_MATRIX && confusion(report, base),
		numbers?.most_confused.length > 0 &&
			table(
				"Most confused",
				["true", "answered", "images"],
				numbers.most_confused.map((pair) => [pair.label, pair.predicted, String(pair.images)]),
			),
		report.worst.length > 0 &&
			section(
				"What it was most wrong about",
				pictures(report, base, () => true),
			),
		numbers && reliability(numbers),
		numbers &&
			more(
				"Each category",
				table(
					"Each category",
					["category", "precision", "recall", "F1", "images"],
					Object.entries(numbers.categories).map(([name, one]) => [
						name,
						...[one.precision, one.recall, one.f1].map((value) => value.toFixed(4)),
						String(one.images),
					]),
				),
			),
		section("Preprocessing", el("p", report.preprocessing)),
		table(
			"Engines against torch in float32, on validation images",
			["engine", "same answer", "largest difference", "may serve"],
			Object.entries(report.parity).map(([name, one]) => [
				name,
				percent(one.top1_agreement),
				one.max_probability_difference.toFixed(6),
				one.passed ? "yes" : "no",
			]),
		),
		provenance(report),
		limits(),
		el(
			"div",
			{ class: "tools" },
			button("Model card", () => save("MODEL_CARD.md", "text/markdown", report.card)),
			button("Report as JSON", () => save("report.json", "application/json", JSON.stringify(report, null, 1))),
		),
	];
}

function headline(numbers) {
	const [low, high] = numbers.accuracy_interval;
	return el(
		"div",
		el("p", { class: "big" }, el("strong", percent(numbers.accuracy)), " right"),
		el(
			"p",
			`On ${numbers.images} test images that were used neither for training nor for any choice; 95 % interval ${percent(low)} to ${percent(high)}. Macro F1 ${numbers.macro_f1.toFixed(4)}. Expected calibration error ${numbers.ece.toFixed(4)}, without the temperature ${numbers.ece_before.toFixed(4)}.`,
		),
	);
}

function confusion(report, base) {
	const names = Object.keys(report.numbers.categories);
	const found = el("div", { role: "status" });
	const cell = (count, row, column, total) => {
		const shade = `s${Math.round((10 * count) / Math.max(1, total))}`;
		if (!count || row === column) return el("td", { class: shade, text: count || "·" });
		const show = () =>
			found.replaceChildren(
				el("h4", `True ${names[row]}, answered ${names[column]}`),
				pictures(report, base, (one) => one.label === names[row] && one.predicted === names[column]),
			);
		return el(
			"td",
			{ class: shade },
			el("button", {
				text: count,
				onclick: show,
				"aria-label": `${count} of true ${names[row]} answered ${names[column]}: show`,
			}),
		);
	};
	const rows = report.numbers.confusion.map((row, y) => {
		const total = row.reduce((sum, one) => sum + one, 0);
		return [names[y], ...row.map((count, x) => cell(count, y, x, total))];
	});
	const caption = "Rows: true category. Columns: answer. A number off the diagonal opens its images.";
	const head = ["true \\ answered", ...names];
	return section("Which categories it confuses", table(caption, head, rows, { class: "confusion" }), found);
}

function pictures(report, base, wanted) {
	const tiles = report.worst.flatMap((one, index) =>
		wanted(one)
			? [
					el(
						"li",
						el("img", {
							src: `${base}/worst/${index}`,
							alt: `True ${one.label}, answered ${one.predicted}`,
							class: "pixels",
							loading: "lazy",
						}),
						el("span", `true ${one.label}`),
						el("span", { class: "wrong", text: `${one.predicted} ${percent(one.score)}` }),
					),
				]
			: [],
	);
	return tiles.length
		? el("ul", { class: "examples" }, ...tiles)
		: el("p", "This bundle holds no picture of this pair; bundles made by this version hold the 24 worst.");
}

function reliability(numbers) {
	const draw = (title, bins) =>
		figure(
			title,
			el(
				"svg:svg",
				{ class: "reliability", viewBox: "0 0 100 100", "aria-hidden": "true" },
				...bins
					.filter((bin) => bin.images)
					.map((bin) =>
						el("svg:rect", {
							class: "fill",
							x: 100 * bin.low,
							width: 100 * (bin.high - bin.low) - 0.6,
							y: 100 - 100 * bin.accuracy,
							height: 100 * bin.accuracy,
						}),
					),
				el("svg:line", { class: "diagonal", x1: 0, y1: 100, x2: 100, y2: 0 }),
			),
		);
	return section(
		"Is it as sure as it is right?",
		el(
			"div",
			{ class: "planes" },
			draw("without the temperature", numbers.reliability_before),
			draw("as it answers", numbers.reliability),
		),
		more(
			"As a table",
			table(
				"Right answers by confidence",
				["confidence", "images", "mean confidence", "right"],
				numbers.reliability
					.filter((bin) => bin.images)
					.map((bin) => [
						`${percent(bin.low)} to ${percent(bin.high)}`,
						String(bin.images),
						percent(bin.confidence),
						percent(bin.accuracy),
					]),
			),
		),
	);
}

function provenance({ provenance: from, digest, architecture, temperature, engine }) {
	const images = Object.entries(from.data.images ?? {})
		.map(([part, count]) => `${part} ${count}`)
		.join(", ");
	const told = {
		made: `${from.created_at.slice(0, 10)} by ${from.command}`,
		digest,
		architecture,
		engine,
		temperature: temperature.toFixed(4),
		images: images || "unknown",
		code: Object.entries(from.code)
			.map(([name, value]) => `${name} ${value}`)
			.join(", "),
	};
	return section("Where it comes from", facts(told));
}

function limits() {
	const {
		max_body_bytes: body,
		max_images_per_request: images,
		max_image_pixels: most,
		max_image_side_px: side,
	} = state.model.limits;
	return section(
		"What it takes",
		el(
			"p",
			`JPEG, PNG, WebP, GIF and BMP; ${size(body)} and ${images} images in a request; ${(most / 1e6).toFixed(0)} million pixels and ${side} px on a side in an image. It knows only its categories: an image of anything else gets the nearest of them.`,
		),
	);
}
