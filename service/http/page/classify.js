// View: the answer first, how sure it is and how often that was right, the golden images, and the request as code.
import { bar, button, complaint, el, percent } from "./dom.js";
import { ask } from "./server.js";
import { clear, state, submit } from "./state.js";

const STAGES = ["upload", "read", "queue", "decode", "preprocess", "inference", "postprocess"];
/** What this server answers to the golden images. */
let golden = null;
let asked = "";
let parts = {};

export const classify = {
	title: "Classify",
	show(host) {
		parts = {
			answer: el("div", { class: "answer", "aria-live": "polite" }),
			more: el("div"),
			examples: el("section", { "aria-label": "Examples" }),
			sheet: el("div"),
		};
		host.append(parts.answer, parts.more, parts.sheet, parts.examples);
		parts.shown = null;
		parts.drawn = "";
	},
	update() {
		const key = [
			state.submission,
			state.asking?.slow,
			state.asking?.sent,
			Boolean(state.answer),
			state.failure,
			state.model?.digest,
		].join();
		if (key !== parts.shown) {
			parts.shown = key;
			parts.answer.replaceChildren(...answer());
			parts.answer.classList.toggle("stale", Boolean(state.asking && state.answer));
			parts.more.replaceChildren(...(state.answer && !state.asking ? below() : []));
		}
		if (state.sheet && !parts.sheet.contains(state.sheet)) parts.sheet.replaceChildren(state.sheet);
		examples();
	},
};

function answer() {
	if (state.failure) {
		const again = button(
			"Try again",
			() => state.image && submit(state.image.blob, state.image.name, state.image.drawn),
		);
		return [complaint(state.failure, again)];
	}
	if (!state.image)
		return [
			el("p", { class: "big quiet", text: "Give it a picture" }),
			el("p", knows() || "Waiting for the server…"),
			el("p", "Draw, drop, paste or choose one, or try an example."),
		];
	const result = state.answer?.results[0];
	const waiting = state.asking ? progress(state.asking) : [];
	if (!result) return [el("p", { class: "big quiet", text: "…" }), ...waiting];
	const [best] = result.predictions;
	return [
		el("p", { class: "big" }, el("strong", best.label), " ", el("span", percent(best.score))),
		el("p", { class: "record", text: record(best.score) }),
		el(
			"ul",
			{ class: "bars", "aria-label": "Labels and their probabilities" },
			...result.predictions.map((one) => bar(one.label, one.score)),
		),
		...waiting,
	];
}

function progress({ sent, total, slow }) {
	if (!slow) return [];
	const text =
		sent < total
			? `Sending: ${(sent / 1e6).toFixed(1)} of ${(total / 1e6).toFixed(1)} MB`
			: "Sent; waiting for the answer…";
	return [
		el(
			"div",
			{ class: "progress" },
			el("progress", { max: total || 1, value: sent, "aria-label": "Upload" }),
			el("span", { text }),
			button("Cancel", clear),
		),
	];
}

/** What the model knows: it answers with one of its labels, whatever it is shown. */
function knows() {
	const names = state.model?.categories;
	if (!names) return "";
	return `It knows only: ${names.slice(0, 12).join(", ")}${names.length > 12 ? ` and ${names.length - 12} more` : ""}. Anything else gets the nearest of these.`;
}

/** How often answers of this probability were right. */
function record(score) {
	const bins = state.model?.reliability ?? [];
	if (!bins.length) return "";
	const bin = bins.find((one) => score > one.low && score <= one.high);
	if (!bin) return "No unseen image got an answer about this sure, so nobody knows how often it is right.";
	const right = Math.round(bin.accuracy * bin.images);
	return `Answers this sure (${Math.round(100 * bin.low)}–${Math.round(100 * bin.high)} %): ${right} of ${bin.images} right on unseen images.`;
}

function below() {
	const code = el(
		"details",
		{
			open: parts.calling, // it stays open when it is drawn again
			async ontoggle() {
				parts.calling = code.open;
				if (code.open && code.children.length === 1) code.append((await import("./callit.js")).callIt());
			},
		},
		el("summary", "Call it: this request as code"),
	);
	return [el("p", { class: "knows", text: knows() }), times(), code];
}

/** One stacked bar: the upload as the page saw it, then the stages in the server. */
function times() {
	const inside = state.answer.timings_ms;
	const values = { ...inside, upload: Math.max(0, state.tookMs - inside.total) };
	const total = STAGES.reduce((sum, name) => sum + values[name], 0) || 1;
	let x = 0;
	const parts = STAGES.map((name, index) => {
		const width = (100 * values[name]) / total;
		x += width;
		return el("svg:rect", { class: `t${index}`, x: x - width, width, height: 10 });
	});
	const text = STAGES.filter((name) => values[name] >= 0.05)
		.map((name) => `${name} ${values[name].toFixed(1)} ms`)
		.join(" · ");
	return el(
		"div",
		{ class: "times" },
		el("svg:svg", { viewBox: "0 0 100 10", preserveAspectRatio: "none", "aria-hidden": "true" }, ...parts),
		el("p", `${text} (${inside.total.toFixed(1)} ms in the server)`),
	);
}

/** The bundle's golden images, answered now: shows that this server gives the trained model's answers. */
async function examples() {
	const served = state.model;
	if (served?.digest !== asked) golden = null; // they are of another version
	if (!served || parts.drawn === `${served.digest}${golden}`) return;
	parts.drawn = `${served.digest}${golden}`;
	const base = `models/${served.name}/${served.version}/golden`;
	const tiles = served.golden.map((expected, index) => {
		const given = golden?.[index];
		const same = given && given.label === expected.label;
		return el(
			"li",
			el(
				"button",
				{ onclick: async () => submit(await picture(`${base}/${index}`), `example ${index + 1}`) },
				el("img", { src: `${base}/${index}`, alt: `Example: ${expected.label}`, loading: "lazy" }),
				el("span", `expected ${expected.label}`),
				el("span", {
					class: given ? (same ? "right" : "wrong") : "",
					text: given ? `${same ? "✓" : "✗"} ${given.label} ${percent(given.score)}` : "…",
				}),
			),
		);
	});
	parts.examples.replaceChildren(
		el("h3", "Examples"),
		el(
			"p",
			"Images from the model's own file, with the answer that it must give and the one that this server gave just now.",
		),
		el("ul", { class: "examples" }, ...tiles),
	);
	if (asked === served.digest) return;
	asked = served.digest;
	try {
		const form = new FormData();
		const files = await Promise.all(served.golden.map((_, index) => picture(`${base}/${index}`)));
		files
			.slice(0, served.limits.max_images_per_request)
			.forEach((file, index) => form.append("image", file, `${index}`));
		golden = (await ask("classify?top_k=1", { body: form })).results.map(
			(one) => one.predictions?.[0] ?? { label: "–", score: 0 },
		);
		examples();
	} catch {
		asked = ""; // the next change of the state tries again
	}
}

const picture = async (path) => (await fetch(new URL(path, document.baseURI))).blob();
