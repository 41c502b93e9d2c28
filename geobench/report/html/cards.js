// Elements are created here, and names only ever become text, never HTML.

const MANY_OTHERS = 5;

function make(tag, attributes = {}, ...children) {
  const element = document.createElement(tag);
  for (const [name, value] of Object.entries(attributes)) {
    if (value !== null && value !== false) element.setAttribute(name, value === true ? "" : value);
  }
  element.append(...children.filter((child) => child !== null));
  return element;
}

// As geobench.rounding.shown: half to even of the decimal number to 12 digits, with separated thousands.
function shown(value, digits) {
  const size = Math.abs(value) < 1e-6 ? 0 : Math.abs(value);
  const [whole, decimals = ""] = size.toPrecision(12).split(".");
  const padded = decimals.padEnd(digits + 1, "0");
  const [kept, rest] = [BigInt(whole + padded.slice(0, digits)), Number(`0.${padded.slice(digits)}`)];
  const up = rest > 0.5 || (rest === 0.5 && kept % 2n === 1n);
  const text = String(kept + (up ? 1n : 0n)).padStart(digits + 1, "0");
  const at = text.length - digits;
  const sign = value < 0 && /[1-9]/.test(text) ? "-" : "";
  return sign + BigInt(text.slice(0, at)).toLocaleString("en") + (digits ? `.${text.slice(at)}` : "");
}

function km(distance) {
  return `${shown(Number(distance.toPrecision(7)), distance < 0.095 ? 3 : distance < 10 ? 1 : 0)} km`; // of 32 bits
}

function place(latitude, longitude) {
  const side = (value, plus, minus) => `${Math.abs(value).toFixed(3)}° ${value < 0 ? minus : plus}`;
  return `${side(latitude, "N", "S")}, ${side(longitude, "E", "W")}`;
}

// A link to a map of a position; the page itself loads nothing from there.
function mapLink(latitude, longitude) {
  const [y, x] = [latitude.toFixed(5), longitude.toFixed(5)];
  const href = `https://www.openstreetmap.org/?mlat=${y}&mlon=${x}#map=10/${y}/${x}`;
  const elsewhere = { target: "_blank", rel: "noopener noreferrer", title: "Open this position on openstreetmap.org" };
  return make("a", { href, class: "place", ...elsewhere }, place(latitude, longitude));
}

// A dot in the colour that the error has on the map; the text next to it says the same.
function dot(set, level) {
  const element = make("span", { class: "dot", "aria-hidden": "true" });
  element.style.background = level === DATA.failed ? "none" : set.colours[level];
  return element;
}

function errorText(row, image) {
  return row.level[image] === DATA.failed ? row.reasons[image] ?? "failed" : km(row.errors[image]);
}

// The models whose predictions a card shows: the chosen one, or two side by side.
function shownOn(row) {
  return beside() ? [currentRow(), currentRow("other")] : [row];
}

// The card of an image: picture, truth, the predictions of one model or two, the other models' errors.
function card(set, row, image, choose) {
  const name = set.names[image];
  const picture = set.pictures[image];
  const on = make("button", { type: "button", class: "on-map" }, "On the map");
  on.setAttribute("aria-label", `On the map: ${name}`);
  on.addEventListener("click", () => choose(image, true));
  return make("article", { class: "card", "data-image": image },
    make("div", { class: "card-head" },
      picture ? make("img", { src: picture, alt: `Photo ${name}` }) : null,
      make("div", {},
        make("h4", {}, name),
        make("p", {}, `${set.countries[set.country[image]]}, `, mapLink(...truthOf(set, image))),
        beside() ? null : errorLine(set, row, image),
        on, make("a", { class: "link", href: imageLink(image), "aria-label": `Link to ${name}` }, "Link"))),
    beside() ? pair(set, row, image) : predictions(set, row, image),
    beside() ? null : answer(row, image),
    others(set, shownOn(row), image));
}

function errorLine(set, row, image) {
  return make("p", { class: "error" }, dot(set, row.level[image]), ` ${row.label}: `, make("strong", {}, errorText(row, image)));
}

function pair(set, row, image) {
  return make("div", { class: "beside" }, ...shownOn(row).map((each) => make("div", {}, errorLine(set, each, image), predictions(set, each, image), answer(each, image))));
}

function truthOf(set, image) {
  return [set.truth[2 * image], set.truth[2 * image + 1]];
}

function placeOf(row, image, rank = 0) {
  const at = 2 * (image * row.k + rank);
  return [row.places[at], row.places[at + 1]];
}

// The top k predictions of a model for an image as a table.
function predictions(set, row, image) {
  if (row.level[image] === DATA.failed) return null;
  const lines = [];
  for (let rank = 0; rank < row.k; rank++) {
    const where = placeOf(row, image, rank);
    const away = haversineKm(...truthOf(set, image), ...where, DATA.radius);
    const score = row.scores[image * row.k + rank];
    const texts = [`${rank + 1}`, mapLink(...where), km(rank ? away : row.errors[image]), Number.isNaN(score) ? "" : score.toPrecision(2)];
    lines.push(make("tr", {}, ...texts.map((text) => make("td", {}, text))));
  }
  const heads = ["", "prediction", "error", "score"].map((text) => make("th", { scope: "col" }, text));
  return make("table", { class: "predictions" }, make("thead", {}, make("tr", {}, ...heads)), make("tbody", {}, ...lines));
}

// The raw answer of a model that answers in words, folded, and how it was read.
function answer(row, image) {
  const given = row.answers[image];
  if (given === undefined) return null;
  const [text, read] = given;
  return make("details", { class: "answer" },
    make("summary", {}, text ? "Answer" : "No answer"),
    text ? make("pre", {}, text) : null,
    read ? make("p", {}, read) : null);
}

// The errors of the other models; of many a summary, which opens.
function others(set, shown, image) {
  const rest = set.rows.filter((other) => !shown.includes(other));
  if (!rest.length) return null;
  const parts = rest.map((other) => make("li", {}, dot(set, other.level[image]), ` ${other.label}: ${errorText(other, image)}`));
  const list = make("ul", { class: "others", "aria-label": "Other models" }, ...parts);
  if (rest.length <= MANY_OTHERS) return list;
  const best = rest.reduce((a, b) => (b.errors[image] < a.errors[image] ? b : a));
  return make("details", { class: "others" }, make("summary", {}, `${rest.length} other models: best ${best.label}, ${errorText(best, image)}`), list);
}

function beside() {
  return at("beside").checked && currentSet().rows.length > 1;
}
