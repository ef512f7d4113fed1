// Requests about the image of the moment, and their answers put in place.
import { EMPTY, complaint, el } from "./dom.js";
import { askPatiently, isAbort } from "./server.js";
import { signal, state } from "./state.js";

/** Sends the image to a path; the request ends with the submission. */
export const aboutImage = (path, waiting) => askPatiently(path, { body: state.image?.blob, signal: signal() }, waiting);

/** Changes when the image or its answer does. */
export const moment = () => [state.submission, Boolean(state.answer), Boolean(state.asking)].join();

/** What a view shows while there is no answer. */
export const absent = () =>
	state.failure ? complaint(state.failure) : el("p", state.image ? "Waiting for the answer…" : EMPTY);

/** Fills an element with what `draw` makes of the answer, or with the failure, unless there is another image by then. */
export async function load(body, request, draw) {
	const own = state.submission;
	body.replaceChildren(el("p", { role: "status", text: "Computing…" }));
	try {
		const answer = await request();
		if (own === state.submission) body.replaceChildren(...draw(answer).filter(Boolean));
	} catch (failure) {
		if (own === state.submission && !isAbort(failure)) body.replaceChildren(complaint(failure));
	}
}
