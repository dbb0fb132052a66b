// Hides the methods that the answers rule out; without it the page is a list of all.
const form = document.getElementById("chooser");
const sections = [...document.querySelectorAll("article h2")].map((head, place) => {
  const tableOf = (node) => (node.matches("table") ? node : node.querySelector("table"));
  const parts = [];
  for (let node = head.nextElementSibling; node && !node.matches("h2, script"); node = node.nextElementSibling)
    parts.push(node);
  const rows = parts.map(tableOf).filter(Boolean).flatMap((table) => [...table.tBodies[0].rows]);
  return {need: ["no", "yes", "labelled"][place], parts: [head, ...parts], rows};
});
function choose() {
  const asked = [...form.querySelectorAll("select")].filter((one) => one.value);
  let count = 0, all = 0;
  for (const {need, parts, rows} of sections) {
    for (const row of rows) {
      row.hidden = !asked.every(({dataset, value}) =>
        dataset.of === "need"
          ? value.split(" ").includes(need)
          : row.cells[dataset.of].textContent.split(", ").includes(value));
      count += !row.hidden;
      all += 1;
    }
    const empty = rows.every((row) => row.hidden);
    for (const part of parts) part.hidden = empty;
  }
  document.getElementById("chosen").textContent =
    count ? `${count} of ${all} methods are left.` : "No method is left: one answer has to give.";
}
form.addEventListener("change", choose);
form.hidden = false;
choose();
