"use strict";
// Keeps the page current without losing what is open, selected or focused.
(() => {
  const every = 5000;
  const button = document.getElementById("pause");
  let paused = false;

  const keys = (root) => [...root.querySelectorAll("details[data-key]")];

  function take(next) {
    const before = document.getElementById("page");
    const after = next.getElementById("page");
    const open = new Set(keys(before).filter((one) => one.open).map((one) => one.dataset.key));
    for (const one of keys(after)) one.open = open.has(one.dataset.key);
    const focused = document.activeElement?.closest("details[data-key]")?.dataset.key;
    before.replaceWith(document.adoptNode(after));
    document.getElementById("when").replaceWith(document.adoptNode(next.getElementById("when")));
    document.title = next.title;
    if (focused !== undefined) {
      keys(document).find((one) => one.dataset.key === focused)?.querySelector("summary").focus();
    }
  }

  async function refresh() {
    const selecting = !document.getSelection().isCollapsed;
    if (!paused && !document.hidden && !selecting) {
      try {
        const answer = await fetch(location.pathname, { cache: "no-store" });
        if (!answer.ok) throw new Error(String(answer.status));
        take(new DOMParser().parseFromString(await answer.text(), "text/html"));
        document.body.classList.remove("lost");
      } catch {
        document.body.classList.add("lost");
      }
    }
    setTimeout(refresh, every);
  }

  button.hidden = false;
  button.addEventListener("click", () => {
    paused = !paused;
    button.textContent = paused ? "Resume" : "Pause";
    button.setAttribute("aria-pressed", String(paused));
  });
  setTimeout(refresh, every);
})();
