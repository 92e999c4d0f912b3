"use strict";
const table = document.getElementById("list"), body = table.tBodies[0], rows = [...body.rows];
const filter = document.getElementById("filter"), all = document.getElementById("all");
const texts = new Map(rows.map((row) => [row, row.textContent.toLowerCase()]));
function show() {
  const words = filter.value.toLowerCase().split(/\s+/).filter(Boolean);
  let shown = 0;
  for (const row of rows) {
    const wanted = (all.checked || row.dataset.state === "open") && words.every((word) => texts.get(row).includes(word));
    row.hidden = !wanted;
    shown += wanted ? 1 : 0;
  }
  document.getElementById("count").textContent = `${shown} shown`;
}
function key(row, column) {
  const cell = row.cells[column];
  return cell.dataset.key === undefined ? cell.textContent : Number(cell.dataset.key);
}
[...table.tHead.rows[0].cells].forEach((head, column) => head.addEventListener("click", () => {
  const up = head.getAttribute("aria-sort") !== "ascending";
  for (const other of table.tHead.rows[0].cells) other.removeAttribute("aria-sort");
  head.setAttribute("aria-sort", up ? "ascending" : "descending");
  rows.sort((a, b) => {
    const x = key(a, column), y = key(b, column);
    return (x < y ? -1 : x > y ? 1 : 0) * (up ? 1 : -1);
  });
  body.append(...rows);
}));
filter.addEventListener("input", show);
all.addEventListener("change", show);
for (const link of document.querySelectorAll("[data-owner]")) {
  link.addEventListener("click", () => { filter.value = link.dataset.owner; show(); });
}
show();
