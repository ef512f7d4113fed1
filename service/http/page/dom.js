// Elements from data. Text and attributes only: nothing here parses HTML.

export const EMPTY = "Give it a picture first: draw, drop or choose one, or take an example from Classify.";
const SVG = "http://www.w3.org/2000/svg";

/**
 * Makes an element, e.g. el("p", {class: "big", text: "7"}). `svg:rect` makes one of SVG. Attributes are `text`,
 * `on…` handlers, or set as they are; those that are false, null or undefined are left out, as children are. They may be missing as a whole.
 */
export function el(tag, attributes = {}, ...children) {
	if (attributes instanceof Node || typeof attributes !== "object") {
		children.unshift(attributes);
		attributes = {};
	}
	const made = tag.startsWith("svg:") ? document.createElementNS(SVG, tag.slice(4)) : document.createElement(tag);
	for (const [name, value] of Object.entries(attributes)) {
		if (value === false || value === null || value === undefined) continue;
		if (name === "text") made.textContent = String(value);
		else if (name.startsWith("on")) made.addEventListener(name.slice(2), value);
		else made.setAttribute(name, value === true ? "" : String(value));
	}
	made.append(...children.filter((child) => child !== null && child !== undefined && child !== false));
	return made;
}

/** A share as people read it: 99.8 %, < 0.1 %. */
export function percent(share) {
	if (share > 0 && share < 0.001) return "< 0.1 %";
	if (share < 1 && share > 0.999) return "> 99.9 %";
	return `${(100 * share).toFixed(share === 1 || share === 0 ? 0 : 1)} %`;
}

/** Bytes as people read them. */
export function size(bytes) {
	return bytes < 1000
		? `${bytes} bytes`
		: bytes < 1e6
			? `${(bytes / 1e3).toFixed(0)} kB`
			: `${(bytes / 1e6).toFixed(1)} MB`;
}

export const button = (text, onclick, more = {}) => el("button", { text, onclick, ...more });

/** A bar with its label and value as text. */
export function bar(label, share, value = percent(share), kind = "") {
	const track = el(
		"svg:svg",
		{ class: "bar", viewBox: "0 0 100 10", preserveAspectRatio: "none", "aria-hidden": "true" },
		el("svg:rect", { class: "track", width: 100, height: 10 }),
		el("svg:rect", { class: `fill ${kind}`, width: Math.max(0, Math.min(100, 100 * share)), height: 10 }),
	);
	return el("li", el("span", { class: "name", text: label }), track, el("span", { class: "value", text: value }));
}

/** The sentence of a failure, with what to do and the server's document. */
export function complaint(failure, ...more) {
	const facts = failure.document ? JSON.stringify(failure.document, null, 1) : failure.technical;
	return el(
		"div",
		{ class: "problem", role: "alert" },
		el("p", failure.message),
		failure.remedy && el("p", failure.remedy),
		facts && el("details", el("summary", "Details"), el("pre", { text: facts, tabindex: 0 })),
		...more,
	);
}

/** Lets the visitor keep a text as a file. */
export function save(name, type, text) {
	const url = URL.createObjectURL(new Blob([text], { type }));
	el("a", { href: url, download: name }).click();
	setTimeout(() => URL.revokeObjectURL(url), 1000);
}

/** Makes elements anew, and gives the focus back to the one with the name that had it. */
export function keepingFocus(host, make) {
	const name = (one) => one.name + (one.ariaLabel ?? one.closest("label")?.querySelector("span")?.textContent);
	const had = host.contains(document.activeElement) && name(document.activeElement);
	make();
	if (had && !host.contains(document.activeElement))
		[...host.querySelectorAll("input, select, button")].find((one) => name(one) === had)?.focus();
}
