// The first layer of the served model on the visitor's image, and the strongest maps of every size after it.
import { bar, complaint, el, percent } from "./dom.js";
import { section, short } from "./parts.js";
import { pixels } from "./grid.js";
import { aboutImage, absent, load, moment } from "./load.js";
import { isAbort } from "./server.js";
import { state } from "./state.js";

export function layers(take) {
	const body = el("div");
	const element = el(
		"section",
		{ class: "layers", "aria-labelledby": "layers" },
		el("h3", { id: "layers", text: "The first layer of the model that answers" }),
		body,
	);
	let shown = "";
	return {
		element,
		async update() {
			const key = moment();
			if (key === shown) return;
			shown = key;
			if (!state.answer || state.asking) return body.replaceChildren(absent());
			await load(
				body,
				() => aboutImage("activations"),
				(answer) => [
					told(answer),
					el("ul", { class: "filters" }, ...answer.filters.map((one, index) => tile(answer, one, index, body, take))),
				],
			);
		},
	};
}

function told({ layer, proof, engine }) {
	const text = `${layer.filters} filters of ${layer.kernel_px}×${layer.kernel_px}${layer.channels > 1 ? ` over ${layer.channels} channels` : ""}, stride ${layer.stride}, padding ${layer.padding}${layer.activation ? `, then ${layer.activation}` : ""}: input ${layer.input.join("×")} → ${layer.output.join("×")}. Choose a filter to compute it step by step above.`;
	const same = `One whole map again, ${proof.cells} cells: vision.convolution ${proof.textbook.toFixed(6)} · ${engine} ${proof.engine.toFixed(6)} · largest difference ${proof.largest_difference.toExponential(1)}`;
	return el("div", el("p", { text }), el("p", { class: "facts", text: same }));
}

function tile(answer, one, index, body, take) {
	const choose = async () => {
		try {
			take((await aboutImage(`activations?filter=${index}`)).patch);
		} catch (failure) {
			if (!isAbort(failure)) body.prepend(complaint(failure));
		}
	};
	return el(
		"li",
		el(
			"button",
			{
				disabled: !one.kernel,
				onclick: choose,
				"aria-label": `Filter ${index + 1}: mean ${short(one.mean)}, maximum ${short(one.maximum)}; compute it step by step`,
			},
			...(one.kernel ? kernel(one.kernel) : []),
			el("img", { src: one.picture, alt: "", class: "pixels" }),
			el("span", `${index + 1}: ${short(one.maximum)}`),
		),
	);
}

/** A kernel in colour if it reads colours, and each of its channels. */
function kernel(planes) {
	const side = planes[0].length;
	const most = Math.max(1e-9, ...planes.flat(2).map(Math.abs));
	const level = (channel, index) => 128 + (127 * planes[channel][Math.floor(index / side)][index % side]) / most;
	const gray = (channel) =>
		pixels(side, side, (index) => [level(channel, index), level(channel, index), level(channel, index)], "");
	const slices = planes.map((_, channel) => gray(channel));
	if (planes.length !== 3) return [slices[0]];
	return [
		pixels(side, side, (index) => [level(0, index), level(1, index), level(2, index)], ""),
		el("span", { class: "slices" }, ...slices),
	];
}

export function journey() {
	const body = el("div");
	const element = el(
		"details",
		{ class: "journey", ontoggle: () => update() },
		el("summary", "The way through the network: the strongest maps of each size, to the answer"),
		body,
	);
	let shown = "";
	const update = async () => {
		const key = moment();
		if (!element.open || key === shown) return;
		shown = key;
		if (!state.answer || state.asking) return body.replaceChildren(absent());
		await load(
			body,
			() => aboutImage("activations?layer=journey"),
			(answer) => [
				...answer.stages.map((stage) =>
					section(
						`${stage.channels} maps of ${stage.height}×${stage.width}`,
						el(
							"ul",
							{ class: "filters" },
							...stage.maps.map((map) =>
								el(
									"li",
									el("img", {
										src: map.picture,
										alt: `Map ${map.channel + 1}, mean ${short(map.mean)}`,
										class: "pixels",
									}),
									el("span", `${map.channel + 1}: ${short(map.mean)}`),
								),
							),
						),
					),
				),
				answer.means &&
					section(
						"Mean of each map",
						el("p", answer.means.map((one) => `map ${one.channel + 1}: ${short(one.value)}`).join(" · ")),
					),
				section(
					`Logits ÷ temperature ${answer.temperature.toFixed(3)} → probabilities`,
					el(
						"ul",
						{ class: "bars" },
						...answer.outputs.map((one) => bar(one.label, one.score, `${short(one.logit)} → ${percent(one.score)}`)),
					),
				),
			],
		);
	};
	return { element, update };
}
