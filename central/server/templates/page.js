"use strict";
let busy = false, again = false;
// Whoever reads with the keyboard or marks something keeps the place: the change is shown when that is over.
function isHeld() {
  const main = document.querySelector("main"), selection = getSelection();
  return main.contains(document.activeElement) || (!selection.isCollapsed && main.contains(selection.anchorNode));
}
async function refresh() {
  if (busy || isHeld()) { again = true; return; }
  busy = true;
  again = false;
  try {
    const answer = await fetch(location.href);
    // Whoever is not signed in any more is led to where that is done.
    if (answer.redirected) { location.reload(); return; }
    if (answer.ok && !isHeld()) {
      const text = await answer.text();
      // The style sheet of another answer has another nonce: the browser would complain of it.
      const main = text.slice(text.indexOf("<main"), text.indexOf("</main"));
      const fresh = new DOMParser().parseFromString(main, "text/html").querySelector("main");
      for (const old of document.querySelectorAll("main details[open]")) {
        const twin = fresh.querySelector("#" + old.id);
        if (twin) twin.open = true;
      }
      const scrolled = [...document.querySelectorAll("main .scroll")].map((box) => box.scrollLeft);
      document.querySelector("main").replaceWith(fresh);
      fresh.querySelectorAll(".scroll").forEach((box, at) => { box.scrollLeft = scrolled[at] ?? 0; });
    }
  } catch { /* offline: the next change or minute tries again */ }
  busy = false;
  if (again) later();
  whenOld();
}
let waiting = 0;
function later() {
  clearTimeout(waiting);
  waiting = setTimeout(() => { if (again) refresh(); }, 300);
}
document.addEventListener("focusout", later);
document.addEventListener("selectionchange", later);
// A page that was made before says for how long it still does.
let old = 0;
function whenOld() {
  clearTimeout(old);
  const { again } = document.querySelector("main").dataset;
  if (again) old = setTimeout(refresh, Number(again) + 500);
}
whenOld();
new EventSource("/live").onmessage = refresh;
setInterval(refresh, 60000);
