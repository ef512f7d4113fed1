// The first layer of the served model on the visitor's image, and the strongest maps of every size after it.
import { bar, complaint, el, percent, short } from "./dom.js";
import { pixels } from "./grid.js";
import { askPatiently, isAbort } from "./server.js";
import { signal, state } from "./state.js";

const NONE = "Give it a picture, and its filters answer here.";

/** @param {(patch: any) => void} take called with the patch of the filter that was chosen */
export function layers(take) {
  const body = el("div");
  const element = el("section", { class: "layers", "aria-labelledby": "layers" }, el("h3", { id: "layers", text: "The first layer of the model that answers" }), body);
  let shown = "";
  return {
    element,
    async update() {
      const key = about();
      if (key === shown) return;
      shown = key;
      if (!state.answer || state.asking) return body.replaceChildren(el("p", { text: NONE }));
      await load(body, "activations", (answer) => [told(answer), el("ul", { class: "filters" }, ...answer.filters.map((one, index) => tile(answer, one, index, body, take)))]);
    },
  };
}

/** @param {any} answer */
function told({ layer, proof, engine }) {
  const text = `${layer.filters} filters of ${layer.kernel_px}×${layer.kernel_px}${layer.channels > 1 ? ` over ${layer.channels} channels` : ""}, stride ${layer.stride}, padding ${layer.padding}${layer.activation ? `, then ${layer.activation}` : ""}: input ${layer.input.join("×")} → ${layer.output.join("×")}. Choose a filter to compute it step by step above.`;
  const same = `One whole map again, ${proof.cells} cells: vision.convolution ${proof.textbook.toFixed(6)} · ${engine} ${proof.engine.toFixed(6)} · largest difference ${proof.largest_difference.toExponential(1)}`;
  return el("div", {}, el("p", { text }), el("p", { class: "facts", text: same }));
}

/** @param {any} answer @param {any} one @param {number} index @param {HTMLElement} body @param {(patch: any) => void} take */
function tile(answer, one, index, body, take) {
  const choose = async () => {
    try {
      take((await request(`activations?filter=${index}`)).patch);
    } catch (failure) {
      if (!isAbort(failure)) body.prepend(complaint(failure));
    }
  };
  return el("li", {}, el("button", { type: "button", disabled: !one.kernel, onclick: choose, "aria-label": `Filter ${index + 1}: mean ${short(one.mean)}, maximum ${short(one.maximum)}; compute it step by step` },
    ...(one.kernel ? kernel(one.kernel) : []), el("img", { src: one.picture, alt: "", class: "pixels" }), el("span", { text: `${index + 1}: ${short(one.maximum)}` })));
}

/** A kernel in colour if it reads colours, and each of its channels. @param {number[][][]} planes */
function kernel(planes) {
  const side = planes[0].length;
  const most = Math.max(1e-9, ...planes.flat(2).map(Math.abs));
  const level = (channel, index) => 128 + (127 * planes[channel][Math.floor(index / side)][index % side]) / most;
  const gray = (channel) => pixels(side, side, (index) => [level(channel, index), level(channel, index), level(channel, index)], "");
  const slices = planes.map((_, channel) => gray(channel));
  if (planes.length !== 3) return [slices[0]];
  return [pixels(side, side, (index) => [level(0, index), level(1, index), level(2, index)], ""), el("span", { class: "slices" }, ...slices)];
}

export function journey() {
  const body = el("div");
  const element = el("details", { class: "journey", ontoggle: () => update() }, el("summary", { text: "The way through the network: the strongest maps of each size, to the answer" }), body);
  let shown = "";
  const update = async () => {
    const key = about();
    if (!element.open || key === shown) return;
    shown = key;
    if (!state.answer || state.asking) return body.replaceChildren(el("p", { text: NONE }));
    await load(body, "activations?layer=journey", (answer) => [
      ...answer.stages.map((stage) => el("section", {}, el("h4", { text: `${stage.channels} maps of ${stage.height}×${stage.width}` }),
        el("ul", { class: "filters" }, ...stage.maps.map((map) => el("li", {}, el("img", { src: map.picture, alt: `Map ${map.channel + 1}, mean ${short(map.mean)}`, class: "pixels" }), el("span", { text: `${map.channel + 1}: ${short(map.mean)}` })))))),
      answer.means && el("section", {}, el("h4", { text: "Mean of each map" }), el("p", { text: answer.means.map((one) => `map ${one.channel + 1}: ${short(one.value)}`).join(" · ") })),
      el("section", {}, el("h4", { text: `Logits ÷ temperature ${answer.temperature.toFixed(3)} → probabilities` }),
        el("ul", { class: "bars" }, ...answer.outputs.map((one) => bar(one.label, one.score, `${short(one.logit)} → ${percent(one.score)}`))))].filter(Boolean));
  };
  return { element, update };
}

const about = () => [state.submission, Boolean(state.answer), Boolean(state.asking)].join();
const request = (path) => askPatiently(path, { body: state.image?.blob, signal: signal() });

/** @param {HTMLElement} body @param {string} path @param {(answer: any) => Node[]} drawn */
async function load(body, path, drawn) {
  body.replaceChildren(el("p", { role: "status", text: "Computing…" }));
  const own = about();
  try {
    const answer = await request(path);
    if (own === about()) body.replaceChildren(...drawn(answer));
  } catch (failure) {
    if (own === about() && !isAbort(failure)) body.replaceChildren(complaint(failure));
  }
}
