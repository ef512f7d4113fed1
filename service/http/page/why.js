// View: which parts of the image speak for a label, and what happens without them.
import { bar, complaint, el, keepingFocus, percent } from "./dom.js";
import { choice, select } from "./parts.js";
import { coverer } from "./cover.js";
import { mapOver } from "./map.js";
import { aboutImage, absent } from "./load.js";
import { isAbort } from "./server.js";
import { state } from "./state.js";

const METHODS = [
	["cam", "Decomposition (CAM)"],
	["occlusion", "Cover and see (occlusion)"],
	["cover", "Cover it yourself"],
];
const COARSE = 4,
	FINE = 7;
const NO_CAM =
	"Decomposition needs a network that ends in global average pooling and one linear layer; this one does not. Cover and see works with every network.";
let parts = {};

export const why = {
	title: "Why",
	show(host, route) {
		parts = {
			controls: el("div", { class: "controls" }),
			found: el("div", { class: "found" }),
			route,
			shown: null,
			method: route.parameters.get("method") ?? "cam",
			label: route.parameters.get("label"),
			against: route.parameters.get("against"),
		};
		host.append(parts.controls, parts.found);
	},
	update() {
		const key = [state.submission, Boolean(state.answer), Boolean(state.asking), state.model?.digest].join();
		if (key === parts.shown) return;
		parts.shown = key;
		draw();
	},
};

function draw() {
	const { controls, found } = parts;
	parts.own = {}; // what is under way is not wanted any more
	if (!state.answer || state.asking) {
		controls.replaceChildren();
		found.replaceChildren(absent());
		return;
	}
	if (state.model?.explain === null) {
		controls.replaceChildren();
		found.replaceChildren(
			el("p", "Explanations are switched off on this server. Whoever runs it can set SIGHTLINE_EXPLAIN=on."),
		);
		return;
	}
	const names = state.model?.categories ?? [];
	const ranked = state.answer.results[0].predictions.map((one) => one.label);
	if (!names.includes(parts.label)) parts.label = null;
	if (!names.includes(parts.against)) parts.against = null;
	const label = parts.label ?? ranked[0];
	const order = [...ranked, ...names.filter((name) => !ranked.includes(name))].slice(0, 200);
	const disabled = state.model?.explain.cam === false ? { cam: NO_CAM } : {};
	if (parts.method in disabled) parts.method = "occlusion";
	const choose = (field) => (value) => {
		parts[field] = value || null;
		parts.route.remember({ [field]: value || null });
		keepingFocus(controls, draw);
	};
	controls.replaceChildren(
		choice("Method", METHODS, parts.method, choose("method"), disabled),
		"cam" in disabled ? el("p", NO_CAM) : "",
		...(parts.method === "cover"
			? []
			: [
					select(
						"Why",
						order.map((name) => [name, name]),
						label,
						choose("label"),
					),
					select(
						"rather than",
						[["", "nothing else"], ...order.filter((name) => name !== label).map((name) => [name, name])],
						parts.against ?? "",
						choose("against"),
					),
				]),
	);
	if (parts.method === "cover") found.replaceChildren(coverer((box) => request(`cover&cover=${box}`)));
	else explain(label);
}

async function explain(label) {
	const query = `${parts.method}&label=${encodeURIComponent(label)}${parts.against ? `&against=${encodeURIComponent(parts.against)}` : ""}`;
	const own = (parts.own = {});
	const wait = el("p", { role: "status", text: "Computing…" });
	parts.found.replaceChildren(wait);
	try {
		// Occlusion takes an inference a cell: a coarse map first, then a finer one in its place.
		for (const cells of parts.method === "occlusion" ? [COARSE, FINE] : [FINE]) {
			const answer = await request(
				`${query}&cells=${cells}`,
				() => (wait.textContent = "The server is explaining something else; waiting…"),
			);
			if (own !== parts.own) return;
			parts.found.replaceChildren(
				mapOver(state.image?.url ?? "", answer, (row, column, value) => say(answer, row, column, value)),
				summary(answer),
			);
		}
	} catch (failure) {
		if (own === parts.own && !isAbort(failure)) parts.found.replaceChildren(complaint(failure));
	}
}

const request = (query, waiting) => aboutImage(`explain?method=${query}`, waiting);

/** One cell in words. */
function say(answer, row, column, value) {
	const where = `Row ${row + 1}, column ${column + 1}`;
	const what = answer.against ? `the lead of ${answer.label} over ${answer.against}` : `the logit of ${answer.label}`;
	if (answer.method === "cam")
		return `${where}: this cell ${value >= 0 ? "adds" : "takes"} ${Math.abs(value).toFixed(3)} ${value >= 0 ? "to" : "from"} ${what}.`;
	const change = `${percent(answer.predictions.find((one) => one.label === answer.label)?.score ?? 0)} to ${percent(answer.scores[row][column])}`;
	return `${where}: without it ${what} ${value >= 0 ? "falls" : "rises"} by ${Math.abs(value).toFixed(3)}; ${answer.label} goes from ${change}.`;
}

function summary(answer) {
	const { label, against, logits, agreement } = answer;
	const difference = against ? logits.label - logits.against : logits.label;
	const told = against
		? `logit of ${label} − logit of ${against} = ${logits.label.toFixed(3)} − ${logits.against < 0 ? `(${logits.against.toFixed(3)})` : logits.against.toFixed(3)} = ${difference.toFixed(3)}`
		: `logit of ${label} = ${difference.toFixed(3)}`;
	return el(
		"div",
		answer.method === "cam"
			? el("p", `All cells together: ${answer.sum.toFixed(3)}. The network's own numbers: ${told}.`)
			: el("p", `Each cell in turn gets the value ${answer.cover_value.join(", ")}; the map shows what is lost.`),
		el("p", {
			class: "facts",
			text: `Computed by ${answer.engine}, a copy that shows its insides.${agreement ? ` Its probabilities for this image and those of ${agreement.engine}, which serves, differ by at most ${agreement.largest_difference.toFixed(6)}.` : ""}`,
		}),
		el("ul", { class: "bars" }, ...answer.predictions.map((one) => bar(one.label, one.score))),
	);
}
