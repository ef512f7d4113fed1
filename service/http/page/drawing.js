// Paper to draw on: dark ink on white, handed over as a PNG after each stroke.
const PEN = 0.086; // of the side
const REST_MS = 120; // strokes of one character follow each other faster than this
const SIDE_PX = 280;

/** Makes a canvas the paper; `done` gets a picture when the pen rests. Returns undo, clear and empty. */
export function drawing(canvas, done) {
	canvas.width = canvas.height = SIDE_PX;
	const paper = canvas.getContext("2d");
	let strokes = [];
	let rest = 0;

	const redraw = () => {
		paper.fillStyle = "#fff";
		paper.fillRect(0, 0, SIDE_PX, SIDE_PX);
		Object.assign(paper, { lineWidth: PEN * SIDE_PX, lineCap: "round", lineJoin: "round", strokeStyle: "#141414" });
		for (const points of strokes) {
			paper.beginPath();
			points.forEach(([x, y], index) => (index ? paper.lineTo(x, y) : paper.moveTo(x, y)));
			if (points.length === 1) paper.lineTo(points[0][0], points[0][1]);
			paper.stroke();
		}
	};
	const point = (event) => {
		const box = canvas.getBoundingClientRect();
		return [((event.clientX - box.left) * SIDE_PX) / box.width, ((event.clientY - box.top) * SIDE_PX) / box.height];
	};
	const hand = () => {
		clearTimeout(rest);
		if (strokes.length) rest = setTimeout(() => done(encoded(canvas)), REST_MS);
	};

	canvas.addEventListener("pointerdown", (event) => {
		clearTimeout(rest);
		canvas.setPointerCapture(event.pointerId);
		strokes.push([point(event)]);
		redraw();
	});
	canvas.addEventListener("pointermove", (event) => {
		if (!strokes.length || !canvas.hasPointerCapture(event.pointerId)) return; // cleared under the pen
		strokes[strokes.length - 1].push(point(event));
		redraw();
	});
	canvas.addEventListener("pointerup", hand);
	canvas.addEventListener("pointercancel", hand);
	redraw();
	return {
		undo() {
			strokes.pop();
			redraw();
			if (strokes.length) hand();
		},
		clear() {
			clearTimeout(rest);
			strokes = [];
			redraw();
		},
		empty: () => !strokes.length,
	};
}

/** At once: `toBlob` waits until the browser is idle, which took a second. */
function encoded(canvas) {
	const text = atob(canvas.toDataURL("image/png").split(",")[1]);
	return new Blob([Uint8Array.from(text, (character) => character.charCodeAt(0))], { type: "image/png" });
}
