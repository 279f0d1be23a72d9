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

  const data = document.getElementById("rlsuite-data");
  const runs = document.querySelector("#runs table");
  if (!runs) return;
  document.querySelector("#runs .tools").hidden = false;

  const filter = document.getElementById("filter");
  const shown = document.getElementById("shown");
  filter.addEventListener("input", () => {
    const words = filter.value.toLowerCase().split(/\s+/).filter(Boolean);
    let count = 0;
    for (const row of runs.tBodies[0].rows) {
      const cells = [...row.cells].map((cell) => cell.textContent.trim().toLowerCase());
      const text = `${cells.join(" ")} seed ${cells[2]}`;
      row.hidden = !words.every((word) => text.includes(word));
      count += !row.hidden;
    }
    shown.textContent = words.length ? `${count} of ${runs.tBodies[0].rows.length} runs` : "";
  });

  document.getElementById("download").addEventListener("click", () => {
    const link = document.createElement("a");
    link.href = URL.createObjectURL(new Blob([data.textContent], { type: "application/json" }));
    link.download = "rlsuite-report.json";
    link.click();
    URL.revokeObjectURL(link.href);
  });
})();
