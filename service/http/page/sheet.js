// Several files at once: a contact sheet with an answer or an error for each, to sort, to correct and to take away.
import { button, el, percent, save } from "./dom.js";
import { ask } from "./server.js";
import { changed, state, submit } from "./state.js";
import { fromProblem, tooLarge } from "./messages.js";

const GROUP = 8; // files in one request
/** For each file: its address here, and then `result` or `failure`, and `chosen`, the label that the visitor gave. */
let tiles = [];
let sorted = false;
const host = el("section", { class: "sheet", "aria-label": "Contact sheet", hidden: true });

export async function openSheet(files) {
	tiles.forEach((tile) => URL.revokeObjectURL(tile.url));
	const own = (tiles = files.map((file) => ({ file, url: URL.createObjectURL(file) })));
	state.sheet = host;
	location.hash = "#classify";
	draw();
	changed();
	host.scrollIntoView({ block: "start" });
	const most = Math.min(GROUP, state.model?.limits.max_images_per_request ?? GROUP);
	const limit = state.model?.limits.max_image_bytes ?? Infinity;
	const small = own.filter((tile) => tile.file.size <= limit || void (tile.failure = tooLarge(tile.file.size, limit)));
	for (let start = 0; start < small.length; start += most) {
		await answerGroup(small.slice(start, start + most));
		if (own !== tiles) return; // another sheet has taken its place
		draw();
	}
}

async function answerGroup(group) {
	const form = new FormData();
	group.forEach((tile) => form.append("image", tile.file, tile.file.name));
	try {
		const answer = await ask("classify?top_k=9", { body: form });
		group.forEach((tile, index) => (tile.result = answer.results[index]));
	} catch (failure) {
		if (group.length === 1) group[0].failure = failure;
		else for (const tile of group) await answerGroup([tile]); // together they may be over the limit of one request
	}
}

function draw() {
	host.hidden = !tiles.length;
	const done = tiles.filter((tile) => tile.result || tile.failure).length;
	const order = sorted ? [...tiles].sort((one, two) => score(one) - score(two)) : tiles;
	const close = () => ((tiles = []), draw());
	host.replaceChildren(
		el("h3", `${tiles.length} files`),
		el("p", {
			role: "status",
			text:
				done < tiles.length
					? `${done} of ${tiles.length} answered`
					: "Arrow keys move. 1 to 9 choose a label for a file, 0 removes the choice, Enter opens the file.",
		}),
		el(
			"div",
			{ class: "tools" },
			el("button", {
				"aria-pressed": String(sorted),
				text: "Least sure first",
				onclick: () => ((sorted = !sorted), draw()),
			}),
			button("CSV", () => save("labels.csv", "text/csv", csv())),
			button("JSON", () => save("labels.json", "application/json", JSON.stringify(rows(), null, 1))),
			button("Close", close),
		),
		el("ul", { class: "tiles" }, ...order.map(tileOf)),
	);
}

function tileOf(tile) {
	const best = tile.result?.predictions?.[0];
	const failure = tile.failure ?? (tile.result?.problem && fromProblem(tile.result.problem, 0));
	const label = tile.chosen ?? best?.label;
	const button = el(
		"button",
		{
			class: tile.chosen ? "chosen" : "",
			onkeydown: (event) => key(event, tile, button),
			onclick: () => submit(tile.file, tile.file.name),
			"aria-label": `${tile.file.name}: ${failure ? failure.message : (label ?? "waiting")}`,
		},
		el("img", { src: tile.url, alt: "", loading: "lazy", onerror: (event) => (event.target.hidden = true) }),
		el("span", tile.file.name),
		failure
			? el("span", { class: "wrong", text: failure.message })
			: el("strong", best ? `${label} ${tile.chosen ? "(yours)" : percent(best.score)}` : "…"),
	);
	return el("li", button);
}

function key(event, tile, button) {
	const steps = { ArrowLeft: "previousElementSibling", ArrowRight: "nextElementSibling" };
	if (event.key in steps) {
		event.preventDefault();
		button.parentElement[steps[event.key]]?.firstElementChild.focus();
	} else if (/^[0-9]$/.test(event.key) && tile.result?.predictions) {
		tile.chosen = event.key === "0" ? undefined : tile.result.predictions[Number(event.key) - 1]?.label;
		const place = [...host.querySelectorAll(".tiles button")].indexOf(button);
		draw();
		host.querySelectorAll(".tiles button")[place].focus();
	}
}

const score = (tile) => tile.result?.predictions?.[0].score ?? -1;

const rows = () =>
	tiles.map((tile) => ({
		file: tile.file.name,
		label: tile.result?.predictions?.[0].label ?? "",
		score: tile.result?.predictions?.[0].score ?? "",
		chosen: tile.chosen ?? "",
		problem: tile.failure?.code ?? tile.result?.problem?.code ?? "",
	}));

function csv() {
	// A text that begins like a formula must not run in a spreadsheet.
	const text = (value) => String(value).replace(/^[=+\-@\t\r]/, "'$&");
	const cell = (value) => `"${text(value).replaceAll('"', '""')}"`;
	return [["file", "label", "score", "chosen", "problem"], ...rows().map(Object.values)]
		.map((row) => row.map(cell).join(","))
		.join("\r\n");
}
