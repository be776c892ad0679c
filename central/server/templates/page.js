"use strict";
let busy = false, again = false;
async function refresh() {
  if (busy) { again = true; return; }
  busy = true;
  try {
    const answer = await fetch(location.href);
    if (answer.ok) {
      const text = await answer.text();
      // The style sheet of another answer has another nonce: the browser would complain of it.
      const main = text.slice(text.indexOf("<main"), text.indexOf("</main"));
      const fresh = new DOMParser().parseFromString(main, "text/html").querySelector("main");
      for (const old of document.querySelectorAll("details[open]")) {
        const twin = fresh.querySelector("#" + old.id);
        if (twin && !old.classList.contains("list")) twin.open = true;
      }
      document.querySelector("main").replaceWith(fresh);
    }
  } catch { /* offline: the next change or minute tries again */ }
  busy = false;
  if (again) { again = false; refresh(); }
}
new EventSource("/live").onmessage = refresh;
setInterval(refresh, 60000);
