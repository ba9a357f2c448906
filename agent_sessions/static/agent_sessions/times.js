/* Times in the reader's own zone; UTC stays in their titles. Without this file they stand in the site's zone. */
"use strict";

(() => {
  const LETTERS = { j: "day", M: "month", Y: "year", H: "hour", i: "minute", s: "second" };
  const own = new Intl.DateTimeFormat(document.documentElement.lang || undefined, {
    day: "numeric", month: "short", year: "numeric", hour: "2-digit", minute: "2-digit", second: "2-digit", hourCycle: "h23",
  });
  const rewrite = (time) => {
    const found = own.formatToParts(new Date(time.getAttribute("datetime")));
    const parts = Object.fromEntries(found.map((part) => [part.type, part.value]));
    const shown = time.dataset.pattern.replace(/[a-z]/gi, (letter) => parts[LETTERS[letter]] ?? letter);
    if (time.textContent !== shown) { time.textContent = shown; }
  };
  const rewriteAll = () => document.querySelectorAll("[data-pattern]").forEach(rewrite);

  rewriteAll();
  new MutationObserver(rewriteAll).observe(document.body, { childList: true, subtree: true });
})();
