// The map: the images that pass the filter, lines to their predictions, and the chosen image.

const MOST_LINES = 800;

function mapElement() {
  return document.querySelector(".chart.map");
}

function source(figure, name) {
  return figure.renderers.find((renderer) => renderer.data_source.name === name).data_source;
}

// The maps that are shown with the model of each: one, or two side by side.
function mapsNow() {
  const [first, second] = document.querySelectorAll(".chart.map");
  return beside() ? [[first, currentRow()], [second, currentRow("other")]] : [[first, currentRow()]];
}

function whereOnMap() {
  return document.querySelector("input[name=place]:checked").value;
}

function showMap() {
  if (!drawn.has(mapElement())) return;
  const [set, shown, what] = [currentSet(), mapsNow(), whereOnMap()];
  const countries = ["accuracy", "median"].includes(what) && set.rows.length > 0;
  const rows = shown.map(([, row]) => row);
  arrangeMaps(shown);
  for (const [element, row] of shown) {
    const figure = drawn.get(element);
    if (figure) fillMap(figure, element.offsetWidth, set, row, what);
  }
  at("map-note").textContent = countries ? COUNTRY_NOTE : linesNote(what, rows);
  if (countries) showShades(set, rows, what);
  else showLevels(set, rows);
  if (at("countries").open) showCountryTable(set, rows);
}

const COUNTRY_NOTE = "By the true position, over all images of the test set, whatever the filter. A click on a country shows its images below. Intervals are in the table above, by country.";

// Show the second map beside the first, or hide it, with the names of their models.
function arrangeMaps(shown) {
  document.querySelectorAll(".map-of").forEach((part, number) => {
    part.hidden = number >= shown.length;
    part.querySelector(".map-title").textContent = shown.length > 1 && !part.hidden ? shown[number][1].label : "";
  });
  document.querySelector(".maps").classList.toggle("two", shown.length > 1);
  const [, second] = shown;
  if (second && !waiting.has(second[0])) startSecondMap(second[0]);
}

function fillMap(figure, width, set, row, what) {
  const [truth, prediction] = [["truth", "both"].includes(what), ["prediction", "both"].includes(what)];
  const placed = prediction ? placedBy(row) : [];
  forgetClicks(figure);
  source(figure, "truth").data = points(set, row, truth ? state.images : [], truthOf.bind(null, set));
  source(figure, "prediction").data = points(set, row, placed, placeOf.bind(null, row));
  const lines = (what === "both" ? thinned(placed) : []).map((image) => arc(...truthOf(set, image), ...placeOf(row, image)));
  source(figure, "lines").data = { xs: lines.map(([xs]) => xs), ys: lines.map(([, ys]) => ys), colour: lines.map(() => "") };
  showLines(figure, lines.length);
  const groups = truth || prediction || row === null ? [] : byCountry(set, row, Number(at("level").value));
  fillCountries(figure, width, set, groups, what);
  const size = pointSize(state.images.length, width);
  for (const renderer of figure.renderers) {
    if (["truth", "prediction"].includes(renderer.name)) renderer.glyph.size = { value: size + 2 * (renderer.name === "prediction") };
  }
}

function placedBy(row) {
  return row === null ? [] : state.images.filter((image) => row.level[image] !== DATA.failed);
}

function linesNote(what, rows) {
  const most = Math.max(...rows.map((row) => placedBy(row).length));
  if (what !== "both" || most <= MOST_LINES) return "";
  return `Lines of ${MOST_LINES.toLocaleString("en")} of ${most.toLocaleString("en")} images, evenly chosen in the order above.`;
}

// At most so many of the images, evenly chosen: the first alone would be the worst or the best.
function thinned(images) {
  const step = Math.max(1, images.length / MOST_LINES);
  return Array.from({ length: Math.min(images.length, MOST_LINES) }, (_, index) => images[Math.floor(index * step)]);
}

// Many lines are thinner and fainter, so that the map under them remains visible.
function showLines(figure, n) {
  const { glyph } = figure.renderers.find((renderer) => renderer.name === "paint-lines");
  glyph.line_alpha = { value: Math.max(0.25, Math.min(0.55, 5.5 / Math.sqrt(n))) };
  glyph.line_width = { value: n > 200 ? 0.6 : 0.8 };
}

// Points are smaller if there are many, or the map is narrow.
function pointSize(n, width) {
  const size = n > 10000 ? 3 : n > 1000 ? 5 : 7;
  return width < 700 ? Math.max(2, size - 2) : size;
}

// Points are drawn in an order that favours neither small nor large errors.
function points(set, row, images, whereOf) {
  const n = images.length;
  const data = { x: new Float32Array(n), y: new Float32Array(n), colour: [], image: [], name: [], country: [], error: [], marker: [] };
  const stride = 7919; // a prime: every index is visited once unless n is a multiple of it
  for (let index = 0; index < n; index++) {
    const image = images[n % stride ? (index * stride) % n : index];
    [data.x[index], data.y[index]] = equalEarth(...whereOf(image));
    data.colour.push(set.colours[Math.min(row.level[image], set.levels.length)]);
    data.image.push(image);
    data.name.push(set.names[image]);
    data.country.push(set.countries[set.country[image]]);
    data.error.push(row.errors[image]);
    data.marker.push("circle");
  }
  return data;
}

function levelTexts(set) {
  return [...set.levels.map((level) => `≤ ${kmText(level)}`), `> ${kmText(set.levels.at(-1))}`];
}

function showLevels(set, rows) {
  const counts = rows.map((row) => {
    const found = set.colours.map(() => 0);
    for (const image of state.images) found[Math.min(row.level[image], set.levels.length)]++;
    return found;
  });
  at("error-levels").replaceChildren(...levelTexts(set).map((text, level) =>
    make("li", {}, dot(set, level), ` ${text} (${counts.map((found) => found[level].toLocaleString("en")).join(" | ")})`)));
}

// Draw and fill the map, and connect it: hover shows the line from truth to prediction, a click chooses the image.
async function startMap() {
  await connectMap(mapElement(), 0);
  showMap();
  await new Promise((done) => requestAnimationFrame(() => requestAnimationFrame(done)));
  performance.mark("map");
  document.documentElement.dataset.map = "drawn";
}

// The second map moves and zooms with the first.
async function startSecondMap(element) {
  const figures = [drawn.get(mapElement()), await connectMap(element, 1)];
  for (const name of ["x_range", "y_range"]) {
    for (const [from, to] of [figures, figures.toReversed()]) {
      const follow = () => {
        const { start, end } = from[name];
        if (to[name].start !== start || to[name].end !== end) to[name].setv({ start, end });
      };
      from[name].change.connect(follow);
      if (from === figures[0]) follow();
    }
  }
  showMap();
  if (state.chosen !== null) choose(state.chosen, false);
}

async function connectMap(element, number) {
  const figure = await draw(element);
  const touch = matchMedia("(pointer: coarse)").matches;
  if (touch) figure.toolbar.active_drag = null; // touch scrolls the page unless a tool is chosen
  for (const name of ["truth", "prediction"]) {
    const points = source(figure, name);
    points.selected.properties.indices.change.connect(() => clicked(figure));
    points.inspect.connect(() => showHover(figure, number));
  }
  for (const name of COUNTRY_SOURCES) {
    const shapes = source(figure, name);
    shapes.selected.properties.indices.change.connect(() => countryClicked(shapes));
  }
  return figure;
}

const COUNTRY_SOURCES = ["countries", "small-countries"];

function countryClicked(shapes) {
  const [index] = shapes.selected.indices;
  if (state.filling || index === undefined) return;
  at("country").value = shapes.data.country[index];
  filterChanged();
}

// The images whose points are "selected" or "inspected", that is, clicked or under the pointer.
function imagesUnder(figure, how) {
  return ["truth", "prediction"].flatMap((name) => {
    const points = source(figure, name);
    return points[how].indices.slice(0, 1).map((index) => points.data.image[index]);
  });
}

function forgetClicks(figure) {
  state.filling = true;
  for (const name of ["truth", "prediction", ...COUNTRY_SOURCES]) source(figure, name).selected.indices = [];
  state.filling = false;
}

function clicked(figure) {
  if (state.filling) return;
  const [image] = imagesUnder(figure, "selected");
  if (image === undefined) chooseNothing();
  else if (image !== state.chosen) choose(image, false);
}

function showHover(figure, number) {
  const [set, [, row]] = [currentSet(), mapsNow()[number]];
  const lines = imagesUnder(figure, "inspected").slice(0, 1).filter((image) => row.level[image] !== DATA.failed).map((image) => arc(...truthOf(set, image), ...placeOf(row, image)));
  source(figure, "hover").data = { xs: lines.map(([xs]) => xs), ys: lines.map(([, ys]) => ys), colour: lines.map(() => "") };
}

async function choose(image, scroll) {
  const [set, row] = [currentSet(), currentRow()];
  state.chosen = image;
  const shown = card(set, row, image, choose);
  for (const part of shown.querySelectorAll(".on-map, .others")) part.remove(); // the legend below says it
  const close = make("button", { type: "button" }, "Close");
  close.addEventListener("click", chooseNothing);
  const legend = waysOn(set).map((other) => make("li", {}, looks(set, other), ` ${other.label}: ${errorText(other, image)}`));
  at("chosen").replaceChildren(shown, make("ul", { class: "legend ways", "aria-label": "Lines on the map" }, ...legend), close);
  if (scroll) {
    mapElement().scrollIntoView({ block: "center" });
    at("chosen").focus({ preventScroll: true });
  }
  await draw(mapElement());
  for (const [element, only] of mapsNow()) {
    const figure = drawn.get(element);
    if (figure) showWays(figure, set, image, beside() ? [only] : set.rows);
  }
}

// The models whose lines the maps show for the chosen image.
function waysOn(set) {
  return beside() ? mapsNow().map(([, row]) => row) : set.rows;
}

function showWays(figure, set, image, rows) {
  const ways = rows.filter((row) => row.level[image] !== DATA.failed)
    .map((row) => ({ colour: set.looks[set.labels.indexOf(row.label)][0], where: placeOf(row, image) }));
  const lines = ways.map(({ where }) => arc(...truthOf(set, image), ...where));
  source(figure, "chosen-lines").data = { xs: lines.map(([xs]) => xs), ys: lines.map(([, ys]) => ys), colour: ways.map((way) => way.colour) };
  const marks = [...ways.map(({ where, colour }) => [where, colour, "diamond"]), [truthOf(set, image), colour("ink"), "star"]];
  showMarks(figure, marks.map(([where, ...look]) => [...equalEarth(...where), ...look]));
}

function showMarks(figure, marks) {
  const column = (index) => marks.map((mark) => mark[index]);
  const empty = marks.map(() => "");
  source(figure, "chosen").data = { x: column(0), y: column(1), colour: column(2), marker: column(3), image: empty, name: empty, country: empty, error: empty };
}

function looks(set, row) {
  const swatch = make("span", { class: "swatch", "aria-hidden": "true" });
  swatch.style.background = set.looks[set.labels.indexOf(row.label)][0];
  return swatch;
}

function chooseNothing() {
  state.chosen = null;
  at("chosen").replaceChildren(make("p", { class: "note" }, "Choose a point on the map, or “On the map” on a card, to see the predictions of all models for one image. Without a mouse, use the cards."));
  for (const element of document.querySelectorAll(".chart.map")) {
    const figure = drawn.get(element);
    if (!figure) continue;
    showMarks(figure, []);
    source(figure, "chosen-lines").data = { xs: [], ys: [], colour: [] };
    forgetClicks(figure);
  }
}
