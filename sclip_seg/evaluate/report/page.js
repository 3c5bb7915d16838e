// Sorts a table by a column when its head is clicked; without scripts the tables are as complete, in the report's order.
for (const table of document.querySelectorAll("table.sorted")) {
  const heads = [...table.tHead.rows[0].cells];
  const groups = () => (table.tBodies.length > 1 ? [...table.tBodies] : [...table.tBodies[0].rows]);
  const cellOf = (group, column) => (group.rows ? group.rows[0] : group).cells[column];
  const valueOf = (group, column) => {
    const cell = cellOf(group, column);
    const text = (cell?.dataset.value ?? cell?.textContent ?? "").trim();
    const number = Number(text);
    return text === "" || text === "–" ? null : Number.isNaN(number) ? text.toLowerCase() : number;
  };
  const before = (a, b) => (typeof a === typeof b ? (a < b ? -1 : a > b ? 1 : 0) : typeof a === "number" ? -1 : 1);
  heads.forEach((head, column) => {
    const button = document.createElement("button");
    button.append(...head.childNodes);
    button.title = "sort by this column";
    head.append(button);
    button.addEventListener("click", () => {
      const isNumeric = head.classList.contains("n");
      const was = head.getAttribute("aria-sort");
      const down = was ? was === "ascending" : isNumeric; // the highest scores first
      heads.forEach(other => other.removeAttribute("aria-sort"));
      head.setAttribute("aria-sort", down ? "descending" : "ascending");
      const keyed = groups().map(group => [valueOf(group, column), group]);
      keyed.sort(([a], [b]) => (a === null || b === null ? (a === null) - (b === null) : before(a, b) * (down ? -1 : 1)));
      const parent = table.tBodies.length > 1 ? table : table.tBodies[0];
      parent.append(...keyed.map(([, group]) => group));
    });
  });
}
