// Countries on the map, coloured by a model's accuracy or median error over all images of the test set.

const SMALL_CELLS = 12; // on a map of 1,300 pixels a country of so many is six pixels wide
const [STRIPE, GAP, WIDE] = [4, 2, 1200]; // cells, along a row of a country with few images, on a map of so many pixels

// Runs of cells along the rows of the map: the first cell, how many, and the country's number in the atlas.
let runs = null;

function atlasRuns() {
  if (runs) return runs;
  const numbers = new Uint16Array(bytes(block(DATA.atlas.runs)).buffer);
  runs = [];
  for (let cell = 0, at = 0; at < numbers.length; cell += numbers[at], at += 2) {
    if (numbers[at + 1] > 0) runs.push({ cell, length: numbers[at], country: numbers[at + 1] - 1 });
  }
  return runs;
}

// The parts of a run that diagonal gaps leave; on a narrow map stripes and gaps take more cells, to be seen.
function striped({ cell, length }, width) {
  const [stripe, gap] = [STRIPE, GAP].map((cells) => cells * Math.max(1, Math.round(WIDE / width)));
  const [row, column] = [Math.floor(cell / DATA.atlas.columns), cell % DATA.atlas.columns];
  const parts = [];
  for (let from = column; from < column + length; ) {
    const phase = (from + row) % (stripe + gap);
    const to = Math.min(column + length, from + (phase < stripe ? stripe : stripe + gap) - phase);
    if (phase < stripe) parts.push({ cell: cell - column + from, length: to - from });
    from = to;
  }
  return parts;
}

// What a model reaches in each country of the set: a failed image is a miss, and as far away as can be.
function byCountry(set, row, level) {
  const groups = set.countries.map(() => []);
  for (let image = 0; image < set.n; image++) groups[set.country[image]].push(image);
  return groups.map((images, country) => {
    const errors = Float32Array.from(images, (image) => row.errors[image]).sort();
    const right = images.filter((image) => row.level[image] <= level).length;
    return {
      country, name: set.countries[country], n: images.length, share: (100 * right) / images.length,
      median: (errors[(errors.length - 1) >> 1] + errors[errors.length >> 1]) / 2,
      where: truthOf(set, images[0]),
    };
  });
}

function countText(group) {
  return group.n.toLocaleString("en") + (isFew(group) ? ", few" : "");
}

function isFew(group) {
  return group.n < DATA.atlas.few;
}

// The number of a country's colour: of shares from low to high, of medians by the levels of error.
function shade(set, group, what) {
  const [value, edges] = what === "accuracy" ? [group.share, DATA.atlas.shares] : [group.median, set.levels];
  return edges.filter((edge) => (what === "accuracy" ? value >= edge : value > edge)).length;
}

function shadeColours(set, what) {
  return what === "accuracy" ? DATA.atlas.colours : set.colours;
}

// Rectangles of the countries that the map is large enough for, dots at an image for the others.
function fillCountries(figure, width, set, groups, what) {
  const numbers = new Map(DATA.atlas.names.map((name, number) => [name, number]));
  const byNumber = new Map(groups.map((group) => [numbers.get(group.name), group]));
  const sizes = new Map();
  const parts = [];
  for (const run of groups.length ? atlasRuns() : []) {
    const group = byNumber.get(run.country);
    if (!group) continue;
    sizes.set(group, (sizes.get(group) ?? 0) + run.length);
    for (const part of isFew(group) ? striped(run, width) : [run]) parts.push([group, part]);
  }
  const shown = parts.map(([group]) => group);
  source(figure, "countries").data = { ...boxes(parts.map(([, part]) => part)), ...countryColumns(set, shown, what) };
  const small = groups.filter((group) => (sizes.get(group) ?? 0) < SMALL_CELLS);
  const where = small.map((group) => equalEarth(...group.where));
  source(figure, "small-countries").data = { x: where.map(([x]) => x), y: where.map(([, y]) => y), ...countryColumns(set, small, what, colour("land")) };
}

function boxes(parts) {
  const { columns, rows, size: [width, height] } = DATA.atlas;
  const column = ({ cell }) => cell % columns;
  const row = ({ cell }) => Math.floor(cell / columns);
  return {
    left: Float32Array.from(parts, (part) => width * ((2 * column(part)) / columns - 1)),
    right: Float32Array.from(parts, (part) => width * ((2 * (column(part) + part.length)) / columns - 1)),
    top: Float32Array.from(parts, (part) => height * (1 - (2 * row(part)) / rows)),
    bottom: Float32Array.from(parts, (part) => height * (1 - (2 * (row(part) + 1)) / rows)),
  };
}

// What the shapes of countries are drawn with, and say; few images leave a dot hollow.
function countryColumns(set, groups, what, hollow = null) {
  const colours = shadeColours(set, what);
  const texts = new Map([...new Set(groups)].map((group) => [group, {
    colour: colours[shade(set, group, what)],
    n: countText(group),
    share: `${kmText(set.levels[at("level").value])}: ${shown(group.share, 1)} %`,
    median: km(group.median),
  }]));
  const column = (name) => groups.map((group) => texts.get(group)[name]);
  return {
    colour: column("colour"), fill: groups.map((group) => (hollow && isFew(group) ? hollow : texts.get(group).colour)),
    country: groups.map((group) => group.country), name: groups.map((group) => group.name),
    n: column("n"), share: column("share"), median: column("median"),
  };
}

// The legend of the countries' colours, with the number of countries of each model.
function showShades(set, rows, what) {
  const level = Number(at("level").value);
  const found = rows.map((row) => byCountry(set, row, level));
  const { shares } = DATA.atlas;
  const texts = what === "accuracy"
    ? [`< ${shares[0]} %`, ...shares.map((share, index) => (index + 1 < shares.length ? `${share}–${shares[index + 1]} %` : `≥ ${share} %`))]
    : levelTexts(set);
  const items = texts.map((text, number) => {
    const counts = found.map((groups) => groups.filter((group) => shade(set, group, what) === number).length);
    return make("li", {}, swatchOf(shadeColours(set, what)[number]), ` ${text} (${counts.join(" | ")})`);
  });
  const few = found[0].filter(isFew).length;
  const striped = make("li", {}, make("span", { class: "box striped", "aria-hidden": "true" }), ` or a hollow dot: fewer than ${DATA.atlas.few} images (${few})`);
  at("error-levels").replaceChildren(...items, striped);
}

function swatchOf(colour) {
  const box = make("span", { class: "box", "aria-hidden": "true" });
  box.style.background = colour;
  return box;
}

// The same as a table, for the models on the map.
function showCountryTable(set, rows) {
  const level = Number(at("level").value);
  const found = rows.map((row) => byCountry(set, row, level));
  const order = [...set.countries.keys()].sort((a, b) => found[0][b].n - found[0][a].n);
  const within = `within ${kmText(set.levels[level])} (%)`;
  const heads = ["Country", "n", ...rows.flatMap((row) => [`${row.label}: ${within}`, `${row.label}: median`])];
  const number = (value, text) => make("td", { class: "number", "data-value": value }, text);
  const lines = order.map((country) => make("tr", {},
    make("th", { scope: "row" }, set.countries[country]),
    number(found[0][country].n, countText(found[0][country])),
    ...found.flatMap((groups) => [number(groups[country].share, shown(groups[country].share, 1)), number(groups[country].median, km(groups[country].median))])));
  const table = at("country-table");
  table.replaceChildren(make("thead", {}, make("tr", {}, ...heads.map((text, column) => make("th", { scope: "col", class: column ? "number" : null }, text)))), make("tbody", {}, ...lines));
  sortable(table);
}
