// The map: the images that pass the filter, lines to their predictions, and the chosen image.

const MOST_LINES = 800;

function mapElement() {
  return document.querySelector(".chart.map");
}

function source(figure, name) {
  return figure.renderers.find((renderer) => renderer.data_source.name === name).data_source;
}

function showMap() {
  const figure = drawn.get(mapElement());
  if (!figure) return;
  const [set, row] = [currentSet(), currentRow()];
  const where = document.querySelector("input[name=place]:checked").value;
  const placed = row === null ? [] : state.images.filter((image) => row.level[image] !== DATA.failed);
  forgetClicks(figure);
  source(figure, "truth").data = points(set, row, where === "prediction" ? [] : state.images, truthOf.bind(null, set));
  source(figure, "prediction").data = points(set, row, where === "truth" ? [] : placed, placeOf.bind(null, row));
  const lined = where === "both" ? thinned(placed) : [];
  const lines = lined.map((image) => arc(...truthOf(set, image), ...placeOf(row, image)));
  source(figure, "lines").data = { xs: lines.map(([xs]) => xs), ys: lines.map(([, ys]) => ys), colour: lines.map(() => "") };
  showLines(figure, lined.length);
  const thin = where === "both" && lined.length < placed.length;
  at("map-note").textContent = thin ? `Lines of ${lined.length.toLocaleString("en")} of ${placed.length.toLocaleString("en")} images, evenly chosen in the order above.` : "";
  const size = pointSize(state.images.length);
  for (const renderer of figure.renderers) {
    if (["truth", "prediction"].includes(renderer.name)) renderer.glyph.size = { value: size + 2 * (renderer.name === "prediction") };
  }
  showLevels(set, row);
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
function pointSize(n) {
  const size = n > 10000 ? 3 : n > 1000 ? 5 : 7;
  return mapElement().offsetWidth < 700 ? Math.max(2, size - 2) : size;
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

function showLevels(set, row) {
  const counts = set.colours.map(() => 0);
  for (const image of state.images) counts[Math.min(row.level[image], set.levels.length)]++;
  const texts = [...set.levels.map((level) => `≤ ${kmText(level)}`), `> ${kmText(set.levels.at(-1))}`];
  at("error-levels").replaceChildren(...texts.map((text, level) => make("li", {}, dot(set, level), ` ${text} (${counts[level].toLocaleString("en")})`)));
}

// Draw and fill the map, and connect it: hover shows the line from truth to prediction, a click chooses the image.
async function startMap() {
  const figure = await draw(mapElement());
  const touch = matchMedia("(pointer: coarse)").matches;
  if (touch) figure.toolbar.active_drag = null; // touch scrolls the page unless a tool is chosen
  for (const name of ["truth", "prediction"]) {
    const points = source(figure, name);
    points.selected.properties.indices.change.connect(() => clicked(figure));
    points.inspect.connect(() => showHover(figure));
  }
  showMap();
  await new Promise((done) => requestAnimationFrame(() => requestAnimationFrame(done)));
  performance.mark("map");
  document.documentElement.dataset.map = "drawn";
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
  for (const name of ["truth", "prediction"]) source(figure, name).selected.indices = [];
  state.filling = false;
}

function clicked(figure) {
  if (state.filling) return;
  const [image] = imagesUnder(figure, "selected");
  if (image === undefined) chooseNothing();
  else if (image !== state.chosen) choose(image, false);
}

function showHover(figure) {
  const [set, row] = [currentSet(), currentRow()];
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
  const legend = set.rows.map((other, number) => make("li", {}, looks(set, number), ` ${other.label}: ${errorText(other, image)}`));
  at("chosen").replaceChildren(shown, make("ul", { class: "legend ways", "aria-label": "Lines on the map" }, ...legend), close);
  if (scroll) {
    mapElement().scrollIntoView({ block: "center" });
    at("chosen").focus({ preventScroll: true });
  }
  const figure = await draw(mapElement());
  const ways = set.rows.map((other, number) => ({ other, colour: set.looks[set.labels.indexOf(other.label)][0], number }))
    .filter(({ other }) => other.level[image] !== DATA.failed)
    .map((way) => ({ ...way, where: placeOf(way.other, image) }));
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

function looks(set, number) {
  const swatch = make("span", { class: "swatch", "aria-hidden": "true" });
  swatch.style.background = set.looks[set.labels.indexOf(set.rows[number].label)][0];
  return swatch;
}

function chooseNothing() {
  state.chosen = null;
  at("chosen").replaceChildren(make("p", { class: "note" }, "Choose a point on the map, or “On the map” on a card, to see the predictions of all models for one image. Without a mouse, use the cards."));
  const figure = drawn.get(mapElement());
  if (!figure) return;
  showMarks(figure, []);
  source(figure, "chosen-lines").data = { xs: [], ys: [], colour: [] };
  forgetClicks(figure);
}
