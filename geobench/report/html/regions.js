// Shares by region as a table.

function showRegions() {
  const set = currentSet();
  const groups = Object.values(set.regions)[at("by").value || 0] ?? [];
  const share = Number(at("by-share").value);
  const table = at("regions");
  const heads = ["Group", "n", ...set.labels].map((text, column) => make("th", { scope: "col", class: column ? "number" : null }, text));
  const lines = groups.map((group) => make("tr", {},
    make("th", { scope: "row" }, group.name),
    make("td", { class: "number", "data-value": group.n }, group.n.toLocaleString("en")),
    ...group.shares.map((shares) => shareEntry(shares[share]))));
  table.replaceChildren(make("thead", {}, make("tr", {}, ...heads)), make("tbody", {}, ...lines.slice(0, -1)), make("tfoot", {}, ...lines.slice(-1)));
  sortable(table);
}

function shareEntry([share, low, high]) {
  if (share === null) return make("td", { class: "number" }, "");
  const entry = make("td", { class: "number share", "data-value": share }, shown(share, 1));
  if (low !== null) entry.append(make("small", {}, `[${shown(low, 1)}, ${shown(high, 1)}]`));
  if (low !== null) entry.dataset.parts = JSON.stringify({ low, high });
  entry.style.setProperty("--share", `${share}%`);
  return entry;
}
