// View: the convolution filter visualizer, the first layer of the model that answered, and the way through it.
import { journey, layers } from "./layers.js";
import { visualizer } from "./visualizer.js";

let parts = [];

export const network = {
	title: "Network",
	show(host, route) {
		const course = visualizer(route);
		parts = [layers(course.take), journey()];
		host.append(course.element, ...parts.map((part) => part.element));
	},
	update() {
		for (const part of parts) part.update();
	},
};
