// Asks once a second, and draws what has changed; stands still while nobody looks.
import { ask, Refused, useToken } from "./api.js";
import { drawCurves, drawPersonal } from "./charts.js";
import { actionCell, drawControls } from "./controls.js";
import { drawGraph } from "./graph.js";
import { forget, known, memory, take } from "./memory.js";
import { drawAgents, drawEvents, drawLinkTable, drawRejected, drawTiles, drawWarnings } from "./tables.js";
import { element, short } from "./words.js";

const EVERY_MS = 1000;
const SPARE = 4; // times as long as an answer took, nothing is asked
const CHARTS_EVERY_MS = 2000;
const SAID_MS = 6000;

const at = (id) => document.getElementById(id);
const chosen = { agent: "", from: "", to: "" };
let chartsAt = 0;
let saidTimer = 0;

function say(text) {
  at("said").textContent = text;
  clearTimeout(saidTimer);
  saidTimer = setTimeout(() => (at("said").textContent = ""), SAID_MS);
}

function choose(wanted) {
  Object.assign(chosen, wanted);
  draw(true);
}

function draw(withCharts) {
  at("title").textContent = memory.title;
  document.title = `${memory.title} · hyperpush`;
  const first = memory.agents[0]?.status;
  at("subtitle").textContent = memory.agents.length === 1 && first ? `${first.settled_line}${first.until_line ? `; ${first.until_line}` : ""}` : first?.until_line ?? "";
  listAgents();
  drawTiles(at("figures"));
  drawWarnings(at("warnings"));
  drawGraph(at("graph"), at("graph-text"), chosen, choose);
  drawControls(at("controls"), chosen, choose, say);
  drawAgents(at("agent-table"), chosen.agent, (agent) => choose({ agent, from: "", to: "" }), (name, isThere) => actionCell(name, isThere, say));
  if (at("link-table").closest("details").open) drawLinkTable(at("link-table"));
  drawEvents(at("events"));
  drawRejected(at("rejected"));
  if (withCharts || Date.now() > chartsAt + CHARTS_EVERY_MS) {
    chartsAt = Date.now();
    const agent = memory.curves.has(chosen.agent) ? chosen.agent : "";
    drawCurves(agent);
    drawPersonal(memory.agents.some((one) => one.status.peer === agent) ? agent : "", at("picture").value);
  }
}

function listAgents() {
  const select = at("chosen");
  const wanted = ["", ...memory.curves.keys()];
  if (select.options.length !== wanted.length || [...select.options].some((one, index) => one.value !== wanted[index])) {
    select.replaceChildren(...wanted.map((value) => element("option", { value, textContent: value ? short(value) : "all agents" })));
  }
  select.value = memory.curves.has(chosen.agent) ? chosen.agent : "";
  select.parentElement.hidden = memory.curves.size < 2;
  const pictures = [...new Set(memory.agents.flatMap((agent) => agent.hyperparameters.map((picture) => picture.name)))];
  const picture = at("picture");
  if ([...picture.options].map((one) => one.value).join("\n") !== pictures.join("\n")) {
    const before = picture.value;
    picture.replaceChildren(...pictures.map((value) => element("option", { value, textContent: value })));
    if (pictures.includes(before)) picture.value = before;
  }
  at("picture-label").hidden = pictures.length < 2;
}

async function look() {
  try {
    const { after, event } = known();
    const answer = await ask("GET", `v1/live?after=${after}&event=${event}`);
    if (!take(answer)) return look();
    at("trouble").hidden = true;
    at("ask-token").hidden = true;
    document.body.dataset.answers = String(1 + Number(document.body.dataset.answers ?? 0));
    draw(false);
  } catch (error) {
    if (error instanceof Refused && error.status === 401) {
      at("ask-token").hidden = false;
      return;
    }
    at("trouble").hidden = false;
    at("trouble").textContent = error instanceof Refused ? `The agent refuses: ${error.message}` : "Nobody answers: the agent has ended, or cannot be reached. What was seen last stays here.";
  }
  return undefined;
}

async function lookAgain() {
  const began = Date.now();
  if (!document.hidden && at("ask-token").hidden) await look();
  setTimeout(lookAgain, Math.max(EVERY_MS, SPARE * (Date.now() - began))); // a large swarm has other things to do
}

function theme(wanted) {
  document.documentElement.dataset.theme = wanted;
  const isDark = wanted === "dark";
  at("theme").setAttribute("aria-pressed", String(isDark));
  at("theme").textContent = isDark ? "Light" : "Dark";
  draw(true);
}

at("chosen").addEventListener("change", () => choose({ agent: at("chosen").value, from: "", to: "" }));
at("picture").addEventListener("change", () => draw(true));
at("link-table").closest("details").addEventListener("toggle", () => drawLinkTable(at("link-table")));
at("ask-token").addEventListener("submit", (event) => {
  event.preventDefault();
  useToken(at("token").value);
  forget();
  at("ask-token").hidden = true;
  look();
});
const preferred = matchMedia("(prefers-color-scheme: dark)");
at("theme").addEventListener("click", () => theme((document.documentElement.dataset.theme ?? (preferred.matches ? "dark" : "light")) === "dark" ? "light" : "dark"));
at("theme").textContent = preferred.matches ? "Light" : "Dark";
preferred.addEventListener("change", () => draw(true));
addEventListener("load", lookAgain);
