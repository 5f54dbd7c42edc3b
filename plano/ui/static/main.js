// Tabs, the caller's key, and the request for data every second.

import { Live } from "./live.js";
import { Playground } from "./playground.js";

const EVERY = 1000; // milliseconds
const KEY = "plano-key";
const TABS = ["live", "requests", "models", "playground"];

const node = (id) => document.getElementById(id);
const live = new Live();
let paused = false;
let open = true;
let shown = false;
let timer = null;

function headers() {
  const key = sessionStorage.getItem(KEY);
  return key ? { authorization: `Bearer ${key}` } : {};
}

new Playground(headers);

function tell(kind, text) {
  document.querySelector(".dot").className = `dot ${kind}`;
  if (node("state-text").textContent !== text) node("state-text").textContent = text;
}

async function poll() {
  clearTimeout(timer);
  let data;
  try {
    const response = await fetch(`data?seen=${live.seen}`, { headers: headers(), cache: "no-store" });
    if (response.status === 401 || response.status === 403) return askForKey();
    if (!response.ok) throw new Error(`status ${response.status}`);
    data = await response.json();
  } catch {
    tell("lost", "the gateway does not answer; trying on");
    return again();
  }
  if (!open || !shown) shut(false);
  again();
  tell("live", "live");
  live.add(data);
  live.draw();
}

function again() {
  clearTimeout(timer);
  if (!paused && !document.hidden && open) timer = setTimeout(poll, EVERY);
}

function askForKey() {
  node("signin-error").textContent = sessionStorage.getItem(KEY) ? "That key is not valid here." : "";
  sessionStorage.removeItem(KEY);
  shut(true);
  tell("paused", "waiting for a key");
  node("key").focus();
}

// While the page asks for a key, it shows nothing else.
function shut(yes) {
  open = !yes;
  shown = true;
  node("signin").hidden = !yes;
  node("leave").hidden = yes || !sessionStorage.getItem(KEY);
  document.querySelector("[role=tablist]").hidden = yes;
  show(yes ? null : current());
}

node("signin-form").addEventListener("submit", (event) => {
  event.preventDefault();
  sessionStorage.setItem(KEY, node("key").value.trim());
  node("key").value = "";
  poll();
});

node("leave").addEventListener("click", () => {
  sessionStorage.removeItem(KEY);
  location.reload();
});

node("pause").addEventListener("click", () => {
  paused = !paused;
  node("pause").setAttribute("aria-pressed", String(paused));
  node("pause").textContent = paused ? "Continue" : "Pause";
  if (paused) tell("paused", "paused");
  if (paused) clearTimeout(timer);
  else poll();
});

document.addEventListener("visibilitychange", () => {
  if (!document.hidden && open && !paused) poll();
});

function current() {
  const wanted = location.hash.slice(1);
  return TABS.includes(wanted) ? wanted : TABS[0];
}

function show(name) {
  for (const tab of TABS) {
    const button = node(`tab-${tab}`);
    node(tab).hidden = tab !== name;
    button.setAttribute("aria-selected", String(tab === name));
    button.tabIndex = tab === name ? 0 : -1;
  }
}

function go(name) {
  history.replaceState(null, "", `${location.pathname}${location.search}#${name}`);
  show(name);
  live.draw();
}

TABS.forEach((name, index) => {
  const button = node(`tab-${name}`);
  button.addEventListener("click", () => go(name));
  button.addEventListener("keydown", (event) => {
    const step = { ArrowRight: 1, ArrowLeft: -1 }[event.key];
    if (!step) return;
    const next = TABS[(index + step + TABS.length) % TABS.length];
    go(next);
    node(`tab-${next}`).focus();
  });
});

window.addEventListener("hashchange", () => {
  if (open) go(current());
});

poll();
