// @ts-check
// The page: an image chosen, dropped or drawn goes to POST /classify, the ranked labels come back.
import { drawing } from "/page/drawing.js";

/** @param {string} id */
const element = (id) => /** @type {any} */ (document.getElementById(id));

/** Shows an answer, or the problem in its place. @param {Blob} image */
async function classify(image) {
  element("problem").hidden = true;
  try {
    const response = await fetch("/classify", { method: "POST", body: image });
    const answer = await response.json();
    if (!response.ok) throw new Error(`${answer.title}. ${answer.detail} ${answer.remedy}`);
    showLabels(answer.results[0].predictions);
    element("timings").textContent = `${answer.timings_ms.total.toFixed(1)} ms in the server`;
  } catch (error) {
    element("labels").replaceChildren();
    element("timings").textContent = "";
    element("problem").textContent = error instanceof TypeError ? "The server cannot be reached. Is it still running?" : error.message;
    element("problem").hidden = false;
  }
}

/** @param {{label: string, score: number}[]} predictions */
function showLabels(predictions) {
  element("labels").replaceChildren(
    ...predictions.map(({ label, score }) => {
      const row = document.createElement("li");
      const [name, share] = [document.createElement("span"), document.createElement("span")];
      const bar = document.createElement("meter");
      name.textContent = label;
      bar.value = score;
      bar.setAttribute("aria-label", `${label}: ${(100 * score).toFixed(1)} %`);
      share.textContent = `${(100 * score).toFixed(1)} %`;
      row.append(name, bar, share);
      return row;
    }),
  );
}

/** @param {File | undefined} file */
function choose(file) {
  if (!file) return;
  URL.revokeObjectURL(element("preview").src);
  element("preview").src = URL.createObjectURL(file);
  element("preview").hidden = false;
  classify(file);
}

const drop = element("drop");
drop.addEventListener("dragover", (/** @type {DragEvent} */ event) => {
  event.preventDefault(); // without it the browser opens the file itself
  drop.classList.add("over");
});
drop.addEventListener("dragleave", () => drop.classList.remove("over"));
drop.addEventListener("drop", (/** @type {DragEvent} */ event) => {
  event.preventDefault();
  drop.classList.remove("over");
  choose(event.dataTransfer?.files[0]);
});
element("file").addEventListener("change", () => choose(element("file").files[0]));
drawing(element("canvas"), element("clear"), classify);

const { models } = await (await fetch("/models")).json();
const { name, version, digest, categories, engine } = models[0];
element("model").textContent = `${name}/${version} · ${digest} · ${categories.length} categories · ${engine}`;
// A model of single characters can be tried with the mouse.
element("draw").hidden = !categories.every((/** @type {string} */ category) => category.length === 1);
