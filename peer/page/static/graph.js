// The directed graph of links: an arrow from whoever sends to whoever hears.
import { memory } from "./memory.js";
import { percent, short, span } from "./words.js";

const NAMESPACE = "http://www.w3.org/2000/svg";
const [WIDTH, HEIGHT, RADIUS] = [640, 520, 17];

// All links that are known; the receiver knows best. `carries`: sums are pushed there, not only signs of life.
export function links() {
  const found = new Map();
  const at = (from, to) => {
    const key = JSON.stringify([from, to]);
    if (!found.has(key)) found.set(key, { key, from, to, hears: null, carries: false, loss: null, age: null, rtt: null });
    return found.get(key);
  };
  for (const { status } of memory.agents) {
    for (const link of status.links) {
      if (link.left || link.incompatible) continue;
      if (link.hears || link.received > 0) {
        const incoming = at(link.peer, status.peer);
        Object.assign(incoming, { hears: link.hears, loss: link.loss, age: link.age_s, disagreement: link.model_disagreement });
        incoming.carries ||= link.model_disagreement !== null; // it is of this epoch
      }
      if (link.pushes_to || link.heard_by) {
        const outgoing = at(status.peer, link.peer);
        outgoing.carries ||= link.pushes_to;
        outgoing.rtt = link.rtt_s;
        outgoing.hears ??= link.heard_by;
      }
    }
  }
  return [...found.values()].filter((link) => link.hears || link.carries);
}

export function kind(link) {
  if (!link.hears) return "silent";
  if (!link.carries) return "words";
  return link.loss === null || link.loss < 0.1 ? "good" : link.loss < 0.4 ? "fair" : "poor";
}

export function told(link) {
  const state = { silent: "pushed, and not heard", words: "signs of life only" }[kind(link)] ?? "heard";
  return `${link.from} to ${link.to}: ${state}, ${percent(link.loss)} lost, last heard ${span(link.age)} ago, round trip ${span(link.rtt)}`;
}

export function names() {
  const own = memory.agents.map((agent) => agent.status.peer);
  const others = memory.agents.flatMap((agent) => agent.status.links.filter((link) => !link.left && !link.incompatible).map((link) => link.peer));
  return [...new Set([...own, ...others, ...memory.absent])].sort();
}

export function drawGraph(svg, caption, chosen, choose) {
  const all = links();
  const nodes = names();
  const place = new Map(nodes.map((name, index) => [name, position(index, nodes.length)]));
  const focused = document.activeElement?.dataset?.key;
  const children = [markers()];
  for (const link of [...all].sort((one, other) => Number(one.carries) - Number(other.carries))) {
    const [from, to] = [place.get(link.from), place.get(link.to)];
    if (from && to) children.push(...arrow(link, from, to, chosen, choose));
  }
  for (const name of nodes) children.push(node(name, place.get(name), nodes.length, chosen, choose));
  svg.replaceChildren(...children);
  if (focused) [...svg.querySelectorAll("[data-key]")].find((one) => one.dataset.key === focused)?.focus();
  const pushed = all.filter((link) => link.carries);
  const silent = pushed.filter((link) => !link.hears);
  const oneWay = all.filter((link) => link.hears && !all.some((other) => other.hears && other.from === link.to && other.to === link.from));
  caption.replaceChildren(
    key("good", "under 10 % lost"), key("fair", "under 40 %"), key("poor", "more"), key("silent", "pushed, not heard"), key("words", "signs of life only"),
    document.createElement("br"),
    `${pushed.length} links carry sums between ${nodes.length} agents. ` +
      (oneWay.length ? `Heard in one direction only, which is enough: ${listed(oneWay)}. ` : "") +
      (silent.length ? `Not heard: ${listed(silent)}.` : ""),
  );
}

function listed(some) {
  const shown = some.slice(0, 4).map((link) => `${short(link.from)} → ${short(link.to)}`).join(", ");
  return some.length > 4 ? `${shown} and ${some.length - 4} more` : shown;
}

function position(index, count) {
  const angle = (2 * Math.PI * index) / count - Math.PI / 2;
  const ring = count > 40 ? 1 - 0.28 * (index % 2) : 1;
  const [cos, sin] = [Math.cos(angle), Math.sin(angle)];
  return { x: WIDTH / 2 + ring * 225 * cos, y: HEIGHT / 2 + ring * 205 * sin, cos, sin };
}

function make(tag, attributes, ...children) {
  const made = document.createElementNS(NAMESPACE, tag);
  for (const [name, value] of Object.entries(attributes)) made.setAttribute(name, value);
  made.append(...children);
  return made;
}

function markers() {
  const heads = ["good", "fair", "poor", "silent", "words"].map((name) => {
    const variable = { good: "--good", fair: "--fair", poor: "--two", silent: "--bad", words: "--off" }[name];
    const head = make("path", { d: "M0 0 L9 4.5 L0 9 z", style: `fill: var(${variable})` });
    return make("marker", { id: `head-${name}`, viewBox: "0 0 9 9", refX: 8, refY: 4.5, markerWidth: 9, markerHeight: 9, markerUnits: "userSpaceOnUse", orient: "auto" }, head);
  });
  return make("defs", {}, ...heads);
}

function arrow(link, from, to, chosen, choose) {
  const [dx, dy] = [to.x - from.x, to.y - from.y];
  const length = Math.hypot(dx, dy) || 1;
  const bend = Math.min(26, 0.13 * length);
  const middle = { x: (from.x + to.x) / 2 - (bend * dy) / length, y: (from.y + to.y) / 2 + (bend * dx) / length };
  const start = towards(from, middle, RADIUS + 2);
  const end = towards(to, middle, RADIUS + 4);
  const d = `M${start.x.toFixed(1)} ${start.y.toFixed(1)} Q${middle.x.toFixed(1)} ${middle.y.toFixed(1)} ${end.x.toFixed(1)} ${end.y.toFixed(1)}`;
  const isChosen = chosen.from === link.from && chosen.to === link.to;
  const isFaint = chosen.agent && chosen.agent !== link.from && chosen.agent !== link.to;
  const state = kind(link);
  const path = make("path", { d, class: `link ${state}${isChosen ? " chosen" : ""}${isFaint ? " faint" : ""}`, "marker-end": `url(#head-${state})` });
  const hit = make("path", { d, class: `hit ${state}` }, make("title", {}, told(link)));
  hit.addEventListener("click", () => choose({ from: link.from, to: link.to, agent: "" }));
  return [path, hit];
}

function towards(point, other, distance) {
  const length = Math.hypot(other.x - point.x, other.y - point.y) || 1;
  return { x: point.x + (distance * (other.x - point.x)) / length, y: point.y + (distance * (other.y - point.y)) / length };
}

function node(name, at, count, chosen, choose) {
  const status = memory.agents.find((agent) => agent.status.peer === name)?.status;
  const absent = memory.absent.includes(name);
  const state = absent ? "absent" : status && status.phase !== "running" ? "waiting" : "";
  const side = Math.abs(at.cos) < 0.3 ? "middle" : at.cos > 0 ? "start" : "end";
  const out = RADIUS + 9;
  const label = make("text", { x: at.x + out * at.cos, y: at.y + out * at.sin + 4 + (side === "middle" ? 5 * Math.sign(at.sin) : 0), "text-anchor": side }, short(name));
  const accuracy = status?.accuracies?.personal;
  const inside = absent ? "gone" : accuracy === undefined || accuracy === null ? "" : (100 * accuracy).toFixed(0);
  const number = make("text", { x: at.x, y: at.y + 4, class: "small" }, inside);
  const about = absent ? "not there" : status ? `${status.phase}, tick ${status.tick}` : "known from others";
  const made = make(
    "g", { class: `node ${state}${chosen.agent === name ? " chosen" : ""}`, tabindex: 0, role: "button", "aria-label": `${name}: ${about}`, "data-key": name },
    make("circle", { cx: at.x, cy: at.y, r: RADIUS }), ...(count > 48 ? [] : [label]), number, make("title", {}, `${name}: ${about}`),
  );
  const pick = () => choose({ from: "", to: "", agent: chosen.agent === name ? "" : name });
  made.addEventListener("click", pick);
  made.addEventListener("keydown", (event) => {
    if (event.key === "Enter" || event.key === " ") {
      event.preventDefault();
      pick();
    }
  });
  return made;
}

function key(state, text) {
  const made = document.createElement("span");
  made.className = "keyed";
  const stroke = document.createElement("span");
  stroke.className = `key ${state}`;
  made.append(stroke, text);
  return made;
}
