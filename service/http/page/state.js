// The one state: which image, and its answer. A submission has a number; an answer that is not the newest is dropped.
import { Failure, tooLarge, unreachable } from "./messages.js";
import { ask, isAbort, sleep } from "./server.js";

export const state = {
	model: null, // what GET /models says of the served model
	server: "starting", // or ready, or unreachable
	submission: 0,
	image: null, // {blob, url, name, drawn}
	answer: null, // to this image
	failure: null, // why there is none
	asking: null, // {sent, total, slow} while there is no answer yet
	tookMs: 0, // from the submission to the answer, as the page saw it
	sheet: null, // the contact sheet's element, once several files were given
};
const AGAIN_MS = 2000;
const listeners = new Set();
let controller = new AbortController();

/** Calls a function after every change. */
export const subscribe = (listener) => listeners.add(listener);
export const changed = () => listeners.forEach((listener) => listener());

/** The signal that ends with this submission: for every request about this image. */
export const signal = () => controller.signal;

/**
 * Makes this the image, and asks for its labels. With `drawn`, a further stroke on the same drawing keeps the old
 * answer, dimmed; any other image removes it at once.
 */
export async function submit(blob, name, drawn = false) {
	const own = begin();
	const goesOn = drawn && state.image?.drawn;
	if (state.image) URL.revokeObjectURL(state.image.url);
	Object.assign(state, { image: { blob, name, drawn, url: URL.createObjectURL(blob) }, failure: null });
	if (!goesOn) state.answer = null;
	const asking = (state.asking = { sent: 0, total: blob.size, slow: false });
	const slow = setTimeout(() => own === state.submission && ((asking.slow = true), changed()), 150);
	changed();
	const begun = performance.now();
	try {
		const limit = state.model?.limits;
		if (limit && blob.size > Math.min(limit.max_body_bytes, limit.max_image_bytes))
			throw tooLarge(blob.size, Math.min(limit.max_body_bytes, limit.max_image_bytes));
		const answer = await ask("classify?top_k=5", {
			body: blob,
			signal: controller.signal,
			progress: (sent) => own === state.submission && ((asking.sent = sent), changed()),
		});
		if (own !== state.submission) return;
		Object.assign(state, { answer, tookMs: performance.now() - begun });
	} catch (failure) {
		if (own !== state.submission || isAbort(failure)) return;
		Object.assign(state, { answer: null, failure });
		if (["unreachable", "stranger", "not_ready"].includes(failure.code)) connect(blob);
	} finally {
		clearTimeout(slow);
		if (own === state.submission) {
			state.asking = null;
			changed();
		}
	}
}

/** Forgets image and answer; ends what is under way. */
export function clear() {
	begin();
	if (state.image) URL.revokeObjectURL(state.image.url);
	Object.assign(state, { image: null, answer: null, failure: null, asking: null });
	changed();
}

/** Ends every request about the image before. Returns the number of the new submission. */
function begin() {
	controller.abort();
	controller = new AbortController();
	return ++state.submission;
}

let connecting = false;
let waiting = null; // the image whose request failed
/** Asks what is served until there is an answer; then asks again for an image whose request failed. */
export async function connect(unanswered = null) {
	waiting = unanswered ?? waiting;
	if (connecting) return;
	connecting = true;
	for (;;) {
		try {
			state.model = (await ask("models")).models[0];
			await ask("health/ready");
			break;
		} catch (error) {
			const failure = error instanceof Failure ? error : unreachable();
			state.server = failure.code === "unreachable" ? "unreachable" : "starting";
			changed();
			await sleep(1000 * (failure.retryS || 2));
		}
	}
	state.server = "ready";
	changed();
	if (waiting) await sleep(AGAIN_MS); // the server is well, but may refuse this image again
	connecting = false;
	const blob = waiting;
	waiting = null;
	if (blob && state.image?.blob === blob && state.failure) submit(blob, state.image.name, state.image.drawn);
}
