// The frame: header, navigation by the address's hash, and the view that it names.
import { classify } from "./classify.js";
import { el, percent } from "./dom.js";
import { catchFiles, stage } from "./stage.js";
import { connect, state, subscribe } from "./state.js";

/*
 * A view has a title; `show(host, route)` fills the element when it is opened, `update()` follows each change of the
 * state. A route has the parameters of the hash, and `remember` to change them; null removes one.
 */
const VIEWS = {
	classify: async () => classify, // the others are loaded when they are opened
	why: async () => (await import("./why.js")).why,
	network: async () => (await import("./network.js")).network,
	image: async () => (await import("./image.js")).image,
	model: async () => (await import("./model.js")).model,
};
const byId = (id) => document.getElementById(id);
let open = { update() {} };
let opened = null;
let loaded;
/** The looks of all views but the first, loaded once. */
const styles = () =>
	(loaded ??= new Promise((done) =>
		document.head.append(el("link", { rel: "stylesheet", href: "page/views.css", onload: done, onerror: done })),
	));

async function route() {
	const [name, query] = location.hash.slice(1).split("?");
	const key = Object.hasOwn(VIEWS, name) ? name : "classify";
	opened = location.hash;
	const own = opened;
	const [view] = await Promise.all([VIEWS[key](), key === "classify" || styles()]);
	if (own !== opened) return; // another view was asked for meanwhile
	const parameters = new URLSearchParams(query);
	open = view;
	document.body.dataset.view = key;
	document.title = `${view.title} · Sightline`;
	for (const link of document.querySelectorAll("nav a")) {
		if (link.getAttribute("href") === `#${key}`) link.setAttribute("aria-current", "page");
		else link.removeAttribute("aria-current");
	}
	byId("view").replaceChildren(el("h2", view.title));
	view.show(byId("view"), {
		parameters,
		remember(values) {
			if (open !== view) return;
			for (const [field, value] of Object.entries(values)) {
				if (value === null) parameters.delete(field);
				else parameters.set(field, String(value));
			}
			const text = parameters.toString();
			history.replaceState(null, "", `#${key}${text ? `?${text}` : ""}`);
		},
	});
	view.update();
}

function header() {
	const served = state.model;
	byId("state").dataset.state = state.server;
	byId("state").textContent = {
		ready: "ready",
		starting: "not ready yet, asking again…",
		unreachable: "unreachable, trying again…",
	}[state.server];
	if (!served) {
		byId("model").textContent =
			state.server === "unreachable" ? "The server cannot be reached." : "The server is starting…";
		return;
	}
	const { accuracy, test_images: images } = served;
	const proof = accuracy === null ? "" : `, ${percent(accuracy)} right on ${images} unseen images`;
	byId("model").textContent = `${served.name}: knows ${known(served.categories)}${proof}`;
	byId("about").hidden = false;
	byId("about").lastElementChild.textContent =
		`version ${served.version} · ${served.digest} · ${served.architecture} on ${served.engine}`;
}

/** What the model can answer, in a few words. */
function known(categories) {
	const range = categories.length > 4 && categories.every((name) => name.length === 1);
	if (range) return `${categories[0]}–${categories[categories.length - 1]}`;
	return categories.length <= 6
		? categories.join(", ")
		: `${categories.slice(0, 4).join(", ")} and ${categories.length - 4} more`;
}

/** On phones the answer stays in sight: picture, best label, how sure. */
function strip() {
	const best = state.answer?.results[0].predictions?.[0];
	byId("strip").hidden = !state.image;
	if (!state.image) return;
	byId("strip").replaceChildren(
		el("img", { src: state.image.url, alt: "", width: 40, height: 40 }),
		el("strong", state.failure ? "No answer" : best && !state.asking ? best.label : "…"),
		el("span", best && !state.asking ? percent(best.score) : ""),
	);
}

subscribe(() => {
	header();
	strip();
	stage.update();
	open.update();
});
document.querySelector(".skip").onclick = (event) => {
	event.preventDefault(); // the hash holds the view's settings
	byId("view").focus();
};
addEventListener("hashchange", route);
stage.show(byId("stage"));
catchFiles(byId("dropping"));
route();
connect();
