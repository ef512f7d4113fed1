// Elements of several kinds that the views share: tables, choices, charts' frames.
import { el } from "./dom.js";

/** [rows, columns] of an arrow key, which then does not scroll the page; undefined for other keys. */
export function arrow(event) {
	const step = { ArrowUp: [-1, 0], ArrowDown: [1, 0], ArrowLeft: [0, -1], ArrowRight: [0, 1] }[event.key];
	if (step) event.preventDefault();
	return step;
}

/** A number for a small cell. */
export function short(value) {
	if (Number.isInteger(value)) return String(value).replace("-", "−");
	const size = Math.abs(value);
	return (size >= 100 ? value.toFixed(0) : size >= 10 ? value.toFixed(1) : value.toFixed(2)).replace("-", "−");
}

/** A part of a view with its heading. */
export const section = (title, ...children) => el("section", el("h3", title), ...children);

/** What is shown when it is asked for. */
export const more = (title, ...children) => el("details", el("summary", title), ...children);

/** A picture with its caption. */
export const figure = (caption, ...children) => el("figure", el("figcaption", caption), ...children);

/** Names with their values. */
export const facts = (values) =>
	el("dl", { class: "probe" }, ...Object.entries(values).flatMap(([name, text]) => [el("dt", name), el("dd", text)]));

/** A table with headers; a cell is a text, or a <td>. */
export function table(caption, head, rows, attributes = {}) {
	const cell = (value, index) =>
		value.localName === "td" ? value : el(index ? "td" : "th", { scope: index ? null : "row", text: value });
	const inside = el("table", attributes, el("caption", caption));
	inside.append(el("thead", el("tr", ...head.map((text) => el("th", { scope: "col", text })))));
	inside.append(el("tbody", ...rows.map((row) => el("tr", ...row.map(cell)))));
	return el("div", { class: "scroll", tabindex: 0, role: "region", "aria-label": caption }, inside);
}

/** A group of choices, one of which is taken. */
export function choice(legend, options, taken, choose, disabled = {}) {
	const group = `choice-${legend.replace(/\W+/g, "-")}`;
	return el(
		"fieldset",
		{ class: "choice" },
		el("legend", legend),
		...options.map(([value, text = value]) =>
			el(
				"label",
				{ title: disabled[value] },
				el("input", {
					type: "radio",
					name: group,
					value,
					checked: value === taken,
					disabled: value in disabled,
					onchange: () => choose(value),
				}),
				el("span", { text }),
			),
		),
	);
}

/** A list to choose from. */
export function select(label, options, taken, choose) {
	const box = el(
		"select",
		{ onchange: () => choose(box.value) },
		...options.map(([value, text = value]) => el("option", { value, text, selected: value === taken })),
	);
	return el("label", { class: "select" }, el("span", label), box);
}
