// A signed map over the upright image: cells to point at, to walk with the arrow keys, and to read as a table.
import { el } from "./dom.js";
import { arrow, more, short, table } from "./parts.js";

/** The image at `url` below the grid of an answer of POST /explain; `say(row, column, value)` puts a cell into words. */
export function mapOver(url, answer, say) {
	const { grid, box, width, height } = answer;
	const [left, top, right, bottom] = box;
	const [across, down] = [(right - left) / grid[0].length, (bottom - top) / grid.length];
	const most = Math.max(1e-9, ...grid.flat().map(Math.abs));
	const words = el("p", {
		class: "words",
		role: "status",
		text: "Point at a cell, or focus the map and use the arrow keys.",
	});
	let at = [0, 0];
	const frame = el("svg:rect", { class: "frame", width: across, height: down, visibility: "hidden" });
	const go = (row, column) => {
		at = [Math.max(0, Math.min(grid.length - 1, row)), Math.max(0, Math.min(grid[0].length - 1, column))];
		frame.setAttribute("x", left + at[1] * across);
		frame.setAttribute("y", top + at[0] * down);
		frame.setAttribute("visibility", "visible");
		words.textContent = say(at[0], at[1], grid[at[0]][at[1]]);
	};
	const cells = grid.flatMap((row, y) =>
		row.map((value, x) =>
			el("svg:rect", {
				class: value >= 0 ? "for" : "against",
				x: left + x * across,
				y: top + y * down,
				width: across,
				height: down,
				"fill-opacity": (Math.abs(value) / most).toFixed(3),
				onpointerenter: () => go(y, x),
				onclick: () => go(y, x),
			}),
		),
	);
	const x0 = Math.min(0, left),
		y0 = Math.min(0, top);
	const picture = el(
		"svg:svg",
		{
			class: "map",
			viewBox: `${x0} ${y0} ${Math.max(width, right) - x0} ${Math.max(height, bottom) - y0}`,
			tabindex: 0,
			role: "img",
			"aria-label": `Map of ${grid.length} by ${grid[0].length} cells over the image; arrow keys read them`,
			onkeydown(event) {
				const step = arrow(event);
				if (step) go(at[0] + step[0], at[1] + step[1]);
			},
		},
		el("svg:image", { href: url, width, height, preserveAspectRatio: "none", class: width < 64 ? "small" : "" }),
		el("svg:g", { class: "cells" }, ...cells),
		frame,
	);
	const opacity = el("input", { type: "range", min: 0, max: 100, value: 70, oninput: () => shade() });
	const shade = () => picture.style.setProperty("--map", String(opacity.value / 100));
	shade();
	return el(
		"div",
		picture,
		words,
		el("label", { class: "range" }, "Strength of the colours", opacity),
		el(
			"p",
			{ class: "legend" },
			el("span", { class: "key for", text: "for" }),
			el("span", { class: "key against", text: "against" }),
		),
		more(
			"The map as a table",
			table(
				"Cells of the map",
				["row", ...grid[0].map((_, x) => String(x + 1))],
				grid.map((row, y) => [String(y + 1), ...row.map(short)]),
			),
		),
	);
}
