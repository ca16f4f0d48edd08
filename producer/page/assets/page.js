// Makes the page live. Everything works without it, by links, forms and reloading.
"use strict";

const opened = performance.now();
const all = (selector, within = document) => within.querySelectorAll(selector);

// Times in the reader's own time zone.
function localise(within) {
  for (const time of all("time[datetime]", within)) {
    const at = new Date(time.dateTime);
    const sameDay = at.toDateString() === new Date().toDateString();
    time.title = time.textContent;
    time.textContent = sameDay ? at.toLocaleTimeString() : at.toLocaleString([], { dateStyle: "medium", timeStyle: "short" });
  }
}

// Live regions: when the server says that something changed, the page asks for itself again and swaps what differs.
let shown = {};
let asked = opened;
let stream = null;
const regions = (page) => Object.fromEntries([...all("[data-region]", page)].map((region) => [region.id, region.outerHTML]));

async function refresh() {
  asked = performance.now();
  const reply = await fetch(location.href, { headers: { accept: "text/html" } }).catch(() => null);
  if (!reply || reply.status === 429 || reply.status >= 500) return; // the next change asks again
  if (!reply.ok) return location.reload(); // to sign in, or to read why
  const page = new DOMParser().parseFromString(await reply.text(), "text/html");
  const fresh = regions(page);
  for (const [id, html] of Object.entries(fresh)) {
    const old = document.getElementById(id);
    if (!old || shown[id] === html || isInUse(old)) continue;
    shown[id] = html;
    swap(old, page.getElementById(id));
  }
  if (!page.body.dataset.live) close();
}

const isInUse = (region) => region.contains(document.activeElement) && document.activeElement.matches("input, textarea, select, video");

// What a keyboard stops at, and that says the same as another element.
function alike(region, other) {
  const words = (each) => `${each.tagName} ${each.getAttribute("href") ?? each.textContent}`;
  return [...all("a:not([tabindex]), button, summary", region)].filter((each) => words(each) === words(other));
}

function swap(old, fresh) {
  const open = [...all("details[open]", old)].map((details) => details.id);
  const focused = document.activeElement;
  const at = alike(old, focused).indexOf(focused);
  for (const picture of all("img", fresh)) { // one that is loaded stays
    const same = old.querySelector(`img[src="${CSS.escape(picture.getAttribute("src"))}"]`);
    if (same) picture.replaceWith(same);
  }
  old.replaceWith(fresh);
  for (const id of open) if (id) document.getElementById(id)?.setAttribute("open", "");
  localise(fresh);
  if (at >= 0) alike(fresh, focused)[at]?.focus({ preventScroll: true });
  bars();
}

function close() {
  stream?.close();
  stream = null;
}

function listen() {
  const url = document.body.dataset.live;
  if (!url || document.hidden || stream) return;
  stream = new EventSource(url);
  stream.addEventListener("change", refresh);
}

if (document.body.dataset.live) {
  shown = regions(document);
  listen();
  // A hidden page costs the server nothing.
  document.addEventListener("visibilitychange", () => {
    if (document.hidden) return close();
    refresh();
    listen();
  });
  setInterval(() => {
    if (stream && performance.now() - asked > 1000 * document.body.dataset.again) refresh();
  }, 1000);
}

// ETA bars move between two answers of the server.
function bars() {
  const since = (performance.now() - asked) / 1000;
  for (const bar of all("svg.eta")) {
    const done = Math.min((Number(bar.dataset.elapsed) + since) / Number(bar.dataset.total), 1);
    bar.querySelector(".done").setAttribute("width", `${(100 * done).toFixed(2)}%`);
  }
}
setInterval(bars, 1000);

// Posters play their previews: on hover and focus, and at the first tap.
function play(poster, isOn) {
  const picture = poster.querySelector("img");
  if (!picture) return;
  picture.dataset.still ??= picture.src;
  poster.classList.toggle("playing", isOn);
  picture.src = isOn ? poster.dataset.preview : picture.dataset.still;
}
const posterOf = (event) => event.target.closest?.("[data-preview]");
for (const [name, isOn] of [["pointerover", true], ["pointerout", false], ["focusin", true], ["focusout", false]]) {
  document.addEventListener(name, (event) => {
    const poster = posterOf(event);
    if (!poster || event.pointerType === "touch" || poster.contains(event.relatedTarget)) return;
    if (poster.classList.contains("playing") !== isOn) play(poster, isOn);
  });
}
let touched = false;
document.addEventListener("pointerdown", (event) => { touched = event.pointerType === "touch"; }, true);
document.addEventListener("click", (event) => {
  const poster = posterOf(event);
  if (!poster || !touched || poster.dataset.tapped) return;
  event.preventDefault();
  for (const other of all("[data-tapped]")) { delete other.dataset.tapped; play(other, false); }
  poster.dataset.tapped = "yes";
  play(poster, true);
});

// The gallery goes on by itself for ten pages; from there its link does.
let pages = 0;
const gallery = document.querySelector("[data-endless]");
if (gallery && "IntersectionObserver" in window) {
  const pager = document.querySelector(".pager");
  const more = new IntersectionObserver(async ([seen]) => {
    const next = pager.querySelector("a");
    if (!seen.isIntersecting || !next || pages++ >= 10) return;
    more.unobserve(pager);
    const reply = await fetch(next.href).catch(() => null);
    if (!reply?.ok) return;
    const page = new DOMParser().parseFromString(await reply.text(), "text/html");
    gallery.append(...(page.querySelector("[data-endless]")?.children ?? []));
    pager.replaceChildren(...(page.querySelector(".pager")?.children ?? []));
    more.observe(pager);
  }, { rootMargin: "600px" });
  more.observe(pager);
}

// Forms: ask before what costs, send once, show another model's fields, name a batch by its file.
document.addEventListener("submit", (event) => {
  const form = event.target;
  const question = event.submitter?.dataset.confirm;
  if (question && !window.confirm(question)) return event.preventDefault();
  if ("once" in form.dataset && form.dataset.sent) return event.preventDefault();
  form.dataset.sent = "yes";
});
window.addEventListener("pageshow", () => { for (const form of all("form[data-sent]")) delete form.dataset.sent; });
document.querySelector("[data-choose] select")?.addEventListener("change", (event) => {
  const typed = document.querySelector("textarea[name=prompt]").value;
  const url = new URL(event.target.form.action);
  url.search = new URLSearchParams({ model: event.target.value, ...(typed && typed.length < 4000 ? { prompt: typed } : {}) });
  location.assign(url);
});
const priced = document.querySelector("[data-priced]");
priced?.addEventListener("change", async () => {
  const given = [...new FormData(priced)].filter(([name, value]) => typeof value === "string" && value && !["prompt", "token", "key", "labels"].includes(name));
  const reply = await fetch(`${location.pathname}?${new URLSearchParams(given)}`).catch(() => null);
  if (!reply?.ok) return;
  const page = new DOMParser().parseFromString(await reply.text(), "text/html");
  document.getElementById("price").textContent = page.getElementById("price").textContent;
});
for (const picker of all("[data-for]")) {
  picker.hidden = false;
  picker.addEventListener("change", () => {
    document.getElementById(picker.dataset.for).value = picker.value && new Date(picker.value).toISOString().replace(".000", "");
  });
}
document.querySelector("[data-file] input[type=file]")?.addEventListener("change", (event) => {
  const name = event.target.files[0]?.name ?? "";
  event.target.form.elements.name.value = name.replace(/\.[^.]+$/, "");
});

document.addEventListener("click", async (event) => {
  if (!event.target.matches("[data-copy]")) return;
  await navigator.clipboard.writeText(event.target.parentElement.querySelector("pre").textContent);
  event.target.textContent = "Copied";
});

localise(document);
