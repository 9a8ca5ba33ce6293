// Sliders and buttons: faults on links, and what happens to agents.
import { ask } from "./api.js";
import { names } from "./graph.js";
import { memory } from "./memory.js";
import { element, percent, short, span } from "./words.js";

const LABELS = { pause: "Pause 5 s", leave: "Leave", kill: "Kill", restart: "Restart" };
const PAUSE_S = 5;

let parts = null;

// `say` tells the outcome; `chosen` is the link that was picked in the graph.
export function drawControls(parent, chosen, choose, say) {
  parent.hidden = false;
  if (!parts) parts = build(parent, choose, say);
  const all = names();
  options(parts.from, parts.isSwarm() ? ["", ...all] : memory.agents.map((agent) => agent.status.peer), chosen.from);
  options(parts.to, ["", ...all], chosen.to);
  parts.from.disabled = !parts.isSwarm();
}

function options(select, values, wanted) {
  const present = [...select.options].map((one) => one.value);
  if (present.join("\n") !== values.join("\n")) {
    const before = select.value;
    select.replaceChildren(...values.map((value) => element("option", { value, textContent: value ? short(value) : "all" })));
    if (values.includes(before)) select.value = before;
  }
  if (wanted !== undefined && select.dataset.wanted !== wanted) {
    select.dataset.wanted = wanted;
    if (values.includes(wanted)) select.value = wanted;
  }
}

function build(parent, choose, say) {
  const isSwarm = () => memory.agents.length + memory.absent.length > 1;
  const from = element("select", { id: "fault-from" });
  const to = element("select", { id: "fault-to" });
  const loss = element("input", { type: "range", id: "fault-loss", min: 0, max: 100, step: 5, value: 0 });
  const delay = element("input", { type: "range", id: "fault-delay", min: 0, max: 2000, step: 50, value: 0 });
  const lossShown = element("output", { htmlFor: "fault-loss", textContent: "0 %" });
  const delayShown = element("output", { htmlFor: "fault-delay", textContent: "0 ms" });
  const set = async (faults, text) => {
    const body = { to: to.value || null, faults };
    if (isSwarm()) body.from = from.value || null;
    try {
      await ask("PUT", "v1/faults", body);
      say(`${where()}: ${text}`);
    } catch (error) {
      say(`Not possible: ${error.message}`);
    }
  };
  const where = () => `${from.value ? short(from.value) : "all"} → ${to.value ? short(to.value) : "all"}`;
  loss.addEventListener("input", () => (lossShown.textContent = percent(loss.value / 100)));
  delay.addEventListener("input", () => (delayShown.textContent = span(delay.value / 1000)));
  loss.addEventListener("change", () => set({ drop: loss.value / 100 }, `${loss.value} % of the messages are lost`));
  delay.addEventListener("change", () => set({ delay_s: delay.value / 1000 }, `messages take ${delay.value} ms more`));
  const pick = () => choose({ from: from.value, to: to.value, agent: "" });
  from.addEventListener("change", pick);
  to.addEventListener("change", pick);
  const cut = element("button", { type: "button", className: "strong", textContent: "Cut", id: "fault-cut" });
  cut.addEventListener("click", () => set(null, "cut"));
  const clear = element("button", { type: "button", textContent: "As it was", id: "fault-clear" });
  clear.addEventListener("click", async () => {
    const query = new URLSearchParams();
    if (isSwarm() && from.value) query.set("from", from.value);
    if (to.value) query.set("to", to.value);
    try {
      const { cleared } = await ask("DELETE", `v1/faults?${query}`);
      [loss.value, delay.value] = [0, 0];
      [lossShown.textContent, delayShown.textContent] = ["0 %", "0 ms"];
      say(`${where()}: ${cleared} changes taken back`);
    } catch (error) {
      say(`Not possible: ${error.message}`);
    }
  });
  const field = (text, input, shown) => element("div", { className: "field" }, element("label", { textContent: text, htmlFor: input.id }), input, ...(shown ? [shown] : []));
  parent.append(
    element("fieldset", {}, element("legend", { textContent: "What links do from now on; click one, or choose" }),
      field("from", from), field("to", to), field("loss", loss, lossShown), field("delay", delay, delayShown), element("div", { className: "buttons" }, cut, clear)),
    element("p", { className: "reading", textContent: "Nobody is told that a message was lost: watch the answer stay right, and what becomes of links that hear nothing." }),
  );
  return { from, to, isSwarm };
}

// The buttons of one agent, as a cell of the table.
export function actionCell(name, isThere, say) {
  const cell = element("td", { className: "words" });
  const group = element("div", { className: "buttons" });
  for (const action of memory.actions) {
    const isFor = action === "restart" ? !isThere : isThere;
    if (!isFor) continue;
    const button = element("button", { type: "button", textContent: LABELS[action] ?? action, className: action === "kill" ? "strong" : "" });
    button.setAttribute("aria-label", `${LABELS[action] ?? action} ${name}`);
    Object.assign(button.dataset, { agent: name, action });
    button.addEventListener("click", async () => {
      button.disabled = true;
      try {
        await ask("POST", `v1/agents/${encodeURIComponent(name)}/${action}`, action === "pause" ? { for_s: PAUSE_S } : {});
        say(`${short(name)}: ${action}`);
      } catch (error) {
        say(`Not possible: ${error.message}`);
      }
      button.disabled = false;
    });
    group.append(button);
  }
  cell.append(group);
  return cell;
}
