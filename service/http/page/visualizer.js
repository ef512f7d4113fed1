// The course's visualizer: an input, a filter, and every step from one to the other. The server computes; this shows.
import { complaint, el, keepingFocus } from "./dom.js";
import { choice, select, short } from "./parts.js";
import { grid } from "./grid.js";
import { patchOf } from "./patch.js";
import { ask, isAbort } from "./server.js";
import { stepper } from "./stepper.js";

const IDLE = "Select options and click Animate to see convolution in action";
const CHANNELS = ["R", "G", "B"];
const TERMS = 9; // of a sum that are written out
const PLAIN = { stride: 1, padding: "valid", relu: "", pool: "", bias: 0, engine: null };
const ALLOWED = { stride: ["1", "2"], padding: ["valid", "same"], relu: ["", "1"], pool: ["", "max", "average"] };
const REMEMBERED = ["pattern", "filter", "stride", "padding", "relu", "pool"];
let table = null; // the answer to GET /filters

/** Returns its element, and `take`, which goes on with a filter of the served model: a patch of POST /activations. */
export function visualizer(route) {
	// `input` and `kernel` are lists of planes; `engine` is the patch, if they are the served model's.
	const task = { ...PLAIN, pattern: "vertical_edge", filter: "vertical_edge" };
	for (const name of REMEMBERED) task[name] = route.parameters.get(name) ?? task[name];
	let answer, inputs, output, at;
	let controller = new AbortController();
	const player = stepper(showStep);
	const tables = el("div", { class: "tables" });
	const options = el("div", { class: "controls" });
	const patch = el("div");
	const operation = el("p", { class: "operation", role: "status", text: IDLE });
	const proof = el("p", { class: "facts" });
	const purpose = el("p");
	const heading = el("h3", { id: "visualizer", text: "Convolution Filter Visualizer" });
	const element = el("section", { class: "visualizer", "aria-labelledby": "visualizer" });
	element.append(heading, options, patch, tables, el("h4", "Current Operation"), player.element, operation, proof);
	element.append(el("h4", "Filter Purpose"), purpose);
	begin();
	return { element, take };

	async function begin() {
		try {
			table ??= await ask("filters");
		} catch (failure) {
			return tables.replaceChildren(complaint(failure));
		}
		if (!find(table.patterns, task.pattern)) task.pattern = "vertical_edge";
		if (!find(table.filters, task.filter)) task.filter = "vertical_edge";
		for (const [name, values] of Object.entries(ALLOWED))
			if (!values.includes(String(task[name]))) task[name] = PLAIN[name];
		load();
		const step = route.parameters.get("step");
		convolve(step && (Number(step) || 0)); // null: none is shown yet
	}

	/** Takes the numbers of the pattern and the filter that are named. */
	function load() {
		const pixels = find(table.patterns, task.pattern)?.pixels ?? task.input?.[0] ?? table.patterns[0].pixels;
		const kernel = find(table.filters, task.filter)?.kernel ?? task.kernel?.[0] ?? table.filters[0].kernel;
		Object.assign(task, { input: [copy(pixels)], kernel: [copy(kernel)] });
	}

	function set(values) {
		if (task.engine) Object.assign(task, PLAIN, { pattern: table.patterns[0].name, filter: table.filters[0].name });
		Object.assign(task, values);
		if (!values.input) load();
		route.remember({ ...Object.fromEntries(REMEMBERED.map((name) => [name, task[name] || null])), step: null });
		convolve(null);
	}

	function take(found) {
		const { input, kernel, bias, stride, row, column } = found;
		Object.assign(task, PLAIN, { input, kernel, bias, stride, engine: found, pattern: "image", filter: "model" });
		patch.replaceChildren();
		convolve(row * found.convolved[0].length + column);
		heading.scrollIntoView({ block: "start" });
	}

	async function convolve(step) {
		controller.abort();
		controller = new AbortController();
		const { input, kernel, bias, padding } = task;
		const [stride, relu, pool] = [Number(task.stride), task.relu === "1", task.pool || null];
		const body = JSON.stringify({ input, kernel, bias, padding, stride, relu, pool });
		try {
			answer = await ask("convolve", { body, type: "application/json", signal: controller.signal });
			keepingFocus(element, () => draw(step));
		} catch (failure) {
			if (!isAbort(failure)) tables.replaceChildren(complaint(failure));
		}
	}

	function drawOptions() {
		const named = (list) => list.map((one) => [one.name, one.name.replaceAll("_", " ")]);
		const hand = ["hand", "by hand"];
		const own = task.engine ? [["model", `the model's filter ${task.engine.filter + 1}`]] : [];
		const image = async (value) => {
			patch.replaceChildren();
			if (value !== "image") return set({ pattern: value });
			patch.replaceChildren(await patchOf((rows) => set({ pattern: "image", input: [rows] })));
		};
		const one = (name) => (value) => set({ [name]: value });
		const size = task.engine
			? []
			: [
					choice("Stride", [["1"], ["2"]], String(task.stride), one("stride")),
					choice("Padding", [["valid"], ["same"]], task.padding, one("padding")),
				];
		options.replaceChildren(
			select("Input", [...named(table.patterns), hand, ["image", "part of your image"]], task.pattern, image),
			select("Filter", [...named(table.filters), hand, ...own], task.filter, one("filter")),
			...size,
			choice(
				"Then",
				[
					["", "nothing"],
					["1", "ReLU"],
				],
				task.relu,
				(relu) => keep({ relu }),
			),
			choice("Pooling 2×2", [["", "none"], ["max"], ["average"]], task.pool, (pool) => keep({ pool })),
		);
	}

	/** What follows the convolution changes; input and filter stay, also those of the model. */
	function keep(values) {
		Object.assign(task, values);
		route.remember({ relu: task.relu || null, pool: task.pool || null });
		convolve(at);
	}

	function draw(step) {
		drawOptions();
		const edit = (kind, name) => (y, x, value) => {
			task[kind][0][y][x] = value;
			task[name] = "hand";
			convolve(at);
		};
		const most = Math.max(1e-9, ...task.input.flat(2).map(Math.abs));
		const byHand = !task.engine && task.pattern === "hand";
		const kernelEdit = !task.engine && task.kernel[0].flat().length <= 9 ? edit("kernel", "filter") : undefined;
		inputs = task.input.map((rows, index) =>
			grid(
				`Input${plane(task.input, index)} (${size(rows)})`,
				rows,
				byHand ? { most, edit: edit("input", "pattern") } : { most, point: feeds },
			),
		);
		const kernels = task.kernel.map((rows, index) =>
			grid(`Filter${plane(task.kernel, index)} (${size(rows)})`, rows, { edit: kernelEdit }),
		);
		const go = (y, x) => player.go(y * answer.output[0].length + x);
		output = grid(`Output (${size(answer.output)})`, answer.output, { point: go });
		const after = [];
		const { activated, pooled, formula, pool_formula } = answer;
		if (activated) after.push(column(grid(`After ReLU (${size(activated)})`, activated), "negative sums become 0"));
		if (pooled) after.push(column(grid(`After ${task.pool} pooling (${size(pooled)})`, pooled), both(pool_formula)));
		tables.replaceChildren(
			el("div", { class: "column" }, ...inputs.map((one) => one.element)),
			el("div", { class: "column filter" }, ...kernels.map((one) => one.element), el("div", { class: "products" })),
			column(output, `each side: ${both(formula)}`),
			...after,
		);
		const learned = `Filter ${task.engine?.filter + 1} of the first layer. It was learned; nobody named what it detects.`;
		const named = find(table.filters, task.filter)?.does ?? "Your own filter: change its numbers and watch the output.";
		purpose.textContent = task.engine ? learned : named;
		operation.textContent = IDLE;
		proof.textContent = "";
		at = step === null ? null : Math.min(step, answer.steps.length - 1);
		player.load(answer.steps.length, at ?? 0);
		if (at !== null) player.go(at);
	}

	function showStep(index, speak) {
		const step = answer.steps[index];
		at = index;
		const under = reach(step);
		for (const one of inputs) one.mark((y, x) => (under(y, x) ? "within" : ""));
		const done = (y, x) => y * answer.output[0].length + x - index;
		output.mark((y, x) => (done(y, x) === 0 ? "now" : done(y, x) > 0 ? "later" : ""));
		const products = step.products.map(
			(rows, channel) => grid(`Products${plane(step.products, channel)}`, rows).element,
		);
		tables.querySelector(".products").replaceChildren(...products);
		const value = answer.output[step.row][step.column];
		const terms = step.region.flatMap((rows, c) =>
			rows.flatMap((row, y) => row.map((pixel, x) => `(${short(task.kernel[c][y][x])}·${short(pixel)})`)),
		);
		const rest = terms.length > TERMS ? ` + … ${terms.length - TERMS} more` : "";
		const bias = task.bias ? ` + bias ${short(task.bias)}` : "";
		operation.setAttribute("aria-live", speak ? "polite" : "off");
		operation.textContent = `${terms.slice(0, TERMS).join(" + ")}${rest}${bias} = ${short(value)} → row ${step.row + 1}, column ${step.column + 1}`;
		const served = task.engine?.convolved[step.row][step.column];
		if (task.engine)
			proof.textContent = `vision.convolution ${value.toFixed(6)} · served engine ${served.toFixed(6)} · difference ${Math.abs(value - served).toExponential(1)}`;
		if (speak) route.remember({ step: index });
	}

	/** Marks the outputs that an input cell feeds. */
	function feeds(y, x) {
		const fed = answer.steps.filter((step) => reach(step)(y, x)).map((step) => `${step.row},${step.column}`);
		output.mark((row, column) => (fed.includes(`${row},${column}`) ? "fed" : ""));
	}
}

const find = (list, name) => list.find((one) => one.name === name);
const copy = (rows) => rows.map((row) => [...row]);
const size = (rows) => `${rows.length}×${rows[0].length}`;
const plane = (planes, index) => (planes.length > 1 ? ` ${CHANNELS[index]}` : "");
const both = (formulas) => [...new Set(formulas)].join(" and ");
const column = (shown, text) => el("div", { class: "column" }, shown.element, el("p", { class: "formula", text }));

/** Whether the kernel of a step lies over a cell of the input. */
const reach = (step) => (y, x) =>
	y >= step.top && y < step.top + step.region[0].length && x >= step.left && x < step.left + step.region[0][0].length;
