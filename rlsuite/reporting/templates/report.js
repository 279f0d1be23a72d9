"use strict";
// Sorting and filtering. The page is whole without this.
(() => {
  const key = (row, column) => {
    const raw = row.cells[column].dataset.sort;
    if (raw === undefined) return null;
    const number = Number(raw);
    return raw !== "" && Number.isFinite(number) ? number : raw;
  };
  const compare = (a, b) =>
    typeof a === "number" && typeof b === "number" ? a - b : String(a).localeCompare(String(b));

  const sort = (table, column, descending) => {
    const body = table.tBodies[0];
    const rows = [...body.rows];
    const keyed = rows.map((row, index) => ({ row, index, value: key(row, column) }));
    keyed.sort((a, b) => {
      if (a.value === null || b.value === null) {
        return (a.value === null) - (b.value === null) || a.index - b.index; // blanks last
      }
      const order = compare(a.value, b.value);
      return (descending ? -order : order) || a.index - b.index;
    });
    body.append(...keyed.map((item) => item.row));
  };

  for (const table of document.querySelectorAll("table.sortable")) {
    const heads = [...table.tHead.rows[0].cells];
    heads.forEach((head, column) => {
      if (!head.textContent.trim()) return;
      const button = document.createElement("button");
      button.type = "button";
      button.append(...head.childNodes);
      head.append(button);
      button.addEventListener("click", () => {
        const before = head.getAttribute("aria-sort");
        const text = head.classList.contains("text") || head.classList.contains("rank");
        const descending = before ? before === "ascending" : !text;
        heads.forEach((other) => other.removeAttribute("aria-sort"));
        head.setAttribute("aria-sort", descending ? "descending" : "ascending");
        sort(table, column, descending);
      });
    });
  }

  // A filter for each section that offers one: a row stays if it holds every word, or `seed=3`.
  for (const section of document.querySelectorAll("section")) {
    const tools = section.querySelector(".tools");
    if (!tools) continue;
    tools.hidden = false;
    const shown = tools.querySelector(".shown");
    const rows = [...section.querySelectorAll("table.sortable tbody tr")];
    const texts = rows.map((row) => {
      const heads = row.closest("table").tHead.rows[0].cells;
      return [...row.cells]
        .map((cell, column) => {
          const words = cell.textContent.trim();
          return `${words} ${heads[column].textContent.trim()}=${words}`.toLowerCase();
        })
        .join(" ");
    });
    tools.querySelector("input").addEventListener("input", (event) => {
      const words = event.target.value.toLowerCase().split(/\s+/).filter(Boolean);
      let count = 0;
      rows.forEach((row, index) => {
        row.hidden = !words.every((word) => texts[index].includes(word));
        count += !row.hidden;
      });
      for (const card of section.querySelectorAll("article")) {
        card.hidden = words.length > 0 && !card.querySelector("tbody tr:not([hidden])");
      }
      shown.textContent = words.length ? `${count} of ${rows.length} lines` : "";
    });
  }

  const download = document.getElementById("download");
  if (!download) return;
  download.addEventListener("click", () => {
    const data = document.getElementById("rlsuite-data").textContent;
    const link = document.createElement("a");
    link.href = URL.createObjectURL(new Blob([data], { type: "application/json" }));
    link.download = "rlsuite-report.json";
    link.click();
    URL.revokeObjectURL(link.href);
  });
})();
