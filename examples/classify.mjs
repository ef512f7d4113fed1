// Classifies images in one request, with Node 20 or newer: node examples/classify.mjs PHOTO… [--url=http://127.0.0.1:8000].
// In a browser the same `fetch` works with the files of an <input type="file">, from a page of the same origin.
import { openAsBlob } from "node:fs";
import { basename } from "node:path";

const option = process.argv.find((argument) => argument.startsWith("--url="));
const url = option?.slice("--url=".length) ?? "http://127.0.0.1:8000";
const photos = process.argv.slice(2).filter((argument) => argument !== option);

const form = new FormData();
for (const photo of photos) form.append("image", await openAsBlob(photo), basename(photo));
form.append("top_k", "3");

const response = await fetch(`${url}/classify`, { method: "POST", body: form, signal: AbortSignal.timeout(30_000) });
const answer = await response.json();
if (!response.ok) {
  console.error(`${answer.code}: ${answer.detail} ${answer.remedy}`);
  process.exit(1);
}
for (const [index, result] of answer.results.entries()) {
  console.log(photos[index]);
  if (result.problem) console.log(`  ${result.problem.code}: ${result.problem.detail}`);
  for (const { label, score } of result.predictions ?? []) console.log(`  ${(100 * score).toFixed(2)} %  ${label}`);
}
