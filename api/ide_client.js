"use strict";
// What the pages share: calls of the API, its event streams, and signing in. A token stays in the page's memory.
const at = (id) => document.getElementById(id);
const pretty = (value) => JSON.stringify(value, null, 2);
const given = (name) => document.querySelector(`meta[name=${name}]`).content;

// One operation; `others` are headers beside those of the form.
async function call(body, others, signal, stream) {
  const accept = stream ? "text/event-stream" : "application/json";
  const headers = { "content-type": "application/json", accept, ...others };
  return fetch(location.pathname, { method: "POST", headers, body: JSON.stringify(body), signal });
}

// Whether a document must come as a stream. Too much is no harm: streams carry any operation.
const isStreamed = (query) => /(^|[}])\s*subscription\b/m.test(query.replace(/#.*/g, ""));

// The results in an answer: one of JSON, or each of server-sent events as it comes.
async function* results(response) {
  if (!(response.headers.get("content-type") || "").startsWith("text/event-stream")) {
    yield await response.json();
    return;
  }
  const reader = response.body.pipeThrough(new TextDecoderStream()).getReader();
  for (let rest = ""; ;) {
    const { value, done } = await reader.read();
    if (done) return;
    const parts = (rest + value.replaceAll("\r", "")).split("\n\n");
    rest = parts.pop();
    for (const part of parts) {
      const data = part.split("\n").filter((line) => line.startsWith("data: ")).map((line) => line.slice(6)).join("");
      if (data) yield JSON.parse(data);
    }
  }
}

const encode = (bytes) => btoa(String.fromCharCode(...new Uint8Array(bytes))).replace(/[+]/g, "-").replace(/[/]/g, "_").replace(/=+$/, "");
const random = () => encode(crypto.getRandomValues(new Uint8Array(32)));
const back = () => location.origin + location.pathname;

// Authorization code with PKCE (RFC 7636): off to our own server, and back to this page with a code. `page` is what the
// page wants to have again then.
async function leaveToSignIn(page) {
  const kept = { verifier: random(), state: random(), page };
  sessionStorage.setItem("sign-in", JSON.stringify(kept));
  const challenge = encode(await crypto.subtle.digest("SHA-256", new TextEncoder().encode(kept.verifier)));
  const asked = { response_type: "code", client_id: given("client"), redirect_uri: back(), state: kept.state,
    code_challenge: challenge, code_challenge_method: "S256" };
  location.assign(`/oauth/authorize?${new URLSearchParams(asked)}`);
}

// What came of it: null where nobody was away, else `page`, and `token` with its `seconds` or an `error`.
async function comeBack() {
  const answer = new URLSearchParams(location.search), kept = JSON.parse(sessionStorage.getItem("sign-in") || "null");
  if (!answer.has("state")) return null;
  sessionStorage.removeItem("sign-in");
  history.replaceState(null, "", location.pathname);
  if (!kept || kept.state !== answer.get("state")) return { error: "This sign-in was not begun in this page. Try again." };
  const page = kept.page;
  if (answer.has("error")) return { page, error: `${answer.get("error")}: ${answer.get("error_description") || ""}` };
  const form = { grant_type: "authorization_code", code: answer.get("code"), redirect_uri: back(),
    client_id: given("client"), code_verifier: kept.verifier };
  const got = await (await fetch("/oauth/token", { method: "POST", body: new URLSearchParams(form) })).json();
  return got.access_token ? { page, token: got.access_token, seconds: got.expires_in } : { page, error: pretty(got) };
}

// Embedded mode: by a name alone. `token` and `name`, or an `error`.
async function signInByName(name, role) {
  const query = `mutation ($input: DevelopmentSignInInput!) { developmentSignIn(input: $input) {
    token user { displayName } userErrors { message } } }`;
  const answer = await (await call({ query, variables: { input: { name, roles: [role] } } })).json();
  const payload = answer.data ? answer.data.developmentSignIn : { userErrors: answer.errors };
  return payload.token ? { token: payload.token, name: payload.user.displayName } : { error: pretty(payload.userErrors) };
}
