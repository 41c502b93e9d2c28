"use strict";
// Tables can be sorted by the buttons in their headings, and filtered.

document.documentElement.classList.add("script");

function sortable(table) {
  table.querySelectorAll("thead th").forEach((head, column) => {
    const button = document.createElement("button");
    button.type = "button";
    button.textContent = head.textContent.trim();
    button.addEventListener("click", () => sortBy(table, column));
    head.replaceChildren(button);
    head.setAttribute("aria-sort", "none");
  });
}

// The first click sorts a column of numbers from the highest, one of text from A.
function sortBy(table, column) {
  const heads = [...table.querySelectorAll("thead th")];
  const head = heads[column];
  const first = head.classList.contains("number") ? "descending" : "ascending";
  const second = first === "ascending" ? "descending" : "ascending";
  const order = head.getAttribute("aria-sort") === first ? second : first;
  heads.forEach((other) => other.setAttribute("aria-sort", other === head ? order : "none"));
  const sign = order === "ascending" ? 1 : -1;
  const rows = [...table.tBodies[0].rows].map((row) => [row, valueOf(row.cells[column])]);
  rows.sort(([, a], [, b]) => compareEntries(a, b, sign));
  table.tBodies[0].append(...rows.map(([row]) => row));
}

function valueOf(cell) {
  const text = cell.dataset.value ?? cell.textContent.trim();
  const number = Number.parseFloat(text.replaceAll(",", ""));
  return Number.isNaN(number) || !cell.classList.contains("number") ? text : number;
}

// Empty entries come last in either order; numbers come before text.
function compareEntries(a, b, sign) {
  if (a === "" || b === "") return (a === "") - (b === "");
  if (typeof a !== typeof b) return typeof a === "number" ? -1 : 1;
  return sign * (typeof a === "number" ? a - b : a.localeCompare(b, "en", { numeric: true }));
}

// The order in which the rows came.
function unsort(table, rows) {
  table.tBodies[0].append(...rows);
  for (const head of table.querySelectorAll("thead th")) head.setAttribute("aria-sort", "none");
}

function filterable(table) {
  const find = (name) => document.querySelector(`.table-${name}[data-table="${table.id}"]`);
  const [word, published, count] = [find("filter"), find("published"), find("count")];
  const rows = [...table.tBodies[0].rows];
  const apply = () => {
    const words = word.value.toLowerCase().split(/\s+/);
    for (const row of rows) {
      const text = row.textContent.toLowerCase();
      const left = published === null || published.checked || !row.classList.contains("published");
      row.hidden = !(left && words.every((part) => text.includes(part)));
    }
    const shown = rows.filter((row) => !row.hidden).length;
    count.textContent = shown < rows.length ? `${shown} of ${rows.length} rows` : `${rows.length} rows`;
  };
  table.addEventListener("unsort", () => unsort(table, rows));
  word.addEventListener("input", apply);
  published?.addEventListener("change", apply);
  apply();
}

function startTables() {
  for (const table of document.querySelectorAll("table[id^=results-]")) {
    sortable(table);
    filterable(table);
  }
}
