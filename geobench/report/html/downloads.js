// Tables and predictions as CSV files: they are made here, and nothing is sent anywhere.

const PARTS = ["low", "high", "sd", "answered"];

function csv(lines) {
  const quoted = (value) => (/[",\r\n]/.test(value) ? `"${String(value).replaceAll('"', '""')}"` : value);
  return lines.map((line) => `${line.map(quoted).join(",")}\n`).join("");
}

function download(name, lines) {
  const address = URL.createObjectURL(new Blob([csv(lines)], { type: "text/csv" }));
  const file = `geobench-${name}`.replaceAll(/[^\p{L}\p{N}.]+/gu, "-");
  make("a", { href: address, download: `${file}.csv` }).click();
  setTimeout(() => URL.revokeObjectURL(address), 60_000);
}

// The rows that are shown, in their order: scores are unrounded, and what stands beside them has columns of its own.
function tableLines(table) {
  const rows = [...table.querySelectorAll("tbody tr, tfoot tr")].filter((row) => !row.hidden).map((row) => [...row.cells]);
  const columns = [...table.tHead.rows[0].cells].map((head, column) => {
    const parts = rows.map((cells) => partsOf(cells[column]));
    return { head: head.textContent.trim(), parts, names: PARTS.filter((part) => parts.some((known) => part in known)) };
  });
  const heads = columns.flatMap(({ head, names }) => [head, ...names.map((name) => `${head} ${name}`)]);
  const lines = rows.map((cells, row) =>
    columns.flatMap(({ parts, names }, column) => [entryOf(cells[column]), ...names.map((name) => parts[row][name] ?? "")]));
  return [heads, ...lines];
}

function partsOf(cell) {
  return JSON.parse(cell.dataset.parts ?? "{}");
}

function entryOf(cell) {
  return cell.dataset.value ?? cell.firstChild?.textContent.trim() ?? "";
}

// The chosen model's predictions for the images that pass the filter, as in the predictions files of geobench.
function predictionLines(set, row, images) {
  const ranks = [...Array(row.k).keys()];
  const heads = ranks.flatMap((rank) => [`latitude_${rank + 1}`, `longitude_${rank + 1}`, `score_${rank + 1}`]);
  return [["image", "latitude", "longitude", "status", "error_km", ...heads], ...images.map((image) => [
    set.names[image], ...truthOf(set, image).map(degrees), statusOf(row, image), rounded(row.errors[image]),
    ...ranks.flatMap((rank) => [...placeOf(row, image, rank).map(degrees), rounded(row.scores[image * row.k + rank])]),
  ])];
}

function statusOf(row, image) {
  return row.level[image] === DATA.failed ? row.reasons[image] ?? "failed" : "ok";
}

// Numbers in the page have 24 bits: a position is right to 1 m.
function degrees(value) {
  return Number.isNaN(value) ? "" : Number(value.toFixed(5));
}

function rounded(value) {
  return Number.isNaN(value) ? "" : Number(value.toPrecision(7));
}

function startDownloads() {
  for (const button of document.querySelectorAll(".table-csv")) {
    const table = document.getElementById(button.dataset.table);
    button.addEventListener("click", () => download(table.dataset.title, tableLines(table)));
  }
  if (DATA === null) return;
  at("regions-csv").addEventListener("click", () => {
    const [by, share] = ["by", "by-share"].map((id) => at(id).selectedOptions[0].textContent);
    download(`${currentSet().title} by ${by} ${share}`, tableLines(at("regions")));
  });
  at("countries-csv").addEventListener("click", () => download(`${currentSet().title} by country`, tableLines(at("country-table"))));
  at("predictions-csv").addEventListener("click", () => {
    const [set, row] = [currentSet(), currentRow()];
    const some = state.images.length < set.n ? ` ${state.images.length} of ${set.n} images` : "";
    download(`${set.title} ${row.label}${some} predictions`, predictionLines(set, row, state.images));
  });
}
