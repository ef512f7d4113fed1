// The image's square: choose, drop, paste, photograph or draw; the same square shows what was sent.
import { drawing } from "./drawing.js";
import { button, el, size } from "./dom.js";
import { clear, state, submit } from "./state.js";

const ACCEPT = "image/jpeg,image/png,image/webp,image/gif,image/bmp";
let parts;
let drawingNow = false;

export const stage = {
	show(host) {
		const canvas = el("canvas", {
			class: "paper",
			"aria-label": "Paper: draw one character with mouse, pen or finger. By keyboard, choose a file instead.",
			role: "img",
		});
		const paper = drawing(canvas, (blob) => submit(blob, "drawing.png", true));
		const picture = el("img", { class: "picture", alt: "The image that was sent", hidden: true });
		const hint = el("p", { class: "hint", text: "Drop, paste or choose a picture" });
		const chooser = file("Choose pictures", { multiple: true });
		const camera = file("Photograph", { capture: "environment" });
		const draw = el("button", { text: "Draw", hidden: true, onclick: () => begin() });
		const undo = el("button", {
			text: "Undo",
			hidden: true,
			onclick: () => (paper.undo(), paper.empty() && clear()),
		});
		const reset = button("Clear", () => (paper.clear(), clear()));
		const facts = el("p", { class: "facts" });
		const begin = () => {
			paper.clear();
			clear();
			drawingNow = true;
			stage.update();
		};
		parts = { canvas, picture, hint, draw, undo, reset, facts, paper };
		host.replaceChildren(
			el("div", { class: "square" }, canvas, picture, hint),
			el("div", { class: "tools" }, chooser, camera, draw, undo, reset),
			facts,
		);
		picture.addEventListener("load", () => stage.update());
		picture.addEventListener("error", () => (picture.hidden = true));
	},
	update() {
		const { canvas, picture, hint, draw, undo, reset, facts, paper } = parts;
		const characters = Boolean(state.model?.categories.every((name) => name.length === 1));
		if (state.image && !state.image.drawn) drawingNow = false;
		else if (characters && !state.image) drawingNow = true;
		if (!drawingNow && !paper.empty()) paper.clear();
		canvas.hidden = !drawingNow;
		draw.hidden = !characters || drawingNow;
		undo.hidden = !drawingNow || !state.image;
		reset.hidden = !state.image;
		hint.hidden = Boolean(state.image);
		hint.textContent = drawingNow ? "Draw one character here, or drop a picture" : "Drop, paste or choose a picture";
		const shown = state.image && !state.image.drawn ? state.image.url : "";
		if (picture.getAttribute("src") !== shown) {
			picture.setAttribute("src", shown);
			picture.hidden = !shown;
		}
		picture.classList.toggle("small", picture.naturalWidth > 0 && picture.naturalWidth < 64);
		const result = state.answer?.results[0];
		facts.textContent = !state.image
			? ""
			: [state.image.name, size(state.image.blob.size), result?.width && `${result.width}×${result.height} px upright`]
					.filter(Boolean)
					.join(" · ");
	},
};

function file(text, more) {
	const input = el("input", {
		type: "file",
		accept: ACCEPT,
		...more,
		onchange: () => (take([...input.files]), (input.value = "")) /* so that the same file can be chosen again */,
	});
	return el("label", { class: "button" }, text, input);
}

/** One file becomes the image; several become a contact sheet. */
async function take(files) {
	if (files.length > 1) (await import("./sheet.js")).openSheet(files);
	else if (files.length) submit(files[0], files[0].name || "pasted.png");
}

/** The whole window takes what is dropped or pasted. */
export function catchFiles(shade) {
	let inside = 0;
	const carries = (event) => [...(event.dataTransfer?.types ?? [])].includes("Files");
	addEventListener("dragenter", (event) => carries(event) && ((shade.hidden = false), inside++));
	addEventListener("dragleave", (event) => carries(event) && --inside <= 0 && ((shade.hidden = true), (inside = 0)));
	addEventListener("dragover", (event) => event.preventDefault()); // without it the browser opens the file itself
	addEventListener("drop", (event) => {
		event.preventDefault();
		shade.hidden = true;
		inside = 0;
		take([...(event.dataTransfer?.files ?? [])]);
	});
	addEventListener("paste", (event) => take([...(event.clipboardData?.files ?? [])]));
}
