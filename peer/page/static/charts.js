// Curves of the agents, and what is personal, drawn by plotly.js from this machine.
/* global Plotly */
import { memory, together } from "./memory.js";
import { number, percent, short, small } from "./words.js";

const CHARTS = {
  loss: { lines: [["training_loss", "training", "--one"], ["validation_loss", "validation", "--two"]], axis: "loss" },
  accuracy: { lines: [["personal", "personal model", "--one"], ["shared", "shared model", "--two"]], axis: "share right" },
  residual: {
    lines: [["residual", "residual", "--one"], ["disagreement", "distance to neighbours", "--two"], ["hypergradient_norm", "|hypergradient|", "--three"], ["adjoint_residual", "adjoint residual", "--four"]],
    axis: "", log: true,
  },
  missing: { lines: [["missing", "share lost or late", "--two"]], axis: "share of messages" },
};

function color(name) {
  return getComputedStyle(document.documentElement).getPropertyValue(name).trim();
}

function layout(more = {}) {
  const axis = { gridcolor: color("--line"), zerolinecolor: color("--line"), linecolor: color("--line"), automargin: true };
  const { xaxis = {}, yaxis = {}, ...rest } = more;
  return {
    paper_bgcolor: "rgba(0,0,0,0)", plot_bgcolor: "rgba(0,0,0,0)", margin: { l: 48, r: 8, t: 6, b: 34 },
    font: { color: color("--text"), size: 12, family: "system-ui, sans-serif" }, hovermode: "x unified",
    hoverlabel: { bgcolor: color("--card"), bordercolor: color("--line"), font: { color: color("--text") } },
    legend: { orientation: "h", y: 1.02, yanchor: "bottom", x: 0 }, showlegend: true, uirevision: "kept",
    xaxis: { ...axis, ...xaxis }, yaxis: { ...axis, ...yaxis }, ...rest,
  };
}

const OPTIONS = { displayModeBar: false, responsive: true };

// Seconds, minutes or hours, whichever reads best.
function time(seconds) {
  const last = seconds.at(-1) ?? 0;
  const [unit, title] = last > 7200 ? [3600, "hours"] : last > 240 ? [60, "minutes"] : [1, "seconds"];
  return { at: seconds.map((at) => at / unit), title };
}

export function drawCurves(agent) {
  const everybody = [...memory.curves.keys()];
  for (const [id, chart] of Object.entries(CHARTS)) {
    const traces = [];
    let title = "seconds";
    for (const [line, label, variable] of chart.lines) {
      const one = memory.curves.get(agent);
      const found = agent && one ? { at: one.at, mean: one.lines[line] ?? [] } : together(line, everybody);
      if (!found.mean.some((value) => value !== null && Number.isFinite(value))) continue;
      const shown = time(found.at);
      title = shown.title;
      if (!agent && everybody.length > 1 && !chart.log) traces.push(...band(shown.at, found, color(variable)));
      traces.push({ x: shown.at, y: found.mean, name: label, mode: "lines", line: { color: color(variable), width: 2 } });
    }
    const yaxis = { title: { text: chart.axis }, ...(chart.log ? { type: "log", exponentformat: "power", dtick: 1 } : {}) };
    if (id === "missing") yaxis.range = [0, 1];
    draw(id, traces, layout({ xaxis: { title: { text: title } }, yaxis }));
    document.getElementById(`${id}-text`).textContent = reading(id, agent, everybody);
  }
}

function band(at, found, stroke) {
  const edge = { x: at, mode: "lines", line: { width: 0 }, hoverinfo: "skip", showlegend: false };
  return [{ ...edge, y: found.low }, { ...edge, y: found.high, fill: "tonexty", fillcolor: faded(stroke) }];
}

function faded(hex) {
  const parts = [1, 3, 5].map((at) => parseInt(hex.slice(at, at + 2), 16));
  return `rgba(${parts.join(",")},.15)`;
}

function draw(id, traces, wanted) {
  if (typeof Plotly === "undefined") {
    document.getElementById(id).textContent = "The charts need the Python package plotly on the agent's machine; the numbers are below.";
    return;
  }
  Plotly.react(id, traces, wanted, OPTIONS);
}

// What the chart says, for whoever does not see it.
function reading(id, agent, everybody) {
  const who = agent || (everybody.length > 1 ? "Mean of all agents, and from the least to the largest" : everybody[0] ?? "");
  const last = (line) => {
    const lines = agent ? { mean: memory.curves.get(agent)?.lines[line] ?? [] } : together(line, everybody);
    return lines.mean.filter((value) => value !== null && Number.isFinite(value)).at(-1);
  };
  const now = {
    loss: () => `training ${number(last("training_loss"))}, validation ${number(last("validation_loss"))}`,
    accuracy: () => `personal ${percent(last("personal"), 1)}, shared ${percent(last("shared"), 1)}`,
    residual: () => `residual ${small(last("residual"))} (1 at the start, 0 when settled), distance to neighbours ${small(last("disagreement"))}, |hypergradient| ${small(last("hypergradient_norm"))}`,
    missing: () => `${percent(last("missing"), 1)} lost or late, ${number(last("megabytes_sent"), 1)} MB sent by each`,
  }[id]();
  return `${who}: ${now}.`;
}

// ---- what is personal

export function drawPersonal(agent, name) {
  const pictures = memory.agents.flatMap((one) =>
    (!agent || one.status.peer === agent ? one.hyperparameters : []).filter((picture) => picture.name === name).map((picture) => [one.status.peer, picture]));
  const numbers = pictures.map(([, picture]) => picture.numbers ?? picture.quantiles);
  const text = document.getElementById("personal-text");
  if (!pictures.length) {
    text.textContent = "Nothing is personal here but local variables.";
    draw("personal-now", [], layout());
    draw("personal-over-time", [], layout());
    return;
  }
  const isWhole = Boolean(pictures[0][1].numbers);
  const labels = isWhole ? numbers[0].map((_, index) => index) : ["least", "p10", "p25", "median", "p75", "p90", "largest"];
  text.textContent = `${name}, shape (${pictures[0][1].shape.join(", ")}): ` +
    (pictures.length > 1 ? "a row for each agent, its numbers side by side; agents differ as their data do." : `of ${pictures[0][0]}, and how they came to be.`);
  if (pictures.length === 1) {
    const bars = { type: "bar", x: labels, y: numbers[0], marker: { color: color("--one") }, name: "now" };
    draw("personal-now", [bars], layout({ showlegend: false, xaxis: { title: { text: isWhole ? "entry" : "" }, type: "category" } }));
  } else {
    const scale = [[0, color("--two")], [0.5, color("--card")], [1, color("--one")]];
    const flat = numbers.flat();
    const middle = (Math.min(...flat) + Math.max(...flat)) / 2;
    const heat = { type: "heatmap", z: numbers, x: labels, y: pictures.map(([peer]) => short(peer)), colorscale: scale, zmid: flat.some((one) => one < 0) ? 0 : middle, colorbar: { thickness: 10, outlinewidth: 0 } };
    draw("personal-now", [heat], layout({ showlegend: false, hovermode: "closest", xaxis: { title: { text: isWhole ? "entry" : "" }, type: "category" }, yaxis: { autorange: "reversed", type: "category" } }));
  }
  overTime(pictures, name);
}

function overTime(pictures, name) {
  const traces = [];
  let title = "seconds";
  for (const [peer] of pictures) {
    const kept = memory.pictures.get(peer);
    if (!kept) continue;
    const shown = time(kept.at);
    title = shown.title;
    const own = Object.keys(kept.lines).filter((line) => line.slice(0, line.lastIndexOf("#")) === name);
    for (const line of pictures.length > 1 ? own.slice(0, 1) : own) {
      const label = line.slice(line.lastIndexOf("#") + 1);
      traces.push({ x: shown.at, y: kept.lines[line], mode: "lines", name: pictures.length > 1 ? short(peer) : label, line: { width: 1.5 } });
    }
  }
  const heading = pictures.length > 1 ? "first entry of each agent" : "value";
  draw("personal-over-time", traces, layout({ xaxis: { title: { text: title } }, yaxis: { title: { text: heading } }, showlegend: traces.length <= 16, hovermode: "closest" }));
}
