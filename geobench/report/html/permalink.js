// The address names what the page shows, after the #, so that it works from disk: #map?model=knn&images=wrong&page=2

const WRITE_MS = 150; // browsers refuse many changes of the address within seconds

// What a link names, in the order in which it must be set, and the control for each.
const CONTROLS = [
  ["model", "model"], ["images", "which"], ["other", "other"], ["beside", "beside"], ["within", "level"], ["country", "country"], ["name", "name"],
  ["order", "order"], ["by", "by"], ["share", "by-share"],
];

function textOf(control) {
  if (control.type === "checkbox") return control.checked ? "yes" : "no";
  return control.tagName === "SELECT" ? control.selectedOptions[0]?.textContent ?? "" : control.value;
}

// Set a control by its text; return whether it can have it.
function setText(control, text) {
  if (control.type === "checkbox") control.checked = text === "yes";
  else if (control.tagName !== "SELECT") control.value = text;
  else {
    const option = [...control.options].find((other) => other.textContent === text);
    if (!option) return false;
    control.value = option.value;
  }
  return true;
}

// Every control that a link names now; those of a table are called after its test set.
function controls() {
  const found = DATA === null ? [] : [["set", at("set")], ...CONTROLS.map(([key, id]) => [key, at(id)])];
  for (const table of document.querySelectorAll("table[data-title]")) {
    const [filter, published] = ["filter", "published"].map((part) => document.querySelector(`.table-${part}[data-table="${table.id}"]`));
    found.push([`rows:${table.dataset.title}`, filter]);
    if (published) found.push([`published:${table.dataset.title}`, published]);
  }
  return found;
}

const FILLED = ["model", "other", "within", "country", "by", "share"]; // anew for each test set
const plain = new Map(); // key -> text if nothing is chosen

function rememberPlain(keys) {
  for (const [key, control] of controls()) if (keys.includes(key)) plain.set(key, textOf(control));
}

// What is shown now as the part of an address after the ?
function query() {
  const named = new URLSearchParams();
  for (const [key, control] of controls()) if (textOf(control) !== plain.get(key)) named.set(key, textOf(control));
  for (const table of document.querySelectorAll("table[data-title]")) {
    const head = table.querySelector("thead [aria-sort$=ending]");
    if (head) named.set(`sort:${table.dataset.title}`, `${head.textContent}, ${head.ariaSort}`);
  }
  if (DATA === null) return named;
  if (whereOnMap() !== "truth") named.set("map", whereOnMap());
  for (const box of hiddenCurves()) named.append("without", labelOf(box));
  if (state.page > 0) named.set("page", state.page + 1);
  if (state.chosen !== null) named.set("image", currentSet().names[state.chosen]);
  return named;
}

function curveBoxes() {
  return [...document.querySelectorAll(`.of-set[data-set="${at("set").value}"] .legend.curves input`)];
}

function hiddenCurves() {
  return curveBoxes().filter((box) => !box.checked);
}

function labelOf(box) {
  return currentSet().labels[box.value];
}

// A link to an image as this model, or these two, place it.
function imageLink(image) {
  const named = query();
  for (const key of ["page", "image", "name", "images", "country"]) named.delete(key);
  named.set("image", currentSet().names[image]);
  return `#chosen?${named}`;
}

function asked() {
  const [, anchor, text] = location.hash.match(/^#?([^?]*)\??(.*)$/s);
  return { anchor, named: new URLSearchParams(text) };
}

function writeLink() {
  const { anchor } = asked();
  const text = query().toString();
  const hash = text ? `#${anchor}?${text}` : anchor ? `#${anchor}` : "";
  if (hash !== location.hash) history.replaceState(null, "", hash || location.href.split("#")[0]);
}

// Show what the address names; say what of it this page does not have.
function followLink() {
  const { anchor, named } = asked();
  const missing = [];
  const take = (key, set) => {
    if (named.has(key) && !set(named.get(key))) missing.push(`${key} “${named.get(key)}”`);
  };
  if (DATA !== null) {
    setText(at("set"), plain.get("set"));
    take("set", (text) => setText(at("set"), text));
    setChanged();
  }
  for (const [key, control] of controls()) {
    if (key === "set") continue;
    setText(control, plain.get(key));
    take(key, (text) => setText(control, text));
  }
  document.querySelectorAll(".table-filter").forEach((filter) => filter.dispatchEvent(new Event("input")));
  for (const table of document.querySelectorAll("table[data-title]")) {
    table.dispatchEvent(new Event("unsort"));
    take(`sort:${table.dataset.title}`, (text) => sortAs(table, text));
  }
  if (DATA !== null) followExplorer(named, take);
  const note = document.getElementById("link-note");
  note.hidden = missing.length === 0;
  note.textContent = `This page does not have what its address asks for: ${missing.join(", ")}. It shows the rest.`;
  if (named.size) document.getElementById(anchor)?.scrollIntoView();
}

function followExplorer(named, take) {
  const radios = [...document.querySelectorAll("input[name=place]")];
  radios[0].checked = true;
  take("map", (text) => radios.some((radio) => radio.value === text && (radio.checked = true)));
  followCurves(named);
  filterChanged();
  showRegions();
  take("page", (text) => {
    const page = Number(text);
    if (!(Number.isInteger(page) && page >= 1 && page <= pages())) return false;
    state.page = page - 1;
    showCards();
    return true;
  });
  take("image", (text) => {
    const image = currentSet().rows.length ? currentSet().names.indexOf(text) : -1;
    if (image >= 0) choose(image, false);
    return image >= 0;
  });
}

function followCurves(named) {
  for (const box of curveBoxes()) {
    const hidden = named.getAll("without").includes(labelOf(box));
    if (box.checked !== hidden) continue;
    box.checked = !hidden;
    toggleCurve(box);
  }
}

function sortAs(table, text) {
  const heads = [...table.querySelectorAll("thead th")];
  const column = heads.findIndex((head) => text.startsWith(`${head.textContent}, `));
  if (column < 0) return false;
  for (let press = 0; press < 2 && !text.endsWith(heads[column].ariaSort); press++) sortBy(table, column);
  return text.endsWith(heads[column].ariaSort);
}

function startLinks() {
  rememberPlain(controls().map(([key]) => key));
  if (asked().named.size) followLink();
  let timer = null;
  const later = () => {
    clearTimeout(timer);
    timer = setTimeout(writeLink, WRITE_MS);
  };
  for (const kind of ["input", "change", "click"]) document.addEventListener(kind, later);
  addEventListener("hashchange", () => (asked().named.size ? followLink() : later()));
}

start();
