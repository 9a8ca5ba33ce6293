// Numbers and elements, made the same way everywhere.
export function number(value, digits = 3) {
  return value === null || value === undefined || !Number.isFinite(value) ? "–" : value.toFixed(digits);
}

export function small(value) {
  return value === null || value === undefined || !Number.isFinite(value) ? "–" : value.toExponential(1);
}

export function percent(value, digits = 0) {
  return value === null || value === undefined || !Number.isFinite(value) ? "–" : `${(100 * value).toFixed(digits)} %`;
}

export function span(seconds) {
  if (seconds === null || seconds === undefined || !Number.isFinite(seconds)) return "–";
  if (seconds < 1) return `${Math.round(1000 * seconds)} ms`;
  if (seconds < 120) return `${seconds.toFixed(seconds < 10 ? 1 : 0)} s`;
  const minutes = Math.floor(seconds / 60);
  return minutes < 120 ? `${minutes} min ${Math.floor(seconds % 60)} s` : `${Math.floor(minutes / 60)} h ${minutes % 60} min`;
}

export function element(tag, properties = {}, ...children) {
  const made = document.createElement(tag);
  Object.assign(made, properties);
  made.append(...children);
  return made;
}

// Names come from the network: as text, never as markup.
export function fill(parent, children) {
  parent.replaceChildren(...children);
}

// The name with the beginning of its fingerprint only, so that it fits beside a circle.
export function short(name) {
  const [, plain, fingerprint] = name.match(/^(.*)-([0-9a-z]{16,})$/i) ?? [null, name, ""];
  const first = plain.length > 16 ? `${plain.slice(0, 15)}…` : plain;
  return fingerprint ? `${first}-${fingerprint.slice(0, 4)}` : first;
}

export function mean(numbers) {
  const known = numbers.filter((value) => value !== null && value !== undefined && Number.isFinite(value));
  return known.length ? known.reduce((sum, value) => sum + value, 0) / known.length : NaN;
}
