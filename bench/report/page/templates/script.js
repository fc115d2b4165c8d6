"use strict";
// Sorting, filtering and the choice of light or dark. Without it the page shows the same, in the order it was written.
(function () {
  function entryOf(row, index) { return row.children[index]; }

  function compare(one, other, direction) {
    const a = one.dataset.value ?? "", b = other.dataset.value ?? "";
    if (a === "" || b === "") return (a === "") - (b === ""); // what has no number stands last, either way
    const x = Number(a), y = Number(b);
    const order = Number.isNaN(x) || Number.isNaN(y) ? a.localeCompare(b) : x - y;
    return direction === "ascending" ? order : -order;
  }

  function sort(table, head, index) {
    const now = head.getAttribute("aria-sort");
    const first = head.dataset.first || "ascending";
    const other = first === "ascending" ? "descending" : "ascending";
    const direction = now === first ? other : first;
    for (const one of table.tHead.rows[0].cells) one.removeAttribute("aria-sort");
    head.setAttribute("aria-sort", direction);
    const body = table.tBodies[0];
    const rows = Array.from(body.rows);
    rows.sort((a, b) => compare(entryOf(a, index), entryOf(b, index), direction));
    body.append(...rows);
  }

  function makeSortable(table) {
    Array.from(table.tHead.rows[0].cells).forEach((head, index) => {
      const button = document.createElement("button");
      button.type = "button";
      button.append(...head.childNodes);
      head.append(button);
      button.addEventListener("click", () => sort(table, head, index));
    });
  }

  function makeFilter(form) {
    const table = document.getElementById(form.dataset.table);
    const rows = Array.from(table.tBodies[0].rows);
    const count = form.querySelector(".count");
    const words = new Map(rows.map((row) => [row, row.textContent.toLowerCase()]));
    function apply() {
      const text = form.querySelector("input").value.trim().toLowerCase();
      let shown = 0;
      for (const row of rows) {
        let fits = words.get(row).includes(text);
        for (const choice of form.querySelectorAll("select")) {
          const has = (row.getAttribute("data-" + choice.name) ?? "").split("\n"); // a pair is chosen by either of the two
          if (choice.value && !has.includes(choice.value)) fits = false;
        }
        row.hidden = !fits;
        shown += fits;
      }
      count.textContent = shown + " of " + rows.length + " rows";
    }
    form.addEventListener("input", apply);
    form.addEventListener("submit", (event) => event.preventDefault());
    form.addEventListener("reset", () => setTimeout(apply));
    form.hidden = false;
    apply();
  }

  function sayWhatScrolls() {
    for (const hint of document.querySelectorAll(".scrolls")) {
      const frame = hint.nextElementSibling;
      hint.hidden = frame.scrollWidth <= frame.clientWidth + 1;
    }
  }

  function openFor(hash) {
    let target;
    try { target = hash.length > 1 && document.getElementById(decodeURIComponent(hash.slice(1))); } catch { return; }
    if (!target) return;
    for (let part = target; part; part = part.parentElement) if (part.tagName === "DETAILS") part.open = true;
    target.scrollIntoView();
  }

  function makeThemes(button) {
    const root = document.documentElement;
    const prefers = window.matchMedia("(prefers-color-scheme: dark)");
    function kept(value) {
      try { return value === undefined ? localStorage.getItem("theme") : localStorage.setItem("theme", value); } catch { return null; }
    }
    function isDark() { return root.dataset.theme ? root.dataset.theme === "dark" : prefers.matches; }
    function say() { button.textContent = isDark() ? "Light page" : "Dark page"; }
    const before = kept();
    if (before === "dark" || before === "light") root.dataset.theme = before;
    button.addEventListener("click", () => { root.dataset.theme = isDark() ? "light" : "dark"; kept(root.dataset.theme); say(); });
    prefers.addEventListener("change", say);
    button.hidden = false;
    say();
  }

  document.querySelectorAll("table[data-sortable]").forEach(makeSortable);
  document.querySelectorAll("form.filters").forEach(makeFilter);
  makeThemes(document.getElementById("theme"));
  window.addEventListener("hashchange", () => openFor(location.hash));
  openFor(location.hash);
  sayWhatScrolls();
  window.addEventListener("resize", sayWhatScrolls);
  document.querySelectorAll("details").forEach((part) => part.addEventListener("toggle", sayWhatScrolls));
  let opened = [];
  window.addEventListener("beforeprint", () => {
    opened = Array.from(document.querySelectorAll("details:not([open]):not(.long)"));
    opened.forEach((part) => { part.open = true; });
  });
  window.addEventListener("afterprint", () => opened.forEach((part) => { part.open = false; }));
})();
