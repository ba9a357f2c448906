/* A running session's page follows along while it is looked at. What is new comes from the page itself, asked for again,
   so that all is written in one place. Nothing that is being read moves: then a bar says what there is. */
"use strict";

(() => {
  const OFTEN = 3000;
  const SELDOM = 20000;
  const TRIES = 5;
  const OFF = "agent_sessions.live_off";
  const kept = {
    get off() { try { return localStorage.getItem(OFF) === "1"; } catch { return false; } },
    set off(value) { try { localStorage.setItem(OFF, value ? "1" : "0"); } catch { /* not kept, then */ } },
  };
  const box = document.getElementById("ags-live");
  const words = box.dataset;
  const button = document.getElementById("ags-live-switch");
  const said = document.getElementById("ags-live-said");
  const bar = document.getElementById("ags-news");
  const known = { etag: words.etag, seq: Number(words.seq), version: Number(words.version) };
  let wait = OFTEN;
  let failed = 0;
  let timer = 0;
  let asking = false;
  let over = false;
  let show = null;
  let newest = { ...known };
  let firstUnseen = null;

  const say = (text) => { if (said.textContent !== text) { said.textContent = text; } };
  /* Offer what is not shown yet; without words there is nothing. */
  const offer = (text, action) => {
    show = action;
    bar.firstElementChild.textContent = text;
    bar.hidden = !text;
  };
  const nothingLeft = () => {
    offer("", null);
    known.seq = newest.seq;
    known.version = newest.version;
    firstUnseen = null;
  };
  const stop = (text) => {
    over = true;
    clearTimeout(timer);
    box.classList.add("ags-still");
    button.hidden = true;
    say(text);
  };
  const later = (time) => {
    clearTimeout(timer);
    if (!over && !kept.off && !document.hidden) { timer = setTimeout(ask, time); }
  };

  /* The reader's hand: a focus or a selection. */
  const inUse = (part) => {
    const selection = getSelection();
    const chosen = selection.rangeCount > 0 && !selection.isCollapsed && selection.getRangeAt(0).intersectsNode(part);
    return chosen || part.contains(document.activeElement);
  };

  /* Exchange the parts that stay where they are for the reader; return those that would move what is in view. */
  const exchange = (fresh, evenInView) => {
    const left = [];
    for (const part of document.querySelectorAll("[data-live]")) {
      const other = fresh.querySelector(`[data-live="${part.dataset.live}"]`);
      if (!other || part.isEqualNode(other)) { continue; }
      if (!evenInView && inUse(part)) { left.push(part); continue; }
      const made = document.importNode(other, true);
      const folds = part.querySelectorAll("details");
      made.querySelectorAll("details").forEach((fold, number) => { fold.open = folds[number]?.open ?? fold.open; });
      const before = part.getBoundingClientRect();
      const place = scrollY;
      part.replaceWith(made);
      const moves = Math.abs(made.getBoundingClientRect().height - before.height) > 1 && before.top < innerHeight;
      if (!evenInView && moves) {
        made.replaceWith(part);
        scrollTo({ top: place, behavior: "instant" });
        left.push(part);
      }
    }
    return left;
  };

  /* Put what is new below the story. */
  const append = (fresh, news) => {
    const story = document.querySelector(".ags-story");
    const other = fresh.querySelector(".ags-story");
    if (!other) { return nothingLeft(); }
    const entries = [...other.querySelectorAll(".ags-event")];
    const isNew = (entry) => !document.getElementById(entry.id);
    if (!story || (entries.every(isNew) && other.dataset.earlier)) {
      return offer(news.said, () => location.assign(words.page));
    }
    const added = entries.filter(isNew);
    if (!added.length) { return bar.hidden ? nothingLeft() : undefined; }
    const last = story.lastElementChild;
    const atEnd = last.getBoundingClientRect().bottom <= innerHeight + 2 && !inUse(story);
    story.querySelectorAll(".ags-fresh").forEach((entry) => entry.classList.remove("ags-fresh"));
    for (const item of [...other.children]) {
      const inside = [...item.querySelectorAll(".ags-event")];
      const there = inside.find((entry) => !isNew(entry));
      const next = inside.length ? inside : [...(item.nextElementSibling?.querySelectorAll(".ags-event") ?? [])];
      if (there) {
        const group = document.getElementById(there.id).closest("li");
        group.className = item.className;
        group.append(...inside.filter(isNew).map((entry) => document.importNode(entry, true)));
      } else if (next.length && next.every(isNew)) {
        story.append(document.importNode(item, true));
      }
    }
    const made = added.map((entry) => document.getElementById(entry.id));
    made.forEach((entry) => entry.classList.add("ags-fresh"));
    if (atEnd) {
      made.at(-1).scrollIntoView({ block: "nearest", behavior: "instant" });
      return nothingLeft();
    }
    firstUnseen ??= made[0];
    offer(news.said, () => {
      const entry = firstUnseen;
      nothingLeft();
      entry.focus({ preventScroll: true });
      entry.scrollIntoView({ block: "nearest", behavior: "instant" });
    });
  };

  /* Show what is new, or offer it; return whether it could be read. */
  const take = async (news) => {
    newest = { seq: news.seq, version: news.version };
    if (words.way === "version") {
      if (news.version_said) { offer(news.version_said, () => location.assign(words.page)); say(news.version_said); }
      return true;
    }
    const fresh = await load();
    if (!fresh) { return false; }
    const left = exchange(fresh, false);
    if (words.way === "story") {
      append(fresh, news);
    } else if (left.length) {
      offer(news.said || words.changed, () => {
        exchange(fresh, true);
        nothingLeft();
        button.focus({ preventScroll: true });
      });
    } else {
      nothingLeft();
    }
    say(news.said);
    return true;
  };

  const get = async (address, headers = {}) => {
    const answer = await fetch(address, { headers, redirect: "manual", cache: "no-store", credentials: "same-origin" });
    if (answer.type === "opaqueredirect") { stop(words.login); return null; }
    if (answer.status === 403 || answer.status === 404) { stop(words.forbidden); return null; }
    if (!answer.ok && answer.status !== 304) { throw new Error(answer.status); }
    return answer;
  };
  const load = async () => {
    const answer = await get(words.page);
    return answer && new DOMParser().parseFromString(await answer.text(), "text/html");
  };

  const ask = async () => {
    if (asking) { return; }
    asking = true;
    try {
      const address = `${words.url}?seq=${known.seq}&version=${known.version}`;
      const answer = await get(address, { "If-None-Match": known.etag });
      if (answer && answer.status === 304) {
        wait = Math.min(wait * 1.3, SELDOM);
      } else if (answer) {
        const news = await answer.json();
        if (await take(news)) {
          known.etag = answer.headers.get("ETag");
          wait = OFTEN;
          if (news.over) { stop(news.over); }
        }
      }
      failed = 0;
    } catch {
      failed += 1;
      wait = Math.min(wait * 2, SELDOM);
      if (failed >= TRIES) { stop(words.lost); }
    }
    asking = false;
    later(wait);
  };

  const set = () => {
    button.setAttribute("aria-pressed", String(!kept.off));
    box.classList.toggle("ags-still", kept.off);
    say(kept.off ? words.off : words.on);
  };
  button.addEventListener("click", () => {
    kept.off = !kept.off;
    set();
    later(0);
  });
  bar.lastElementChild.addEventListener("click", () => show());
  addEventListener("scroll", () => {
    if (firstUnseen && firstUnseen.getBoundingClientRect().bottom <= innerHeight) { nothingLeft(); }
  }, { passive: true });
  document.addEventListener("visibilitychange", () => later(0));
  addEventListener("pageshow", (event) => { if (event.persisted) { later(0); } });
  box.hidden = false;
  set();
  later(wait);
})();
