// The table of all organs: sort by a click on a column, filter by words and by outcome.
"use strict";

const table = document.getElementById("overview");
const body = table.tBodies[0];
const rows = Array.from(body.rows);
const search = document.getElementById("search");
const show = document.getElementById("show");
const shown = document.getElementById("shown");

function filter() {
  const words = search.value.toLowerCase().split(/\s+/).filter(Boolean);
  let count = 0;
  for (const row of rows) {
    const text = row.textContent.toLowerCase();
    const wanted = !show.value || Number(row.dataset[show.value]) > 0;
    row.hidden = !(wanted && words.every((word) => text.includes(word)));
    count += row.hidden ? 0 : 1;
  }
  shown.textContent = `${count} of ${rows.length} organs`;
}

// A dash is no number: such rows stay last in both directions.
function compare(first, second, column, numeric, sign) {
  const [a, b] = [first, second].map((row) => row.cells[column].textContent.trim());
  if (!numeric) return sign * a.localeCompare(b, undefined, { numeric: true });
  const [x, y] = [parseFloat(a), parseFloat(b)];
  if (Number.isNaN(x) || Number.isNaN(y)) return Number.isNaN(x) - Number.isNaN(y);
  return sign * (x - y);
}

table.tHead.addEventListener("click", (event) => {
  const button = event.target.closest("button[data-sort]");
  if (!button) return;
  const head = button.parentElement;
  const numeric = button.dataset.sort === "number";
  // Numbers begin with the largest: that is what one looks for.
  const before = head.getAttribute("aria-sort");
  const descending = before ? before === "ascending" : numeric;
  for (const other of table.tHead.rows[0].cells) other.removeAttribute("aria-sort");
  head.setAttribute("aria-sort", descending ? "descending" : "ascending");
  rows.sort((a, b) => compare(a, b, head.cellIndex, numeric, descending ? -1 : 1));
  body.append(...rows);
});

document.getElementById("filters").addEventListener("submit", (event) => event.preventDefault());
search.addEventListener("input", filter);
show.addEventListener("change", filter);
filter();
