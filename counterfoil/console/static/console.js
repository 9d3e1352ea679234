/* Small conveniences of the console's pages; every page works without them. */
"use strict";

function showCopyButtons(root) {
  if (!navigator.clipboard) return;
  for (const button of root.querySelectorAll("button[data-copy][hidden]")) button.hidden = false;
}

document.addEventListener("DOMContentLoaded", () => showCopyButtons(document));
document.addEventListener("htmx:load", (event) => showCopyButtons(event.detail.elt));

document.addEventListener("click", async (event) => {
  const button = event.target.closest("button[data-copy]");
  if (!button) return;
  await navigator.clipboard.writeText(button.dataset.copy);
  button.textContent = "copied";
  setTimeout(() => { button.textContent = "copy"; }, 1500);
});

/* A form is sent once: what it starts may take a while. */
document.addEventListener("submit", (event) => {
  const form = event.target;
  if (form.method !== "post" || /\/people\/(export|forget)$/.test(form.action)) return;
  for (const button of form.querySelectorAll("button[type=submit]")) {
    setTimeout(() => { button.disabled = true; button.setAttribute("aria-busy", "true"); });
  }
});
addEventListener("pageshow", (event) => {
  if (!event.persisted) return;
  for (const button of document.querySelectorAll("button[aria-busy]")) { button.disabled = false; button.removeAttribute("aria-busy"); }
});

/* A step of a walk swaps the page's main part. htmx itself takes no links within SVG. */
document.addEventListener("click", (event) => {
  const link = event.target.closest(".walk a");
  if (!link || !window.htmx || event.button || event.metaKey || event.ctrlKey || event.shiftKey || event.altKey) return;
  event.preventDefault();
  const source = link.closest("[data-walk]");
  htmx.ajax("GET", link.getAttribute("href"), { source, target: "#main", select: "#main", swap: "outerHTML" });
});

/* A walk goes on by keyboard where it was: the new page's heading is read, the focus is on the page. */
document.addEventListener("htmx:afterSettle", (event) => {
  if (event.detail.target?.id === "main") { // what comes back from history has none
    const main = document.getElementById("main");
    main.focus({ preventScroll: true });
    scrollTo(0, 0);
  }
});
