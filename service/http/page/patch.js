// A frame of 8×8 pixels on the visitor's image, to drag or to move with the arrow keys.
import { bytes, floats } from "./arrays.js";
import { EMPTY, complaint, el } from "./dom.js";
import { marked } from "./grid.js";
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
	const move = (step, to, event) => {
		if (step) place(at[0] + step[0], at[1] + step[1]);
		else if (event.buttons) place(to[0] - SIDE / 2, to[1] - SIDE / 2);
	};
	const told = {
		picture: "Your image as the network gets it",
		mark: "Frame of 8 by 8 pixels on your image; arrow keys move it",
	};
	place(at[0], at[1]);
	return el(
		"div",
		{ class: "patch" },
		el("p", "Drag the frame, or move it with the arrow keys: its pixels are the input."),
		marked(side, colours, told, frame, move),
	);
}
