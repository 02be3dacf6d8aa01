// Everything here adds to a page that can be read without it.
"use strict";

(() => {
  const byId = (id) => document.getElementById(id);

  // The index: which files are shown, and in which order.
  const table = byId("file-table");
  if (table) {
    const body = table.tBodies[0];
    const rows = [...body.rows];
    const form = byId("filter");
    const name = byId("filter-name");
    const never = byId("filter-never");
    const bad = byId("filter-bad");

    const filter = () => {
      const words = name.value.toLowerCase().split(/\s+/).filter(Boolean);
      let shown = 0;
      for (const row of rows) {
        const text = row.dataset.name.toLowerCase();
        const fits = words.every((word) => text.includes(word))
          && (!never.checked || row.dataset.never !== "0")
          && (!bad.checked || row.dataset.bad !== "0");
        row.hidden = !fits;
        shown += fits;
      }
      byId("filter-count").textContent = `${shown} of ${rows.length} files`;
    };
    form.hidden = false;
    form.addEventListener("input", filter);
    form.addEventListener("submit", (event) => event.preventDefault());
    filter();

    const value = (row, column, isNumber) => {
      const cell = row.cells[column];
      if (!isNumber) return row.dataset.name;
      return Number.parseFloat(cell.dataset.value ?? cell.textContent);
    };
    const sort = (heading) => {
      const column = heading.cellIndex;
      const isNumber = heading.dataset.sort === "number";
      const before = heading.getAttribute("aria-sort");
      // Numbers begin with the largest: that is what one looks for.
      const first = isNumber ? "descending" : "ascending";
      const other = isNumber ? "ascending" : "descending";
      const order = before === first ? other : first;
      for (const each of table.tHead.rows[0].cells) each.removeAttribute("aria-sort");
      heading.setAttribute("aria-sort", order);
      const sign = order === "ascending" ? 1 : -1;
      rows.sort((one, two) => {
        const [a, b] = [value(one, column, isNumber), value(two, column, isNumber)];
        return sign * (isNumber ? a - b : a.localeCompare(b));
      });
      body.append(...rows);
    };
    for (const heading of table.querySelectorAll("th[data-sort]")) {
      const button = document.createElement("button");
      button.type = "button";
      button.append(...heading.childNodes);
      button.addEventListener("click", () => sort(heading));
      heading.append(button);
    }
  }

  // A source's page: its trials, opened together or by a link to their line.
  const tools = byId("page-tools");
  if (tools) {
    const all = document.querySelectorAll(".source details");
    if (all.length) {
      tools.hidden = false;
      const set = (open) => () => all.forEach((details) => { details.open = open; });
      byId("open-all").addEventListener("click", set(true));
      byId("close-all").addEventListener("click", set(false));
    }
    const openTarget = () => {
      const row = byId(decodeURIComponent(location.hash.slice(1)));
      const details = row && row.querySelector("details");
      if (details) details.open = true;
    };
    window.addEventListener("hashchange", openTarget);
    openTarget();
  }
})();
