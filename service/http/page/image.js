// View: what the file is, what each preprocessing step makes of it, and any pixel in numbers.
import { bytes, floats } from "./arrays.js";
import { EMPTY, el, size } from "./dom.js";
import { choice, facts, figure, more, section, table } from "./parts.js";
import { marked, pixels } from "./grid.js";
import { aboutImage, load } from "./load.js";
import { state } from "./state.js";

const SPACES = [
	["rgb", "RGB"],
	["gray", "Gray"],
	["hsv", "HSV"],
	["lab", "L*a*b*"],
];
let parts = {};

export const image = {
	title: "Image",
	show(host, route) {
		parts = { body: el("div"), route, shown: null, space: route.parameters.get("space") ?? "rgb" };
		host.append(parts.body);
	},
	async update() {
		const key = [state.submission, state.server].join();
		if (key === parts.shown) return;
		parts.shown = key;
		if (!state.image) return parts.body.replaceChildren(el("p", EMPTY));
		await load(parts.body, () => aboutImage("inspect?space=rgb&space=gray&space=hsv&space=lab"), draw);
	},
};

function draw(answer) {
	const file = answer.facts;
	const turned = file.orientation === 1 ? "upright as stored" : `turned by EXIF orientation ${file.orientation}`;
	return [
		el(
			"p",
			`${file.format}, ${size(file.bytes)}, stored as ${file.mode}, ${file.width}×${file.height} px, ${turned}; colours ${file.colours}.`,
		),
		el("ol", { class: "steps", tabindex: 0, "aria-label": "Preprocessing, step by step" }, ...answer.steps.map(step)),
		probe(answer),
		planes(answer),
	];
}

function step(one) {
	return el(
		"li",
		el("h3", one.name),
		el("img", {
			src: one.picture,
			alt: `The image after this step: ${one.name}`,
			class: Math.max(...one.shape) < 100 ? "pixels" : "",
		}),
		el("p", one.does),
		el("p", {
			class: "facts",
			text: `${one.shape.join("×")} ${one.dtype}, ${one.minimum} to ${one.maximum}, mean ${one.mean}`,
		}),
	);
}

/** The pixel under the pointer in every notation. */
function probe(answer) {
	const { side, channels, sampled_every: every } = answer.square;
	const rgb = bytes(answer.square.rgb),
		network = bytes(answer.square.network),
		normalised = floats(answer.square.normalised);
	const plane = Object.fromEntries(
		Object.entries(answer.planes).map(([name, list]) => [name, list.map((one) => floats(one.values))]),
	);
	const values = el("div", { "aria-live": "polite" });
	const cross = el("svg:rect", { class: "frame", width: 1, height: 1 });
	let at = [side >> 1, side >> 1];
	const go = (row, column) => {
		at = [row, column].map((place) => Math.max(0, Math.min(side - 1, Math.floor(place))));
		cross.setAttribute("y", String(at[0]));
		cross.setAttribute("x", String(at[1]));
		const index = at[0] * side + at[1];
		const [h, s, v] = plane.hsv.map((one) => one[index]),
			[l, a, b] = plane.lab.map((one) => one[index]);
		const told = {
			pixel: `row ${at[0] * every + 1}, column ${at[1] * every + 1}`,
			RGB: [0, 1, 2].map((channel) => rgb[3 * index + channel]).join(", "),
			HSV: `${(360 * h).toFixed(0)}°, ${(100 * s).toFixed(0)} %, ${(100 * v).toFixed(0)} %`,
			"L*a*b*": [l, a, b].map((value) => (value + 0.001 > 0 && value < 0 ? 0 : value).toFixed(1)).join(", "),
			"gray (ITU-R 709)": (255 * plane.gray[0][index]).toFixed(1),
			"what the network reads":
				Array.from({ length: channels }, (_, channel) => network[channels * index + channel]).join(", ") +
				(channels === 1 ? " (luma, ITU-R 601)" : ""),
			normalised: Array.from({ length: channels }, (_, channel) =>
				normalised[channel * side * side + index].toFixed(3),
			).join(", "),
		};
		values.replaceChildren(facts(told));
	};
	const move = (step, to) => (step ? go(at[0] + step[0], at[1] + step[1]) : go(to[0], to[1]));
	const words = { picture: "The square that the network gets, in colour", mark: "Pixel probe; arrow keys move it" };
	go(at[0], at[1]);
	return el(
		"section",
		{ class: "probing" },
		el("h3", "Any pixel in numbers"),
		el(
			"p",
			`The square that the network gets, ${side * every > side ? `every ${every}th pixel of it` : `${side}×${side} pixels`}. Point at it, or use the arrow keys.`,
		),
		el("div", { class: "pair" }, marked(side, rgb, words, cross, move), values),
	);
}

function planes(answer) {
	const { side } = answer.square;
	const show = (space) =>
		(answer.planes[space] ?? answer.planes.rgb).map((plane) => {
			const values = floats(plane.values),
				[low, high] = plane.range;
			const level = (index) => (255 * (values[index] - low)) / (high - low);
			const most = Math.max(1, ...plane.histogram);
			const bars = plane.histogram.map((count, index) =>
				el("svg:rect", {
					class: "fill",
					x: index,
					y: 10 - (10 * count) / most,
					width: 0.9,
					height: (10 * count) / most,
				}),
			);
			const width = (high - low) / plane.histogram.length;
			return figure(
				`${plane.name}, ${low} to ${high}`,
				pixels(side, side, (index) => [level(index), level(index), level(index)], `The plane ${plane.name}`),
				el(
					"svg:svg",
					{ class: "histogram", viewBox: "0 0 32 10", preserveAspectRatio: "none", "aria-hidden": "true" },
					...bars,
				),
				more(
					"As a table",
					table(
						`Pixels by ${plane.name}`,
						["from", "pixels"],
						plane.histogram.map((count, index) => [(low + index * width).toFixed(2), String(count)]),
					),
				),
			);
		});
	const host = el("div", { class: "planes" }, ...show(parts.space));
	const choose = (space) => {
		parts.space = space;
		parts.route.remember({ space });
		host.replaceChildren(...show(space));
	};
	return section("Planes and histograms", choice("Colour space", SPACES, parts.space, choose), host);
}
