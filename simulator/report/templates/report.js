"use strict";
// Sorting: a click on a heading; again, the other way round. What has no value stays last.
for (const table of document.querySelectorAll("table")) {
  const headings = [...table.tHead.rows[0].cells], body = table.tBodies[0];
  headings.forEach((heading, place) => {
    const button = document.createElement("button");
    button.type = "button";
    button.textContent = heading.textContent;
    heading.replaceChildren(button);
    button.addEventListener("click", () => {
      const sign = heading.getAttribute("aria-sort") === "ascending" ? -1 : 1;
      headings.forEach(other => other.removeAttribute("aria-sort"));
      heading.setAttribute("aria-sort", sign > 0 ? "ascending" : "descending");
      const isNumber = heading.classList.contains("number");
      const keyed = [...body.rows].map(row => {
        const cell = row.cells[place];
        return [isNumber ? Number(cell.dataset.value ?? NaN) : cell.textContent, row];
      });
      keyed.sort(([one], [other]) => isNumber
        ? Number.isNaN(one) - Number.isNaN(other) || sign * (one - other) || 0
        : sign * one.localeCompare(other, "en", { numeric: true }));
      body.append(...keyed.map(([, row]) => row));
    });
  });
}
// Filtering: a row stays that has all words somewhere.
for (const input of document.querySelectorAll(".filter input")) {
  const section = input.closest("section"), rows = [...section.querySelectorAll("tbody tr")];
  const texts = rows.map(row => [...row.cells].map(cell => cell.textContent).join(" ").toLowerCase());
  input.addEventListener("input", () => {
    const words = input.value.toLowerCase().split(/\s+/).filter(Boolean);
    rows.forEach((row, place) => { row.hidden = !words.every(word => texts[place].includes(word)); });
    section.querySelector("output").textContent = `${rows.filter(row => !row.hidden).length} of ${rows.length} rows`;
  });
}
// Zoom: the drawing itself moves into the dialog and back, so that its ids stay the only ones.
const zoom = document.getElementById("zoom"), room = zoom.querySelector(".scroll");
let place = null, size = 1;
const scale = factor => { size = Math.min(16, Math.max(0.5, size * factor)); zoom.style.setProperty("--zoom", size); };
for (const drawing of document.querySelectorAll(".drawing")) {
  const button = document.createElement("button");
  button.type = "button";
  button.textContent = "Enlarge";
  button.setAttribute("aria-label", `Enlarge ${drawing.parentElement.querySelector("strong").textContent}`);
  button.addEventListener("click", () => { place = drawing; size = 1; scale(1); room.append(...drawing.childNodes); zoom.showModal(); });
  drawing.parentElement.append(button);
}
zoom.addEventListener("close", () => place.append(...room.childNodes));
document.getElementById("larger").addEventListener("click", () => scale(1.5));
document.getElementById("smaller").addEventListener("click", () => scale(1 / 1.5));
document.getElementById("close").addEventListener("click", () => zoom.close());
zoom.addEventListener("keydown", event => { if (event.key === "+" || event.key === "-") scale(event.key === "+" ? 1.5 : 1 / 1.5); });
// Light or dark: as the system has it, until the button is used.
const theme = document.getElementById("theme"), root = document.documentElement;
const isDark = () => (root.dataset.theme ?? (matchMedia("(prefers-color-scheme: dark)").matches ? "dark" : "light")) === "dark";
const name = () => { theme.textContent = isDark() ? "Light" : "Dark"; };
theme.hidden = false;
name();
theme.addEventListener("click", () => { root.dataset.theme = isDark() ? "light" : "dark"; name(); });
// On paper, all is open and all rows are there.
addEventListener("beforeprint", () => document.querySelectorAll("details").forEach(details => { details.open = true; }));
