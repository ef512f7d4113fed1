// Elements from data. Text and attributes only: nothing here parses HTML.
const SVG = "http://www.w3.org/2000/svg";

/**
 * Makes an element. `svg:rect` makes one of SVG.
 * @param {string} tag
 * @param {Record<string, any>} attributes `class`, `text`, `on…` handlers, or attributes; false and null are left out
 * @param {...(Node | string | null | undefined | false)} children
 * @returns {any}
 */
export function el(tag, attributes = {}, ...children) {
  const made = tag.startsWith("svg:") ? document.createElementNS(SVG, tag.slice(4)) : document.createElement(tag);
  for (const [name, value] of Object.entries(attributes)) {
    if (value === false || value === null || value === undefined) continue;
    if (name === "text") made.textContent = String(value);
    else if (name.startsWith("on")) made.addEventListener(name.slice(2), value);
    else made.setAttribute(name, value === true ? "" : String(value));
  }
  made.append(...children.filter((child) => child !== null && child !== undefined && child !== false));
  return made;
}

/** A share as people read it: 99.8 %, < 0.1 %. @param {number} share */
export function percent(share) {
  if (share > 0 && share < 0.001) return "< 0.1 %";
  if (share < 1 && share > 0.999) return "> 99.9 %";
  return `${(100 * share).toFixed(share === 1 || share === 0 ? 0 : 1)} %`;
}

/** A number for a small cell. @param {number} value */
export function short(value) {
  if (Number.isInteger(value)) return String(value).replace("-", "−");
  const size = Math.abs(value);
  return (size >= 100 ? value.toFixed(0) : size >= 10 ? value.toFixed(1) : value.toFixed(2)).replace("-", "−");
}

/** Bytes as people read them. @param {number} bytes */
export function size(bytes) {
  return bytes < 1000 ? `${bytes} bytes` : bytes < 1e6 ? `${(bytes / 1e3).toFixed(0)} kB` : `${(bytes / 1e6).toFixed(1)} MB`;
}

/** A bar with its label and value as text. @param {string} label @param {number} share @param {string} value */
export function bar(label, share, value = percent(share), kind = "") {
  const track = el("svg:svg", { class: "bar", viewBox: "0 0 100 10", preserveAspectRatio: "none", "aria-hidden": "true" },
    el("svg:rect", { class: "track", width: 100, height: 10 }),
    el("svg:rect", { class: `fill ${kind}`, width: Math.max(0, Math.min(100, 100 * share)), height: 10 }));
  return el("li", {}, el("span", { class: "name", text: label }), track, el("span", { class: "value", text: value }));
}

/** A table with headers. @param {string} caption @param {string[]} head @param {(string | Node)[][]} rows */
export function table(caption, head, rows, attributes = {}) {
  const cell = (value, index) =>
    el(index ? "td" : "th", index ? {} : { scope: "row" }, value);
  return el("div", { class: "scroll", tabindex: 0, role: "region", "aria-label": caption },
    el("table", attributes, el("caption", { text: caption }),
      el("thead", {}, el("tr", {}, ...head.map((text) => el("th", { scope: "col", text })))),
      el("tbody", {}, ...rows.map((row) => el("tr", {}, ...row.map(cell))))));
}

/** A group of choices, one of which is taken. @param {string} legend @param {[string, string][]} options */
export function choice(legend, options, taken, choose, disabled = {}) {
  const group = `choice-${legend.replace(/\W+/g, "-")}`;
  return el("fieldset", { class: "choice" }, el("legend", { text: legend }),
    ...options.map(([value, text]) => el("label", { title: disabled[value] },
      el("input", { type: "radio", name: group, value, checked: value === taken, disabled: value in disabled, onchange: () => choose(value) }),
      el("span", { text }))));
}

/** A list to choose from. @param {string} label @param {[string, string][]} options */
export function select(label, options, taken, choose) {
  const box = el("select", { onchange: () => choose(box.value) },
    ...options.map(([value, text]) => el("option", { value, text, selected: value === taken })));
  return el("label", { class: "select" }, el("span", { text: label }), box);
}

/** The sentence of a failure, with what to do and the server's document. @param {any} failure */
export function complaint(failure, ...more) {
  const facts = failure.document ? JSON.stringify(failure.document, null, 1) : failure.technical;
  return el("div", { class: "problem", role: "alert" }, el("p", { text: failure.message }),
    failure.remedy && el("p", { text: failure.remedy }),
    facts && el("details", {}, el("summary", { text: "Details" }), el("pre", { text: facts, tabindex: 0 })), ...more);
}

/** Lets the visitor keep a text as a file. @param {string} name @param {string} type @param {string} text */
export function save(name, type, text) {
  const url = URL.createObjectURL(new Blob([text], { type }));
  el("a", { href: url, download: name }).click();
  setTimeout(() => URL.revokeObjectURL(url), 1000);
}
