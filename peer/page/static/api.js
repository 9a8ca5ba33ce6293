// Asks the listener that this page came from. A token is kept for this tab only.
const KEY = "hyperpush-token";

export class Refused extends Error {
  constructor(status, message) {
    super(message);
    this.status = status;
  }
}

export function useToken(token) {
  sessionStorage.setItem(KEY, token);
}

export async function ask(method, path, content) {
  const headers = {};
  const token = sessionStorage.getItem(KEY);
  if (token) headers.Authorization = `Bearer ${token}`;
  if (content !== undefined) headers["Content-Type"] = "application/json";
  const body = content === undefined ? undefined : JSON.stringify(content);
  const response = await fetch(path, { method, headers, body, cache: "no-store" });
  const found = await response.json().catch(() => ({}));
  if (response.ok) return found;
  const said = [found.field, found.value].filter((part) => part !== undefined && part !== null).join(" ");
  throw new Refused(response.status, [said, found.remedy ?? found.detail ?? response.statusText].filter(Boolean).join(": "));
}
