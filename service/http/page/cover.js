// Cover it yourself: a rectangle over the image, by pointer or arrow keys, and what the answer becomes.
import { bar, complaint, el, percent } from "./dom.js";
import { arrow } from "./parts.js";
import { isAbort } from "./server.js";
import { state } from "./state.js";

const REST_MS = 200;

export function coverer(request) {
	const { width, height } = state.answer.results[0];
	const box = {
		x: Math.round(width / 3),
		y: Math.round(height / 3),
		w: Math.max(1, Math.round(width / 3)),
		h: Math.max(1, Math.round(height / 3)),
	};
	const cover = el("svg:rect", { class: "cover" });
	const said = el("p", { role: "status" });
	const bars = el("ul", { class: "bars" });
	let own = 0,
		rest = 0;
	let from = null;

	const place = (later = true) => {
		box.w = Math.max(1, Math.min(width, Math.round(box.w)));
		box.h = Math.max(1, Math.min(height, Math.round(box.h)));
		box.x = Math.max(0, Math.min(width - box.w, Math.round(box.x)));
		box.y = Math.max(0, Math.min(height - box.h, Math.round(box.y)));
		for (const [name, value] of Object.entries({ x: box.x, y: box.y, width: box.w, height: box.h }))
			cover.setAttribute(name, String(value));
		clearTimeout(rest);
		if (later) rest = setTimeout(ask, REST_MS);
	};
	async function ask() {
		const mine = ++own;
		bars.classList.add("stale");
		try {
			const answer = await request([box.x, box.y, box.w, box.h].join());
			if (mine !== own) return;
			bars.classList.remove("stale");
			const best = [...answer.changes].sort((one, two) => two.after - one.after)[0];
			said.textContent = `Covered so, the answer is ${best.label} with ${percent(best.after)}.`;
			bars.replaceChildren(
				...answer.changes.map((one) =>
					bar(
						one.label,
						one.after,
						`${percent(one.after)} (was ${percent(one.before)})`,
						one.after >= one.before ? "for" : "against",
					),
				),
			);
		} catch (failure) {
			if (mine === own && !isAbort(failure)) bars.replaceChildren(el("li", complaint(failure)));
		}
	}
	const point = (event) => {
		const at = new DOMPoint(event.clientX, event.clientY).matrixTransform(picture.getScreenCTM().inverse());
		return [Math.max(0, Math.min(width, at.x)), Math.max(0, Math.min(height, at.y))];
	};
	const picture = el(
		"svg:svg",
		{
			class: "map draw",
			viewBox: `0 0 ${width} ${height}`,
			tabindex: 0,
			role: "img",
			"aria-label": "The image with a cover; arrow keys move it, with Shift they change its size",
			onkeydown(event) {
				const step = arrow(event);
				if (!step) return;
				const [y, x] = step.map((one) => one * Math.max(1, Math.round(Math.max(width, height) / 20)));
				if (event.shiftKey) Object.assign(box, { w: box.w + x, h: box.h + y });
				else Object.assign(box, { x: box.x + x, y: box.y + y });
				place();
			},
			onpointerdown(event) {
				picture.setPointerCapture(event.pointerId);
				from = point(event);
			},
			onpointermove(event) {
				if (!from) return;
				const [x, y] = point(event);
				Object.assign(box, {
					x: Math.min(x, from[0]),
					y: Math.min(y, from[1]),
					w: Math.abs(x - from[0]),
					h: Math.abs(y - from[1]),
				});
				place(false);
			},
			onpointerup() {
				if (from) place();
				from = null;
			},
		},
		el("svg:image", {
			href: state.image?.url,
			width,
			height,
			preserveAspectRatio: "none",
			class: width < 64 ? "small" : "",
		}),
		cover,
	);
	place();
	return el(
		"div",
		el("p", "Drag a rectangle over the image, or focus it and use the arrow keys; Shift and arrows change its size."),
		picture,
		said,
		bars,
	);
}
