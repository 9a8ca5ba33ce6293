// What the page remembers of all answers: curves that grow, the last statuses, events.
const POINTS_MAX = 2400;
const EVENTS_MAX = 400;

export const memory = {
  run: null, title: "", actions: [], agents: [], absent: [], events: [], now: 0, lastEvent: 0,
  curves: new Map(), pictures: new Map(), // by agent: {at: [], lines: {name: []}}
};

export function forget() {
  Object.assign(memory, { run: null, agents: [], absent: [], events: [], lastEvent: 0 });
  memory.curves.clear();
  memory.pictures.clear();
}

// The time after which curves are wanted: what every agent has.
export function known() {
  const last = [...memory.curves.values()].map((curve) => curve.at.at(-1) ?? -1);
  return { after: last.length ? Math.min(...last) : -1, event: memory.lastEvent };
}

// Whether another program answers than before: all is to be asked for anew.
export function take(answer) {
  if (memory.run !== null && memory.run !== answer.run) {
    forget();
    return false;
  }
  const { run, title, actions, agents, absent, events } = answer;
  Object.assign(memory, { run, title, actions, agents, absent, now: answer.now_s });
  for (const agent of agents) {
    extend(memory.curves, agent.status.peer, agent.curves);
    extend(memory.pictures, agent.status.peer, agent.hyperparameter_curves);
  }
  for (const name of [...memory.curves.keys()]) {
    if (!agents.some((agent) => agent.status.peer === name)) memory.curves.get(name).gone = true;
  }
  if (events.length) {
    memory.lastEvent = events.at(-1).number;
    memory.events = [...memory.events, ...events].slice(-EVENTS_MAX);
  }
  return true;
}

function extend(all, name, found) {
  if (!all.has(name)) all.set(name, { at: [], lines: {} });
  const kept = all.get(name);
  const last = kept.at.at(-1) ?? -Infinity;
  found.at_s.forEach((at, index) => {
    if (at <= last) return;
    for (const [line, numbers] of Object.entries(found.curves)) {
      kept.lines[line] ??= new Array(kept.at.length).fill(null);
      kept.lines[line].push(numbers[index]);
    }
    kept.at.push(at);
    for (const numbers of Object.values(kept.lines)) while (numbers.length < kept.at.length) numbers.push(null);
  });
  if (kept.at.length > POINTS_MAX) {
    const half = (numbers) => numbers.filter((_, index) => index % 2 === numbers.length % 2 || index === numbers.length - 1);
    kept.at = half(kept.at);
    for (const line of Object.keys(kept.lines)) kept.lines[line] = half(kept.lines[line]);
  }
}

// Mean, least and largest over agents at the same times: {at, mean, low, high}.
export function together(line, names) {
  const sums = new Map();
  for (const name of names) {
    const curve = memory.curves.get(name);
    if (!curve?.lines[line]) continue;
    curve.at.forEach((at, index) => {
      const number = curve.lines[line][index];
      if (number === null || number === undefined) return;
      const found = sums.get(at) ?? { count: 0, sum: 0, low: Infinity, high: -Infinity };
      found.count += 1;
      found.sum += number;
      found.low = Math.min(found.low, number);
      found.high = Math.max(found.high, number);
      sums.set(at, found);
    });
  }
  const at = [...sums.keys()].sort((one, other) => one - other);
  const found = at.map((time) => sums.get(time));
  return { at, mean: found.map((one) => one.sum / one.count), low: found.map((one) => one.low), high: found.map((one) => one.high) };
}
