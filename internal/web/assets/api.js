// Calls to the daemon. The token stays in this tab: it is gone when the tab is closed, and no other site can use it.

const key = "goaoe-token";
let token = sessionStorage.getItem(key) || "";

/** Failure is an error that the daemon told (code, message, hint), or that it did not answer (code "gone"). */
export class Failure extends Error {
  constructor(code, message, hint, status) {
    super(message);
    this.code = code;
    this.hint = hint || "";
    this.status = status;
  }
  /** text is the message with the hint. */
  get text() {
    return this.message + (this.hint ? "; " + this.hint : "");
  }
}

/** unlocked tells whether there is a token. */
export const unlocked = () => token !== "";

/** lock forgets the token. */
export function lock() {
  token = "";
  sessionStorage.removeItem(key);
}

/** unlock tries a token, and keeps it when it is right. */
export async function unlock(value) {
  await call("GET", "token", null, value);
  token = value;
  sessionStorage.setItem(key, value);
}

/** get asks for something that everybody may see. */
export const get = (path) => call("GET", path, null, "");
/** getOwn asks with the token. */
export const getOwn = (path) => call("GET", path, null, token);
/** post has the daemon do something. */
export const post = (path, body) => call("POST", path, body, token);

async function call(method, path, body, bearer) {
  const headers = {};
  if (body) headers["Content-Type"] = "application/json";
  if (bearer) headers.Authorization = "Bearer " + bearer;
  const stop = new AbortController();
  const timer = setTimeout(() => stop.abort(), method === "GET" ? 15000 : 60000);
  let response, data;
  try {
    response = await fetch("api/" + path, { method, headers, body: body ? JSON.stringify(body) : undefined, cache: "no-store", credentials: "omit", redirect: "error", signal: stop.signal });
    data = await response.json();
  } catch {
    throw new Failure("gone", "goaoe does not answer", "", response ? response.status : 0);
  } finally {
    clearTimeout(timer);
  }
  if (!response.ok) {
    const e = data.error || {};
    throw new Failure(e.code || "failed", e.message || "goaoe answered with status " + response.status, e.hint, response.status);
  }
  return data;
}

/** change makes one change of an export, and returns what became of it. */
export async function change(c, options) {
  const reply = await post("changes", { changes: [c], wait_ms: 3000, ...options });
  return result(reply);
}

/** result returns the only result of a reply, or throws its error. */
export function result(reply) {
  const r = reply.results[0];
  if (r && r.error) throw new Failure(r.error.code, r.error.message, r.error.hint, 200);
  return r || {};
}
