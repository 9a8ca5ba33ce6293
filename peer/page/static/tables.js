// The same in words and numbers: tiles, agents, links, events, rejected messages.
import { kind, links } from "./graph.js";
import { memory } from "./memory.js";
import { element, fill, mean, number, percent, short, small, span } from "./words.js";

const SAME_S = 10;

export function drawTiles(parent) {
  const all = memory.agents.map((agent) => agent.status);
  const accuracy = (name) => mean(all.map((status) => status.accuracies[name]));
  const swarm = (name) => mean(all.map((status) => status.swarm_accuracies[name]));
  const received = all.reduce((sum, status) => sum + (status.messages.received ?? 0), 0);
  const missing = all.reduce((sum, status) => sum + (status.messages.missing ?? 0), 0);
  const alive = Math.max(0, ...all.map((status) => 1 + status.links.filter((link) => link.alive).length));
  const others = all.length === 1;
  const tiles = [
    [String(others ? alive : all.length), others ? "agents in the swarm, as this one knows" : `agents here${memory.absent.length ? `, ${memory.absent.length} gone` : ""}`],
    [percent(accuracy("personal"), 1), others ? `personal accuracy; ${percent(swarm("personal"), 1)} in the swarm` : "personal accuracy, mean"],
    [percent(accuracy("shared"), 1), others ? `shared accuracy; ${percent(swarm("shared"), 1)} in the swarm` : "shared accuracy, mean"],
    [number(mean(all.map((status) => status.validation_loss))), "validation loss"],
    [small(mean(all.map((status) => status.residual))), "residual: 1 at first, 0 settled"],
    [percent(received + missing ? missing / (received + missing) : NaN, 1), "of the messages missing"],
    [tickRange(all), `ticks, epoch ${range(all.map((status) => status.epoch))}`],
  ];
  fill(parent, tiles.map(([value, text]) => element("div", { className: "tile" }, element("b", { textContent: value }), element("span", { textContent: text }))));
}

function range(values) {
  if (!values.length) return "–";
  const [low, high] = [Math.min(...values), Math.max(...values)];
  return low === high ? `${low}` : `${low} to ${high}`;
}

function tickRange(all) {
  return range(all.map((status) => status.tick));
}

export function drawWarnings(parent) {
  const found = memory.agents.flatMap(({ status }) => status.warnings.map((text) => (memory.agents.length > 1 ? `${status.peer}: ${text}` : text)));
  fill(parent, found.slice(0, 12).map((text) => element("li", { textContent: text })));
}

function row(cells, tag = "td") {
  return element("tr", {}, ...cells.map((cell) => (cell instanceof Node ? cell : element(tag, { textContent: cell }))));
}

function head(names) {
  return element("thead", {}, element("tr", {}, ...names.map((text) => element("th", { textContent: text, scope: "col" }))));
}

export function drawAgents(table, chosen, choose, buttons) {
  const names = ["agent", "phase", "tick", "a second", "epoch", "training", "validation", "shared", "personal", "residual", "missing", "MB sent"];
  if (memory.actions.length) names.push("");
  const focused = document.activeElement?.closest?.("[data-agent]") ? [document.activeElement.dataset.agent, document.activeElement.dataset.action] : null;
  const rows = memory.agents.map(({ status }) => {
    const numbered = status.messages.received + status.messages.missing;
    const made = row([
      status.peer, status.phase, String(status.tick), number(status.ticks_per_second, 1), String(status.epoch), number(status.training_loss),
      number(status.validation_loss), percent(status.accuracies.shared, 1), percent(status.accuracies.personal, 1), small(status.residual),
      percent(numbered ? status.messages.missing / numbered : NaN, 1), number(status.messages.bytes_sent / 1e6, 1),
    ]);
    if (status.peer === chosen) made.className = "chosen";
    if (memory.actions.length) made.append(buttons(status.peer, true));
    made.firstChild.addEventListener("click", () => choose(status.peer === chosen ? "" : status.peer));
    return made;
  });
  for (const name of memory.absent) {
    const made = row([name, "not there", ...new Array(names.length - 2 - (memory.actions.length ? 1 : 0)).fill("")]);
    made.className = "absent";
    if (memory.actions.length) made.append(buttons(name, false));
    rows.push(made);
  }
  fill(table, [head(names), element("tbody", {}, ...rows)]);
  if (focused) [...table.querySelectorAll("button")].find((one) => one.dataset.agent === focused[0] && one.dataset.action === focused[1])?.focus();
}

export function drawLinkTable(table) {
  const states = { good: "heard", fair: "heard", poor: "heard, much is lost", silent: "pushed, not heard" };
  const rows = links().map((link) => row([
    `${short(link.from)} → ${short(link.to)}`, states[kind(link)], percent(link.loss, 1), span(link.age), span(link.rtt), small(link.disagreement),
  ]));
  fill(table, [head(["link", "state", "lost", "last heard", "round trip", "distance of the models"]), element("tbody", {}, ...rows)]);
}

export function drawEvents(list) {
  const atEnd = list.scrollTop < 4;
  const hasMany = memory.agents.length + memory.absent.length > 1;
  fill(list, grouped().reverse().map(({ event, agents }) => {
    const who = agents.length > 1 ? `${agents.length} agents: ` : event.agent && hasMany ? `${short(event.agent)}: ` : "";
    return element("li", { title: agents.join(", ") }, element("time", { textContent: span(event.at_s) }), `${who}${event.text}`);
  }));
  if (!memory.events.length) fill(list, [element("li", { textContent: "Nothing yet." })]);
  if (atEnd) list.scrollTop = 0;
}

// The same, said by several agents within a short time, is one line.
function grouped() {
  const found = [];
  for (const event of memory.events) {
    const same = event.agent && found.find((one) => one.event.text === event.text && event.at_s - one.event.at_s < SAME_S && !one.agents.includes(event.agent));
    if (same) same.agents.push(event.agent);
    else found.push({ event, agents: event.agent ? [event.agent] : [] });
  }
  return found;
}

export function drawRejected(table) {
  const counts = new Map();
  for (const { status } of memory.agents) {
    for (const [reason, count] of Object.entries(status.rejected)) counts.set(reason, (counts.get(reason) ?? 0) + count);
  }
  const rows = [...counts].sort((one, other) => other[1] - one[1]).map(([reason, count]) => row([reason.replaceAll("_", " "), String(count)]));
  const quarantined = memory.agents.flatMap(({ status }) => status.links.filter((link) => link.quarantined).map((link) => row([`${short(link.peer)} is quarantined by ${short(status.peer)}`, link.quarantined])));
  if (!rows.length && !quarantined.length) rows.push(row(["None: all that came was understood and believed.", ""]));
  fill(table, [head(["reason", "messages"]), element("tbody", {}, ...rows, ...quarantined)]);
}
