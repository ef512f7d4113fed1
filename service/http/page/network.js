// View: the convolution filter visualizer, then the first layer of the model that answered, then the way through it.
import { choice, complaint, el, select, short } from "./dom.js";
import { grid } from "./grid.js";
import { journey, layers } from "./layers.js";
import { patchOf } from "./patch.js";
import { ask, isAbort } from "./server.js";
import { stepper } from "./stepper.js";

const IDLE = "Select options and click Animate to see convolution in action";
const CHANNELS = ["R", "G", "B"];
/** The answer to GET /filters. */
let table = null;
let parts = {};
/** What is convolved: `input` and `kernel` are lists of planes. */
let task = {};
let controller = new AbortController();

export const network = {
  title: "Network",
  /** @param {HTMLElement} host @param {import("./main.js").Route} route */
  async show(host, route) {
    const read = (name, value) => route.parameters.get(name) ?? value;
    parts = { route, step: Number(read("step", "0")), tables: el("div", { class: "tables" }), options: el("div", { class: "controls" }),
      operation: el("p", { class: "operation", role: "status", text: IDLE }), purpose: el("p"), proof: el("p", { class: "facts" }), layers: layers(fromModel), journey: journey() };
    parts.player = stepper(showStep);
    host.append(el("section", { class: "visualizer", "aria-labelledby": "visualizer" },
      el("h3", { id: "visualizer", text: "Convolution Filter Visualizer" }), parts.options, parts.tables,
      el("h4", { text: "Current Operation" }), parts.player.element, parts.operation, parts.proof,
      el("h4", { text: "Filter Purpose" }), parts.purpose), parts.layers.element, parts.journey.element);
    const own = parts;
    try {
      table ??= await ask("filters");
    } catch (failure) {
      if (own === parts) host.append(complaint(failure));
      return;
    }
    if (own !== parts) return;
    task = { pattern: read("pattern", "vertical_edge"), filter: read("filter", "vertical_edge"), stride: Number(read("stride", "1")), padding: read("padding", "valid"),
      relu: read("relu", "") === "1", pool: read("pool", ""), bias: 0, purpose: "", engine: null };
    if (!pattern()) task.pattern = "vertical_edge";
    if (!filter()) task.filter = "vertical_edge";
    task.input = [pattern().pixels.map((row) => [...row])];
    task.kernel = [filter().kernel.map((row) => [...row])];
    convolve(parts.step);
  },
  update() {
    parts.layers.update();
    parts.journey.update();
  },
};

const pattern = () => table.patterns.find((one) => one.name === task.pattern);
const filter = () => table.filters.find((one) => one.name === task.filter);
const named = (name) => name.replaceAll("_", " ");

function options() {
  const set = (values) => {
    Object.assign(task, values);
    parts.route.remember({ pattern: task.pattern, filter: task.filter, stride: task.stride, padding: task.padding, relu: task.relu ? 1 : null, pool: task.pool || null, step: null });
    convolve(0);
  };
  const fresh = () => (task.engine ? { engine: null, stride: 1, padding: "valid", bias: 0, input: [pattern()?.pixels ?? table.patterns[0].pixels], kernel: [filter()?.kernel ?? table.filters[0].kernel] } : {});
  const copy = (rows) => rows.map((row) => [...row]);
  parts.options.replaceChildren(
    select("Input", [...table.patterns.map((one) => [one.name, named(one.name)]), ["hand", "by hand"], ["image", "part of your image"]], task.engine ? "image" : task.pattern, async (value) => {
      const base = fresh();
      if (value === "image") return parts.options.after(await patchOf((rows) => set({ ...base, pattern: "image", input: [rows] })));
      parts.options.parentElement.querySelector(".patch")?.remove();
      const known = table.patterns.find((one) => one.name === value);
      set({ ...base, pattern: value, input: known ? [copy(known.pixels)] : [copy((base.input ?? task.input)[0])] });
    }),
    select("Filter", [...table.filters.map((one) => [one.name, named(one.name)]), ["hand", "by hand"], ...(task.engine ? [["model", `the model's filter ${task.engine.filter + 1}`]] : [])], task.engine ? "model" : task.filter, (value) => {
      const known = table.filters.find((one) => one.name === value);
      set({ ...fresh(), filter: value, ...(known ? { kernel: [copy(known.kernel)] } : {}) });
    }),
    ...(task.engine ? [] : [
      choice("Stride", [["1", "1"], ["2", "2"]], String(task.stride), (value) => set({ stride: Number(value) })),
      choice("Padding", [["valid", "valid"], ["same", "same"]], task.padding, (value) => set({ padding: value }))]),
    choice("Then", [["", "nothing"], ["relu", "ReLU"]], task.relu ? "relu" : "", (value) => set({ relu: value === "relu" })),
    choice("Pooling 2×2", [["", "none"], ["max", "max"], ["average", "average"]], task.pool, (value) => set({ pool: value })));
}

/** The server computes; this page only shows. @param {number} step */
async function convolve(step) {
  controller.abort();
  controller = new AbortController();
  const own = parts;
  try {
    const body = JSON.stringify({ input: task.input, kernel: task.kernel, bias: task.bias, stride: task.stride, padding: task.padding, relu: task.relu, pool: task.pool || null });
    const answer = await ask("convolve", { body, type: "application/json", signal: controller.signal });
    if (own !== parts) return;
    parts.answer = answer;
    options();
    draw(step);
  } catch (failure) {
    if (!isAbort(failure) && own === parts) parts.tables.replaceChildren(complaint(failure));
  }
}

/** @param {number} step */
function draw(step) {
  const { answer } = parts;
  const size = (rows) => `${rows.length}×${rows[0].length}`;
  const plane = (name, index, planes) =>
    `${name}${planes.length > 1 ? ` ${CHANNELS[index]}` : ""} (${size(planes[index])})`;
  const editable = !task.engine;
  const most = Math.max(1e-9, ...task.input.flat(2).map(Math.abs));
  const edit = (kind) => (y, x, value) => {
    task[kind][0][y][x] = value;
    task[kind === "input" ? "pattern" : "filter"] = "hand";
    convolve(parts.at);
  };
  parts.input = task.input.map((rows, index) =>
    grid(plane("Input", index, task.input), rows, { most, edit: editable && task.pattern === "hand" ? edit("input") : undefined, point: task.pattern === "hand" && editable ? undefined : feeds }));
  parts.kernel = task.kernel.map((rows, index) =>
    grid(plane("Filter", index, task.kernel), rows, { edit: editable && rows.length * rows[0].length <= 9 ? edit("kernel") : undefined }));
  parts.output = grid(`Output (${size(answer.output)})`, answer.output, { point: (y, x) => parts.player.go(y * answer.output[0].length + x) });
  const formula = [...new Set(answer.formula)].join(" and ");
  const after = [];
  if (answer.activated) after.push(column(grid(`After ReLU (${size(answer.activated)})`, answer.activated).element, "negative sums become 0"));
  if (answer.pooled) after.push(column(grid(`After ${task.pool} pooling (${size(answer.pooled)})`, answer.pooled).element, [...new Set(answer.pool_formula)].join(" and ")));
  parts.products = el("div", { class: "products" });
  parts.tables.replaceChildren(
    el("div", { class: "column input" }, ...parts.input.map((one) => one.element)),
    el("div", { class: "column filter" }, ...parts.kernel.map((one) => one.element), parts.products),
    column(parts.output.element, `each side: ${formula}`), ...after);
  parts.purpose.textContent = task.engine ? `Filter ${task.engine.filter + 1} of the first layer; it was learned, nobody named what it detects.` : filter()?.does ?? "Your own filter: change its numbers and watch the output.";
  parts.operation.textContent = IDLE;
  parts.player.load(answer.steps.length, step);
  parts.at = step;
  if (step) showStep(step, true);
}

/** @param {Node} element @param {string} text */
const column = (element, text) => el("div", { class: "column" }, element, el("p", { class: "formula", text }));

/** @param {number} index @param {boolean} speak */
function showStep(index, speak) {
  const { answer } = parts;
  const step = answer.steps[index];
  if (!step) return;
  parts.at = index;
  const [rows, columns] = [step.region[0].length, step.region[0][0].length];
  const within = (y, x) => y >= step.top && y < step.top + rows && x >= step.left && x < step.left + columns;
  parts.input.forEach((one) => one.mark((y, x) => (within(y, x) ? "within" : "")));
  parts.output.mark((y, x) => (y === step.row && x === step.column ? "now" : y * answer.output[0].length + x > index ? "later" : ""));
  parts.products.replaceChildren(...step.products.map((plane, channel) =>
    grid(`Products${step.products.length > 1 ? ` ${CHANNELS[channel]}` : ""}`, plane).element));
  const value = answer.output[step.row][step.column];
  const terms = step.region.flatMap((plane, c) => plane.flatMap((row, y) => row.map((pixel, x) => `(${short(task.kernel[c][y][x])}·${short(pixel)})`)));
  const shown = terms.length > 9 ? [...terms.slice(0, 9), `… ${terms.length - 9} more`] : terms;
  const text = `${shown.join(" + ")}${task.bias ? ` + bias ${short(task.bias)}` : ""} = ${short(value)} → row ${step.row + 1}, column ${step.column + 1}`;
  parts.operation.setAttribute("aria-live", speak ? "polite" : "off");
  parts.operation.textContent = text;
  const engine = task.engine?.convolved[step.row]?.[step.column];
  parts.proof.textContent = engine === undefined ? "" : `vision.convolution ${value.toFixed(6)} · served engine ${engine.toFixed(6)} · difference ${Math.abs(value - engine).toExponential(1)}`;
  if (speak) parts.route.remember({ step: index });
}

/** Marks the outputs that an input cell feeds. @param {number} y @param {number} x */
function feeds(y, x) {
  const [rows, columns] = [task.kernel[0].length, task.kernel[0][0].length];
  const fed = new Set(parts.answer.steps.filter((one) => y >= one.top && y < one.top + rows && x >= one.left && x < one.left + columns).map((one) => `${one.row},${one.column}`));
  parts.output.mark((row, column) => (fed.has(`${row},${column}`) ? "fed" : ""));
}

/** Part A goes on with a filter of the served model. @param {any} patch of POST /activations */
function fromModel(patch) {
  task = { ...task, input: patch.input, kernel: patch.kernel, bias: patch.bias, stride: patch.stride, padding: "valid", relu: false, pool: "", pattern: "image", filter: "model", engine: patch };
  convolve(patch.row * patch.convolved[0].length + patch.column);
  document.getElementById("visualizer")?.scrollIntoView({ block: "start" });
}
