/* Progressive enhancement only: every page works without this file. */
// Spoken by screen readers: a region that stays, for those that are swapped fall silent.
const say = (words) => {
  const region = document.getElementById("says");
  if (region) region.textContent = words;
};
// Of a countdown: its start, half a minute, the last ten seconds, the end; not each second, nor again after a swap.
const told = new Map();
const tell = (name, s) => {
  const part = !s ? 3 : s <= 10 ? 2 : s <= 30 ? 1 : 0, before = told.get(name);
  if (!name || before >= part) return;
  told.set(name, part);
  const left = s < 100 ? s + " seconds" : Math.round(s / 60) + " minutes";
  say(!s ? "Time is up for " + name + "." : (before === undefined ? name + " is on trial. " : "") + left + " left to keep it.");
};
const enhance = (root) => {
  for (const b of root.querySelectorAll("[data-copy][hidden]")) b.hidden = false;
  for (const c of root.querySelectorAll("[data-since]:not([data-going])")) {
    c.dataset.going = "";
    const from = performance.now() - 1000 * c.dataset.since;
    const t = setInterval(() => {
      if (!c.isConnected) return clearInterval(t);
      const s = Math.floor((performance.now() - from) / 1000), h = Math.floor(s / 3600);
      const two = (n) => String(n).padStart(2, "0");
      c.textContent = (h ? h + ":" + two(Math.floor(s / 60) % 60) : Math.floor(s / 60)) + ":" + two(s % 60);
    }, 500);
  }
  // A time that runs out: the server said how much is left, and is asked again when it is over.
  for (const c of root.querySelectorAll("[data-until]:not([data-going])")) {
    c.dataset.going = "";
    const end = performance.now() + 1000 * c.dataset.until, bar = document.getElementById(c.dataset.bar);
    const t = setInterval(() => {
      if (!c.isConnected) return clearInterval(t);
      const s = Math.max(0, Math.ceil((end - performance.now()) / 1000));
      c.textContent = s < 100 ? s + " s" : Math.floor(s / 60) + ":" + String(s % 60).padStart(2, "0");
      if (bar) bar.value = s;
      tell(c.dataset.name, s);
      if (!s) { clearInterval(t); c.dispatchEvent(new Event("over", { bubbles: true })); }
    }, 200);
  }
  for (const p of root.querySelectorAll("pre.tail")) p.scrollTop = p.scrollHeight;
};
document.addEventListener("click", async (event) => {
  const b = event.target.closest("[data-copy]");
  if (b) {
    await navigator.clipboard.writeText(document.getElementById(b.dataset.copy).textContent.trim());
    const was = b.textContent;
    b.textContent = "Copied";
    setTimeout(() => { b.textContent = was; }, 1500);
  }
  // A link that proposes a value fills the field it names; what else was typed stays.
  const f = event.target.closest("[data-fill]");
  if (f) {
    event.preventDefault();
    const field = document.getElementById(f.dataset.fill);
    field.value = f.textContent.trim();
    field.focus();
  }
  // A menu closes when one clicks elsewhere.
  for (const menu of document.querySelectorAll("details.menu[open]")) if (!menu.contains(event.target)) menu.open = false;
});
// The policy grid: arrow keys go from cell to cell.
const STEP = { ArrowLeft: [0, -1], ArrowRight: [0, 1], ArrowUp: [-1, 0], ArrowDown: [1, 0] };
document.addEventListener("keydown", (event) => {
  const cell = STEP[event.key] && event.target.closest(".mx td");
  if (!cell || event.altKey || event.ctrlKey || event.metaKey) return;
  const [down, right] = STEP[event.key], rows = cell.closest("tbody").rows;
  let row = cell.parentElement.sectionRowIndex, column = cell.cellIndex, link;
  do { row += down; column += right; link = rows[row]?.cells[column]?.querySelector("a"); } while (!link && rows[row]?.cells[column]);
  if (link) { event.preventDefault(); link.focus(); }
});
document.addEventListener("keydown", (event) => {
  const menu = event.key === "Escape" && document.querySelector("details.menu[open]");
  if (menu) { menu.open = false; menu.querySelector("summary").focus(); }
});
document.addEventListener("htmx:load", (event) => {
  const swapped = event.detail.elt;
  enhance(swapped);
  if (swapped === document.body) return;
  const said = swapped.matches("[data-say]") ? swapped : swapped.querySelector("[data-say]");
  if (said) say(said.textContent.trim().replace(/\s+/g, " "));
});
// A swap must not close what the reader has opened.
let opened = [];
document.addEventListener("htmx:beforeSwap", () => { opened = [...document.querySelectorAll("details[id][open]")].map((d) => d.id); });
document.addEventListener("htmx:afterSwap", () => { for (const id of opened) document.getElementById(id)?.setAttribute("open", ""); });
enhance(document);
document.querySelector(".nav [aria-current]")?.scrollIntoView({ inline: "center", block: "nearest" });
