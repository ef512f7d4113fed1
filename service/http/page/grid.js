// Tables of numbers: each cell with its value as text and a shade; walked with the arrow keys.
import { el } from "./dom.js";
import { arrow, short } from "./parts.js";

const STEPS = 10; // shades on each side of zero

/**
 * A table of `rows`, and `mark` to set a class on the cells by (row, column). `edit` makes the cells inputs and is
 * called with (row, column, value); `point` with a cell that is pointed at, tapped or walked to. `most` is the value
 * with the strongest shade.
 */
export function grid(caption, rows, { edit, point, most } = {}) {
	const largest = most ?? Math.max(1e-9, ...rows.flat().map(Math.abs));
	const cells = rows.map((row, y) =>
		row.map((value, x) => {
			const shade = `s${Math.round(STEPS * Math.max(-1, Math.min(1, value / largest)))}`.replace("-", "m");
			const input =
				edit &&
				el("input", {
					type: "number",
					step: "any",
					value: round(value),
					"aria-label": `${caption}: row ${y + 1}, column ${x + 1}`,
					onchange: () => Number.isFinite(input.valueAsNumber) && edit(y, x, input.valueAsNumber),
				});
			const act = point && (() => point(y, x));
			return el(
				"td",
				{
					class: shade,
					"data-shade": shade,
					tabindex: point ? (y || x ? -1 : 0) : null,
					onclick: act,
					onpointerenter: point && ((event) => event.pointerType === "mouse" && act?.()),
					onfocus: act,
				},
				input || short(value),
			);
		}),
	);
	const walk = (event) => {
		const y = cells.findIndex((row) => row.includes(event.target));
		const step = y >= 0 && arrow(event);
		if (!step) return;
		event.stopPropagation();
		const x = cells[y].indexOf(event.target);
		const next = cells[y + step[0]]?.[x + step[1]];
		if (!next) return;
		cells[y][x].tabIndex = -1;
		next.tabIndex = 0;
		next.focus();
	};
	const element = el(
		"table",
		{ class: "grid", role: point ? "grid" : null, onkeydown: point ? walk : null },
		el("caption", caption),
		el("tbody", ...cells.map((row) => el("tr", ...row))),
	);
	return {
		element,
		mark: (chosen) =>
			cells.forEach((row, y) => row.forEach((cell, x) => (cell.className = `${cell.dataset.shade} ${chosen(y, x)}`))),
	};
}

const round = (value) => Number(value.toFixed(4));

/** A small picture of numbers: `colour` gives [red, green, blue], 0 to 255, for the index of a pixel. */
export function pixels(width, height, colour, label) {
	const told = label ? { role: "img", "aria-label": label } : { "aria-hidden": "true" };
	const canvas = el("canvas", { class: "pixels", width, height, ...told });
	const context = canvas.getContext("2d");
	const data = context.createImageData(width, height);
	for (let index = 0; index < width * height; index++) data.data.set([...colour(index), 255], 4 * index);
	context.putImageData(data, 0, 0);
	return canvas;
}

/**
 * A square of RGB bytes, `told` in words, under a mark of some pixels. `move(step, place)` is called with the step of an
 * arrow key, or with the [row, column] under the pointer and its event.
 */
export function marked(side, rgb, told, mark, move) {
	const point = (event) => {
		const box = layer.getBoundingClientRect();
		move(
			null,
			[((event.clientY - box.top) * side) / box.height, ((event.clientX - box.left) * side) / box.width],
			event,
		);
	};
	const onkeydown = (event) => {
		const step = arrow(event);
		if (step) move(step);
	};
	const names = { role: "img", tabindex: 0, "aria-label": told.mark };
	const layer = el(
		"svg:svg",
		{ viewBox: `0 0 ${side} ${side}`, ...names, onpointerdown: point, onpointermove: point, onkeydown },
		mark,
	);
	const colour = (index) => [rgb[3 * index], rgb[3 * index + 1], rgb[3 * index + 2]];
	return el("div", { class: "over" }, pixels(side, side, colour, told.picture), layer);
}
