// What the page says when something failed: a sentence for people, and what they can do.
const BY_CODE = {
	empty: ["This file is empty.", "Choose another one."],
	not_an_image: ["This file is not a picture.", "JPEG, PNG, WebP, GIF and BMP can be read."],
	unsupported_format: ["This kind of picture cannot be read here.", "Save it as JPEG or PNG and try that."],
	too_many_bytes: ["This picture is too large.", "Save it smaller, or with more compression."],
	too_many_pixels: ["This picture has too many pixels.", "Scale it down and try again."],
	body_too_large: ["This file is too large.", "Save it smaller, or with more compression."],
	truncated: ["The end of this file is missing.", "Copy or download it again."],
	corrupt: ["This file is damaged.", "Open it in a viewer and save it again."],
	body_timeout: ["The upload took too long.", "Try a smaller picture, or a faster connection."],
	overloaded: ["The server has too much to do.", "Try again in a few seconds."],
	explanation_busy: ["The server is explaining something else.", "Try again in a few seconds."],
	explanations_off: ["Explanations are switched off on this server.", "Whoever runs it can set SIGHTLINE_EXPLAIN=on."],
	explanation_failed: ["The explanation failed.", "Try again."],
	not_ready: ["The server is still starting.", "The page tries again by itself."],
	deadline_exceeded: ["The answer took too long.", "Try again."],
	inference_failed: [
		"The model failed on this picture.",
		"Tell whoever runs this server; the request id is in the details.",
	],
	internal_error: ["Something went wrong in the server.", "Tell whoever runs it; the request id is in the details."],
};

/** Something that failed, with its sentence as the message. */
export class Failure extends Error {
	/** `more`: document (the server's), technical (a text instead of it), retryS (seconds until another try may help). */
	constructor(code, sentence, remedy, more = {}) {
		super(sentence);
		Object.assign(this, { code, remedy, document: null, technical: "", retryS: 0 }, more);
	}
}

/** The failure that a problem document tells of. */
export function fromProblem(document, retryS) {
	const [sentence, remedy] = BY_CODE[document.code] ?? [`${document.title}.`, document.detail];
	return new Failure(document.code, sentence, remedy, { document, retryS });
}

export const unreachable = () =>
	new Failure("unreachable", "The server cannot be reached.", "Is it still running? The page tries again by itself.", {
		retryS: 2,
	});

/** An answer that is not the service's: most often a proxy's own page. A 4xx will be the same the next time. */
export function stranger(status, text) {
	const [code, remedy] =
		status >= 400 && status < 500
			? ["refused", "Most often a proxy that takes less than the server does."]
			: ["stranger", "Most often a proxy that cannot reach the server. The page tries again by itself."];
	const sentence = `Something between this page and the server answered (status ${status}).`;
	return new Failure(code, sentence, remedy, { technical: text.slice(0, 300), retryS: 2 });
}

export function tooLarge(bytes, limit) {
	const digits = bytes - limit < 1e5 ? 6 : 1; // so that the two differ
	const [has, takes] = [bytes, limit].map((one) => (one / 1e6).toFixed(digits));
	const sentence = `This file has ${has} MB; this server takes ${takes} MB.`;
	return new Failure("body_too_large", sentence, "Save it smaller, or with more compression. It was not sent.");
}
