// Arrays that the server sends as base64 of their bytes.

export const bytes = (text) => Uint8Array.from(atob(text), (character) => character.charCodeAt(0));

/** Little-endian, as every browser's machine is. */
export const floats = (text) => new Float32Array(bytes(text).buffer);
