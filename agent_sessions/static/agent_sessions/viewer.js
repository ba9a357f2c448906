/* Keys and the slider of a session's timeline and of its past states. Without this file the pages do the same by links. */
"use strict";

(() => {
  const OFF = "agent_sessions.keys_off";
  const kept = {
    get off() { try { return localStorage.getItem(OFF) === "1"; } catch { return false; } },
    set off(value) { try { localStorage.setItem(OFF, value ? "1" : "0"); } catch { /* not kept, then */ } },
  };
  const follow = (link) => { if (link) { location.assign(link.href); } return Boolean(link); };

  /* The slider takes the place of the field for a number; letting go of it goes there. */
  const field = document.getElementById("ags-version");
  if (field) {
    const [said] = field.form.getElementsByTagName("output");
    const [button] = field.form.getElementsByTagName("button");
    const tell = () => { said.textContent = `${field.value} of ${field.max}`; };
    const start = field.value;
    field.type = "range";
    said.hidden = false;
    button.hidden = true;
    tell();
    field.addEventListener("input", tell);
    field.addEventListener("change", () => { if (field.value !== start) { field.form.submit(); } });
    addEventListener("pageshow", () => { field.value = start; tell(); });
  }

  /* Copying the address of an entry, where the browser lets a page do that; there is a link beside it. */
  if (navigator.clipboard) {
    document.documentElement.classList.add("ags-copies");
    document.addEventListener("click", async (event) => {
      const button = event.target.closest(".ags-copy");
      if (!button) { return; }
      try {
        await navigator.clipboard.writeText(button.previousElementSibling.href);
        button.textContent = button.dataset.copied;
      } catch { button.hidden = true; /* not allowed, then */ }
    });
  }

  /* From entry to entry, and over the edge to the next page of them. */
  const story = document.querySelector(".ags-story");
  const all = () => story ? [...story.querySelectorAll(".ags-event")] : [];
  const here = (entries) => {
    const found = entries.indexOf(document.activeElement.closest(".ags-event"));
    return found >= 0 ? found : entries.findIndex((one) => one.matches(":target"));
  };
  const walk = (by) => {
    const entries = all();
    const at = here(entries);
    const next = entries[at < 0 ? (by > 0 ? 0 : entries.length - 1) : at + by];
    if (next) {
      next.focus({ preventScroll: true });
      next.scrollIntoView({ block: "nearest" });
      return true;
    }
    return follow(document.querySelector(`a[rel="${by > 0 ? "next" : "prev"}"]`));
  };
  const step = (by) => story ? walk(by) : follow(document.querySelector(`a[rel="${by > 0 ? "next" : "prev"}"]`));

  const differences = () => {
    const title = document.getElementById("differences");
    if (title) {
      const section = title.closest("section");
      section.focus({ preventScroll: true });
      section.scrollIntoView({ block: "start" });
      return true;
    }
    const entries = all();
    const entry = entries[here(entries)];
    if (entry && entry.dataset.at) { location.assign(`${entry.dataset.at}#differences`); }
    return Boolean(entry && entry.dataset.at);
  };

  const list = document.getElementById("ags-keys");
  const help = () => {
    list.open = !list.open;
    if (list.open) {
      list.scrollIntoView({ block: "nearest" });
      list.querySelector("summary").focus();
    }
    return true;
  };
  const keys = {
    j: () => step(1), ArrowRight: () => step(1), k: () => step(-1), ArrowLeft: () => step(-1), d: differences, "?": help,
  };

  if (list) {
    const button = document.getElementById("ags-keys-off");
    const say = () => { button.textContent = kept.off ? "Turn keys on" : "Turn keys off"; };
    list.hidden = false;
    say();
    button.addEventListener("click", () => { kept.off = !kept.off; say(); });
    document.addEventListener("keydown", (event) => {
      const typing = event.target.closest("input, textarea, select, [contenteditable]");
      if (typing || event.ctrlKey || event.metaKey || event.altKey || kept.off) { return; }
      if (Object.hasOwn(keys, event.key) && keys[event.key]()) { event.preventDefault(); }
    });
  }
})();
