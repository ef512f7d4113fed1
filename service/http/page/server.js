// Requests: JSON or a Failure; upload progress and abort; retries where the server says that it helps.
import { Failure, fromProblem, stranger, unreachable } from "./messages.js";

/**
 * Asks the server for JSON, at a relative path so that it works below a reverse proxy's. Options: body, type (its
 * Content-Type), signal (ends it), progress (called with the bytes sent). Throws a Failure, or an AbortError.
 */
export function ask(path, { body, type, signal, progress } = {}) {
	return new Promise((resolve, reject) => {
		const request = new XMLHttpRequest(); // fetch tells nothing of the upload
		const abort = () => request.abort();
		request.open(body === undefined ? "GET" : "POST", new URL(path, document.baseURI));
		request.setRequestHeader("accept", "application/json");
		if (type) request.setRequestHeader("content-type", type);
		if (progress) request.upload.onprogress = (event) => progress(event.loaded);
		request.onload = () => {
			signal?.removeEventListener("abort", abort);
			try {
				resolve(read(request));
			} catch (failure) {
				reject(failure);
			}
		};
		request.onerror = () => reject(unreachable());
		request.onabort = () => reject(new DOMException("aborted", "AbortError"));
		if (signal?.aborted) return reject(new DOMException("aborted", "AbortError"));
		signal?.addEventListener("abort", abort);
		request.send(body ?? null);
	});
}

function read(request) {
	const retryS = Number(request.getResponseHeader("retry-after")) || 0;
	const kind = request.getResponseHeader("content-type") ?? "";
	let data;
	try {
		data = JSON.parse(request.responseText);
	} catch {
		throw stranger(request.status, request.responseText);
	}
	if (request.status === 200) return data;
	throw kind.includes("problem+json") ? fromProblem(data, retryS) : stranger(request.status, request.responseText);
}

/** Asks again while the server says that it is busy, at most five times; `waiting` is called each time. */
export async function askPatiently(path, options, waiting = () => {}) {
	for (let tries = 0; ; tries++) {
		try {
			return await ask(path, options);
		} catch (failure) {
			if (!(failure instanceof Failure) || !["explanation_busy", "overloaded"].includes(failure.code) || tries === 5)
				throw failure;
			waiting(failure);
			await sleep(1000 * (failure.retryS || 1), options.signal);
		}
	}
}

export const sleep = (ms, signal) =>
	new Promise((resolve, reject) => {
		const timer = setTimeout(resolve, ms);
		signal?.addEventListener("abort", () => {
			clearTimeout(timer);
			reject(new DOMException("aborted", "AbortError"));
		});
	});

export const isAbort = (error) => error?.name === "AbortError";
