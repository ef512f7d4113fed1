// Requests: JSON or a Failure; upload progress and abort; retries where the server says that it helps.
import { Failure, fromProblem, stranger, unreachable } from "./messages.js";

/**
 * Asks the server. Rejects with a Failure, or with an AbortError where `signal` ended it.
 * @param {string} path relative, so that it works below a reverse proxy's path
 * @param {{body?: any, type?: string, signal?: AbortSignal, progress?: (sent: number) => void}} options
 * @returns {Promise<any>}
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

/** @param {XMLHttpRequest} request */
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

/**
 * Asks again while the server says that it is busy, at most five times.
 * @param {string} path @param {any} options @param {(failure: any) => void} waiting
 */
export async function askPatiently(path, options, waiting = () => {}) {
  for (let tries = 0; ; tries++) {
    try {
      return await ask(path, options);
    } catch (failure) {
      if (!(failure instanceof Failure) || !["explanation_busy", "overloaded"].includes((failure).code) || tries === 5) throw failure;
      waiting(failure);
      await sleep(1000 * ((failure).retryS || 1), options.signal);
    }
  }
}

/** @param {number} ms @param {AbortSignal} [signal] */
export const sleep = (ms, signal) =>
  new Promise((resolve, reject) => {
    const timer = setTimeout(resolve, ms);
    signal?.addEventListener("abort", () => {
      clearTimeout(timer);
      reject(new DOMException("aborted", "AbortError"));
    });
  });

/** @param {any} error */
export const isAbort = (error) => error?.name === "AbortError";
