// A frame of 8×8 pixels on the visitor's image, to drag or to move with the arrow keys.
import { bytes, floats } from "./arrays.js";
import { EMPTY, complaint, el } from "./dom.js";
import { arrow } from "./parts.js";
import { pixels } from "./grid.js";
import { aboutImage } from "./load.js";
import { state } from "./state.js";

const SIDE = 8;

export async function patchOf(take) {
	document.querySelector(".patch")?.remove();
	if (!state.image) return el("p", { class: "patch", text: EMPTY });
	let answer;
	try {
		answer = await aboutImage("inspect?space=gray");
	} catch (failure) {
		return el("div", { class: "patch" }, complaint(failure));
	}
	const { side, rgb } = answer.square;
	const gray = floats(answer.planes.gray[0].values),
		colours = bytes(rgb);
	const most = Math.max(0, side - SIDE);
	let at = [Math.floor(most / 2), Math.floor(most / 2)];
	const frame = el("svg:rect", { class: "frame", width: SIDE, height: SIDE });
	const place = (row, column) => {
		at = [Math.max(0, Math.min(most, Math.round(row))), Math.max(0, Math.min(most, Math.round(column)))];
		frame.setAttribute("y", String(at[0]));
		frame.setAttribute("x", String(at[1]));
		take(
			Array.from({ length: Math.min(SIDE, side) }, (_, y) =>
				Array.from({ length: Math.min(SIDE, side) }, (_, x) => Math.round(255 * gray[(at[0] + y) * side + at[1] + x])),
			),
		);
	};
	const move = (event) => {
		if (!event.buttons) return;
		const box = layer.getBoundingClientRect();
		place(
			((event.clientY - box.top) * side) / box.height - SIDE / 2,
			((event.clientX - box.left) * side) / box.width - SIDE / 2,
		);
	};
	const layer = el(
		"svg:svg",
		{
			viewBox: `0 0 ${side} ${side}`,
			tabindex: 0,
			role: "img",
			"aria-label": "Frame of 8 by 8 pixels on your image; arrow keys move it",
			onpointerdown: move,
			onpointermove: move,
			onkeydown(event) {
				const step = arrow(event);
				if (step) place(at[0] + step[0], at[1] + step[1]);
			},
		},
		frame,
	);
	place(at[0], at[1]);
	return el(
		"div",
		{ class: "patch" },
		el("p", "Drag the frame, or move it with the arrow keys: its pixels are the input."),
		el(
			"div",
			{ class: "over" },
			pixels(
				side,
				side,
				(index) => [colours[3 * index], colours[3 * index + 1], colours[3 * index + 2]],
				"Your image as the network gets it",
			),
			layer,
		),
	);
}
