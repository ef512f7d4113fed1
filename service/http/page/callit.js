// This very request as curl, Python and JavaScript.
import { el } from "./dom.js";
import { state } from "./state.js";

export function callIt() {
	const url = new URL("classify?top_k=5", document.baseURI).href;
	const name = state.image?.name ?? "photo.jpg";
	const file = `'${name.replaceAll("'", "'\\''")}'`;
	const quoted = JSON.stringify(name);
	const snippets = {
		curl: `curl --data-binary @${file} '${url}'`,
		Python: `import json, urllib.request\n\nwith open(${quoted}, "rb") as image:\n    request = urllib.request.Request("${url}", image.read(), {"Content-Type": "application/octet-stream"})\nwith urllib.request.urlopen(request) as answer:\n    print(json.load(answer)["results"][0]["predictions"])`,
		JavaScript: `import { readFile } from "node:fs/promises";\n\nconst image = await readFile(${quoted});\nconst answer = await fetch("${url}", { method: "POST", body: image });\nconsole.log((await answer.json()).results[0].predictions);`,
	};
	return el(
		"div",
		{ class: "snippets" },
		...Object.entries(snippets).map(([language, code]) => {
			const text = el("pre", { text: code, tabindex: 0, "aria-label": `${language}: this request` });
			const copy = el("button", {
				text: "Copy",
				"aria-label": `Copy ${language}`,
				onclick: () => copied(copy, text),
			});
			return el("div", el("h3", language), copy, text);
		}),
	);
}

/** Copies, or where the browser forbids it (no HTTPS) selects. */
async function copied(button, text) {
	try {
		await navigator.clipboard.writeText(text.textContent ?? "");
		button.textContent = "Copied";
	} catch {
		getSelection()?.selectAllChildren(text);
		button.textContent = "Selected: press Ctrl+C";
	}
}
