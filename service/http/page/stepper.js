// Plays the positions of a kernel one after the other: animate, pause, step, slide, speed.
import { el } from "./dom.js";

/** Calls show(step, speak) for each step; `speak` is false while it plays. Returns its element, go, load and stop. */
export function stepper(show) {
	let count = 0,
		step = 0,
		fresh = true, // no step was shown yet
		timer = 0;
	const animate = el("button", { class: "primary", text: "Animate", onclick: () => toggle() });
	const slider = el("input", {
		type: "range",
		min: 1,
		value: 1,
		"aria-label": "Step",
		oninput: () => go(slider.valueAsNumber - 1),
	});
	const speed = el("input", {
		type: "range",
		min: -1,
		max: 3,
		step: 1,
		value: 1,
		"aria-label": "Speed",
		oninput: () => timer && start(),
	});
	const counter = el("output", "");

	const stop = () => {
		clearInterval(timer);
		timer = 0;
		animate.textContent = "Animate";
	};
	const start = () => {
		clearInterval(timer);
		animate.textContent = "Pause";
		timer = setInterval(
			() => {
				if (step >= count - 1) {
					stop();
					show(step, true);
				} else move(step + 1, false);
			},
			1000 / 2 ** speed.valueAsNumber,
		); // 0.5 to 8 steps a second
	};
	const toggle = () => {
		if (timer) {
			stop();
			show(step, true);
		} else {
			if (!fresh && step >= count - 1) step = -1;
			move(next(), false);
			start();
		}
	};
	const next = () => (fresh ? step : step + 1);
	const move = (to, speak) => {
		fresh = false;
		step = Math.max(0, Math.min(count - 1, to));
		slider.value = String(step + 1);
		slider.setAttribute("aria-valuetext", `${step + 1} of ${count}`);
		counter.textContent = `${step + 1} of ${count}`;
		show(step, speak);
	};
	const go = (to) => {
		stop();
		move(to, true);
	};
	const keys = {
		" ": toggle,
		ArrowLeft: () => go(step - 1),
		ArrowRight: () => go(next()),
		Home: () => go(0),
		End: () => go(count - 1),
	};
	const element = el(
		"div",
		{
			class: "stepper",
			role: "group",
			"aria-label": "Animation: Space plays, arrow keys step",
			onkeydown(event) {
				if (!(event.key in keys) || (event.target === speed && event.key !== " ")) return;
				event.preventDefault(); // also what the slider or a button would do with the key
				keys[event.key]();
			},
			onkeyup: (event) => event.key === " " && event.preventDefault(),
		},
		el("button", { text: "◀", "aria-label": "Step back", onclick: () => go(step - 1) }),
		animate,
		el("button", { text: "▶", "aria-label": "Step on", onclick: () => go(next()) }),
		slider,
		counter,
		el("label", { class: "range" }, "Speed", speed),
	);
	return {
		element,
		stop,
		go,
		load(steps, at) {
			stop();
			fresh = true;
			count = steps;
			slider.max = String(steps);
			step = Math.min(at, steps - 1);
			slider.value = String(step + 1);
			counter.textContent = `${step + 1} of ${count}`;
		},
	};
}
