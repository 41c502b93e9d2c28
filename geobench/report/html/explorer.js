// Map, cards and table of regions follow one choice of test set, model and images.

const DATA = JSON.parse(document.getElementById("data")?.textContent ?? "null");
const PER_PAGE = 24;
const at = (id) => document.getElementById(id);
const state = { images: [], page: 0, chosen: null, filling: false };
const TYPES = { names: JSON.parse, regions: JSON.parse, pictures: JSON.parse, reasons: JSON.parse, answers: JSON.parse, country: Uint16Array, level: Uint8Array };

// Arrays and JSON of a set or a row are decoded when they are first needed.
function ready(thing) {
  for (const key of ["names", "regions", "pictures", "reasons", "answers", "truth", "country", "places", "scores", "errors", "level"]) {
    if (typeof thing[key] !== "string") continue;
    const text = block(thing[key]);
    const type = TYPES[key] ?? Float32Array;
    thing[key] = type === JSON.parse ? JSON.parse(text) : new type(bytes(text).buffer);
  }
  return thing;
}

function bytes(base64) {
  return Uint8Array.fromBase64 ? Uint8Array.fromBase64(base64) : Uint8Array.from(atob(base64), (letter) => letter.charCodeAt(0));
}

function currentSet() {
  return ready(DATA.sets[at("set").value]);
}

function currentRow(id = "model") {
  const { rows } = currentSet();
  return rows.length ? ready(rows[Number(at(id).value) || 0]) : null;
}

function fill(select, texts) {
  select.replaceChildren(...texts.map((text, value) => make("option", { value }, text)));
}

// Fill a selection whose first texts are distances, and select the middle one of these.
function fillMiddle(select, texts, distances) {
  fill(select, texts);
  select.value = Math.floor(distances / 2);
}

function kmText(distance) {
  return `${distance.toLocaleString("en")} km`;
}

function setChanged() {
  const set = currentSet();
  set.rows.forEach(ready);
  for (const part of document.querySelectorAll(".of-set")) part.hidden = part.dataset.set !== at("set").value;
  fill(at("by"), Object.keys(set.regions));
  fillMiddle(at("by-share"), set.shares, set.levels.length);
  fillMiddle(at("level"), set.levels.map(kmText), set.levels.length);
  fill(at("model"), set.rows.map((row) => (row.seed === null ? row.label : `${row.label}, seed ${row.seed}`)));
  fill(at("other"), set.rows.map((row) => row.label));
  at("other").value = set.rows.length > 1 ? 1 : 0;
  const countries = (set.countries ?? []).map((name, code) => [name, code]).sort(([a], [b]) => a.localeCompare(b));
  at("country").replaceChildren(make("option", { value: "" }, "all"), ...countries.map(([name, value]) => make("option", { value }, name)));
  rememberPlain(FILLED);
  at("card-notes").replaceChildren(...set.notes.map((note) => make("p", { class: "note" }, note)));
  showRegions();
  chooseNothing();
  filterChanged();
}

// ---- which images

function filterChanged() {
  const [set, row] = [currentSet(), currentRow()];
  const compares = ["lost", "gained"].includes(at("which").value) || ["lost", "gained"].includes(at("order").value);
  at("beside").disabled = set.rows.length < 2;
  at("other").disabled = !(compares || beside()) || set.rows.length < 2;
  state.images = row === null ? [] : sorted(set, row, currentRow("other"));
  state.page = 0;
  at("predictions-csv").disabled = row === null || state.images.length === 0;
  const all = set.n.toLocaleString("en");
  at("count").textContent = row === null ? "This page contains no predictions for this test set." : `${state.images.length.toLocaleString("en")} of ${all} images`;
  showCards();
  showMap();
}

function sorted(set, row, other) {
  const keep = chosenBy(set, row, other);
  const images = [];
  for (let image = 0; image < set.n; image++) if (keep(image)) images.push(image);
  const key = {
    worst: (image) => -row.errors[image],
    best: (image) => row.errors[image],
    lost: (image) => Math.log1p(other.errors[image]) - Math.log1p(row.errors[image]),
    gained: (image) => Math.log1p(row.errors[image]) - Math.log1p(other.errors[image]),
  }[at("order").value];
  return key ? images.sort((a, b) => key(a) - key(b)) : images;
}

function chosenBy(set, row, other) {
  const level = Number(at("level").value);
  const right = (of, image) => of.level[image] <= level;
  const kinds = {
    all: () => true,
    right: (image) => right(row, image),
    wrong: (image) => !right(row, image),
    lost: (image) => !right(row, image) && right(other, image),
    gained: (image) => right(row, image) && !right(other, image),
    failed: (image) => row.level[image] === DATA.failed,
  };
  const status = at("which").value;
  const kind = kinds[status] ?? ((image) => row.reasons[image] === status);
  const country = at("country").value;
  const word = at("name").value.trim().toLowerCase();
  return (image) => kind(image) && (country === "" || set.country[image] === Number(country)) && set.names[image].toLowerCase().includes(word);
}

// ---- cards

function showCards() {
  const [set, row] = [currentSet(), currentRow()];
  const from = state.page * PER_PAGE;
  const shown = state.images.slice(from, from + PER_PAGE);
  at("card-list").classList.toggle("two", beside());
  at("card-list").replaceChildren(...shown.map((image) => card(set, row, image, choose)));
  for (const bar of document.querySelectorAll(".pages")) {
    const step = (text, by) => {
      const button = make("button", { type: "button", disabled: state.page + by < 0 || state.page + by >= pages() }, text);
      button.addEventListener("click", () => turnPage(by));
      return button;
    };
    const where = make("span", {}, `page ${(state.page + 1).toLocaleString("en")} of ${pages().toLocaleString("en")}`);
    bar.replaceChildren(step("Previous", -1), where, step("Next", 1));
  }
}

function pages() {
  return Math.max(1, Math.ceil(state.images.length / PER_PAGE));
}

function turnPage(by) {
  state.page += by;
  showCards();
  at("cards").scrollIntoView();
  at("card-list").querySelector("button")?.focus({ preventScroll: true });
}

// ---- curves and colours

async function toggleCurve(box) {
  const figure = await draw(box.closest(".of-set").querySelector(".chart"));
  figure.renderers[box.value].visible = box.checked;
}

function startTheme() {
  const dark = matchMedia("(prefers-color-scheme: dark)");
  at("theme").addEventListener("click", () => {
    const root = document.documentElement;
    const now = root.dataset.theme ?? (dark.matches ? "dark" : "light");
    root.dataset.theme = now === "dark" ? "light" : "dark";
    repaint();
  });
  dark.addEventListener("change", repaint);
}

function start() {
  startTables();
  startDownloads();
  startTheme();
  if (DATA === null) {
    startLinks();
    return;
  }
  setChanged();
  at("set").addEventListener("change", setChanged);
  at("filter").addEventListener("submit", (event) => event.preventDefault());
  at("filter").addEventListener("input", filterChanged);
  for (const id of ["model", "other", "beside"]) at(id).addEventListener("change", () => state.chosen !== null && choose(state.chosen, false));
  at("countries").addEventListener("toggle", showMap);
  for (const id of ["by", "by-share"]) at(id).addEventListener("change", showRegions);
  for (const radio of document.querySelectorAll("input[name=place]")) radio.addEventListener("change", showMap);
  for (const box of document.querySelectorAll(".legend.curves input")) box.addEventListener("change", () => toggleCurve(box));
  startLinks();
  const charts = [...document.querySelectorAll(".chart:not(.map)")];
  drawWhenNear(charts);
  startMap().then(() => drawWhenIdle(charts));
  performance.mark("ready");
}
