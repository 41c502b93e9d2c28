// The map: points of the images that the filter leaves, the ways to their predictions, one chosen image.

const MOST_LINES = 400;

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
  const answered = row === null ? [] : state.images.filter((image) => row.level[image] !== 255);
  forgetClicks(figure);
  source(figure, "truth").data = points(set, row, where === "prediction" ? [] : state.images, truthOf.bind(null, set));
  source(figure, "prediction").data = points(set, row, where === "truth" ? [] : answered, placeOf.bind(null, row));
  const lines = where === "both" ? answered.slice(0, MOST_LINES).map((image) => arc(...truthOf(set, image), ...placeOf(row, image))) : [];
  source(figure, "lines").data = { xs: lines.map(([xs]) => xs), ys: lines.map(([, ys]) => ys), colour: lines.map(() => "") };
  const size = pointSize(state.images.length);
  for (const renderer of figure.renderers) {
    if (["truth", "prediction"].includes(renderer.name)) renderer.glyph.size = { value: size + 2 * (renderer.name === "prediction") };
  }
  showLevels(row);
}

// Many points, or a narrow map, ask for small ones.
function pointSize(n) {
  const size = n > 10000 ? 3 : n > 1000 ? 5 : 7;
  return mapElement().offsetWidth < 700 ? Math.max(2, size - 2) : size;
}

// Points are drawn in an order that favours neither right nor wrong.
function points(set, row, images, whereOf) {
  const n = images.length;
  const data = { x: new Float32Array(n), y: new Float32Array(n), colour: [], image: [], name: [], country: [], error: [], marker: [] };
  const stride = 7919; // a prime: every place is taken once unless n is a multiple of it
  for (let index = 0; index < n; index++) {
    const image = images[n % stride ? (index * stride) % n : index];
    [data.x[index], data.y[index]] = equalEarth(...whereOf(image));
    data.colour.push(DATA.colours[Math.min(row.level[image], DATA.levels.length)]);
    data.image.push(image);
    data.name.push(set.names[image]);
    data.country.push(set.countries[set.country[image]]);
    data.error.push(row.errors[image]);
    data.marker.push("circle");
  }
  return data;
}

function showLevels(row) {
  const counts = DATA.colours.map(() => 0);
  for (const image of state.images) counts[Math.min(row.level[image], DATA.levels.length)]++;
  const texts = [...DATA.levels.map((level) => `≤ ${level.toLocaleString("en")} km`), `> ${DATA.levels.at(-1).toLocaleString("en")} km`];
  at("error-levels").replaceChildren(...texts.map((text, level) => make("li", {}, dot(level), ` ${text} (${counts[level].toLocaleString("en")})`)));
}

// Draw the map, fill it, and link it: hover shows the way from truth to prediction, a click chooses the image.
async function startMap() {
  const figure = await draw(mapElement());
  const touch = matchMedia("(pointer: coarse)").matches;
  if (touch) figure.toolbar.active_drag = null; // a finger scrolls the page, unless a tool is chosen
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
  const lines = imagesUnder(figure, "inspected").slice(0, 1).filter((image) => row.level[image] !== 255).map((image) => arc(...truthOf(set, image), ...placeOf(row, image)));
  source(figure, "hover").data = { xs: lines.map(([xs]) => xs), ys: lines.map(([, ys]) => ys), colour: lines.map(() => "") };
}

async function choose(image, scroll) {
  const [set, row] = [currentSet(), currentRow()];
  state.chosen = image;
  const shown = card(set, row, image, choose);
  for (const part of shown.querySelectorAll(".on-map, .others")) part.remove(); // the ways say it
  const close = make("button", { type: "button" }, "Close");
  close.addEventListener("click", chooseNothing);
  const legend = set.rows.map((other, number) => make("li", {}, looks(set, number), ` ${other.label}: ${errorText(other, image)}`));
  at("chosen").replaceChildren(shown, make("ul", { class: "legend ways", "aria-label": "Ways on the map" }, ...legend), close);
  if (scroll) {
    mapElement().scrollIntoView({ block: "center" });
    at("chosen").focus({ preventScroll: true });
  }
  const figure = await draw(mapElement());
  const ways = set.rows.map((other, number) => ({ other, colour: set.looks[set.labels.indexOf(other.label)][0], number }))
    .filter(({ other }) => other.level[image] !== 255)
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
  at("chosen").replaceChildren(make("p", { class: "note" }, "Choose a point of the map, or “On the map” at a card: all models' answers to one image. Without a mouse, use the cards."));
  const figure = drawn.get(mapElement());
  if (!figure) return;
  showMarks(figure, []);
  source(figure, "chosen-lines").data = { xs: [], ys: [], colour: [] };
  forgetClicks(figure);
}
