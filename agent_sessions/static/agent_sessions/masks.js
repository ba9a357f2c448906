/* What was revealed to the reader for some minutes goes from an open page when they are over. Without this file it stays
   on the page until that is loaded again. */
"use strict";

(() => {
  const notice = document.getElementById("ags-over");
  const main = document.getElementById("content-main");
  /* By how long it lasts and not by when it ends: clocks of browsers may be wrong. */
  const end = Date.now() + Number(notice.dataset.left) * 1000;
  let over = false;

  const chosen = (select) => {
    const before = [...select.options].findIndex((option) => option.defaultSelected);
    return select.multiple
      ? [...select.options].some((option) => option.selected !== option.defaultSelected)
      : select.selectedIndex !== Math.max(before, 0);
  };
  const isChanged = (field) => {
    if (field.matches("select")) { return chosen(field); }
    return field.matches("[type=checkbox], [type=radio]")
      ? field.checked !== field.defaultChecked
      : field.value !== field.defaultValue;
  };
  const sent = "sent" in notice.dataset;
  const isWritten = (form) =>
    (sent && form.matches(".ags-answer")) || [...form.querySelectorAll("input, textarea, select")].some(isChanged);

  /* Take away all of the page but what somebody is writing. */
  const clear = (part, kept) => {
    for (const child of [...part.childNodes]) {
      if (child === notice || kept.includes(child)) { continue; }
      if (kept.some((form) => child.contains(form))) { clear(child, kept); } else { child.remove(); }
    }
  };

  const mask = () => {
    if (over) { return; }
    over = true;
    const kept = [...main.querySelectorAll("form")].filter(isWritten);
    clear(main, kept);
    notice.hidden = false;
    /* What came of a form is not asked for again: it would be sent again. */
    if (!kept.length && !sent) { location.reload(); }
  };

  let timer = 0;
  const look = () => {
    clearTimeout(timer);
    const left = end - Date.now();
    if (left <= 0) { mask(); } else { timer = setTimeout(look, left); }
  };
  look();
  /* A computer that slept, and a tab that was put away, may be late. */
  document.addEventListener("visibilitychange", look);
  addEventListener("focus", look);
  /* A page that the browser kept for its way back may be of before it was masked again, or of before a logout. */
  addEventListener("pageshow", (event) => { if (event.persisted) { mask(); } });
})();
