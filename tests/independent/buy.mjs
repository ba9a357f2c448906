// An agent of its own: no code shared with the shop, nothing but Node's fetch and the shop's agents.json to go by.
//
//   node buy.mjs SITE [WORDS]...     buys one of the first result for each WORDS ("sencha"); SITE may have a path (SITE/compat)
//   prints {order, total, record} as JSON; exit code 0 if everything worked, 1 with a reason if not
//
// It reads both shapes of agents.json, and what the protocol says is all it relies on: no field that only this shop has.
const [site, ...wants] = process.argv.slice(2);
const fail = (message) => { throw new Error(message); };
const must = (value, message) => value ?? fail(message);
const wait = (ms) => new Promise((done) => setTimeout(done, ms));

const manifest = await (await fetch(`${site}/.well-known/agents.json`)).json();
const origin = manifest.site.url;
const at = (endpoint) => new URL(endpoint, origin).href;
const session = at(manifest.session.create ?? manifest.session.endpoint);
const capability = (name) => must(manifest.capabilities.find((one) => one.name === name), `the shop does not offer ${name}`);
let token = "";

async function send(method, url, body) {
  const headers = { "Content-Type": "application/json", ...(token && { Authorization: `Bearer ${token}` }) };
  for (let attempt = 0; ; attempt++) {
    const answer = await fetch(url, { method, headers, body: body && JSON.stringify(body) });
    if (answer.status === 429 && attempt < 3) { await wait(1000 * Number(answer.headers.get("retry-after"))); continue; }
    const told = await answer.json();
    if (told.ok !== true) throw Object.assign(new Error(`${method} ${url}: ${answer.status} ${told.error}`), { status: answer.status });
    return told.data;
  }
}
function call(name, params = {}) {
  const { endpoint, method } = capability(name), rest = { ...params };
  let url = at(endpoint);
  for (const [key, value] of Object.entries(params)) {
    if (url.includes(`/:${key}`)) { url = url.replace(`:${key}`, encodeURIComponent(value)); delete rest[key]; }
  }
  return method === "GET" ? send(method, `${url}?${new URLSearchParams(rest)}`) : send(method, url, rest);
}
async function refused(promise, status) {
  const answer = await promise.then(() => null, (error) => error);
  if (answer?.status !== status) fail(`expected ${status}, got ${answer?.message ?? "success"}`);
}

// What a person does with the link, by the page alone: cookies, the form's hidden fields, and a test card.
async function pay(link) {
  const cookies = new Map();
  async function browse(url, options = {}) {
    for (let hops = 0; hops < 10; hops++) {
      const cookie = [...cookies].map(([name, value]) => `${name}=${value}`).join("; ");
      const page = await fetch(url, { ...options, redirect: "manual", headers: { ...options.headers, cookie } });
      for (const set of page.headers.getSetCookie()) { const [, name, value] = /^([^=]+)=([^;]*)/.exec(set); cookies.set(name, value); }
      if (page.status < 300 || page.status > 399) return { url, status: page.status, text: await page.text() };
      url = new URL(page.headers.get("location"), url).href;
      options = {};
    }
    fail("too many redirects");
  }
  const page = await browse(link), form = must(/<form[^>]*method="post"[^>]*>[\s\S]*?<\/form>/.exec(page.text)?.[0], `no form: ${page.text}`);
  const fields = new URLSearchParams({ email: "ada@example.com", name: "Ada Example", address: "1 Sample Street", token: "tok_success" });
  for (const [input] of form.matchAll(/<input[^>]*type="hidden"[^>]*>/g)) fields.set(/name="([^"]*)"/.exec(input)[1], /value="([^"]*)"/.exec(input)[1]);
  const action = new URL(/action="([^"]*)"/.exec(form)[1], page.url).href;
  const order = await browse(action, { method: "POST", body: fields.toString(), headers: { "Content-Type": "application/x-www-form-urlencoded", referer: page.url } });
  if (order.status !== 200 || !order.url.includes("/orders/")) fail(`no order (${order.status}): ${order.text}`);
  return order.url;
}

try {
  await refused(call("cart.view"), 401);
  const opened = await send("POST", session, { agent_name: "buy.mjs", agent_version: "1", purpose: "to buy" });
  token = opened.session_token;
  if (!opened.capabilities.includes("checkout")) fail("a session cannot check out");
  for (const q of wants.length ? wants : ["sencha"]) {
    const [first] = await call("search", { q });
    const item = await call("detail", { id: must(first, `nothing fits ${q}`).id });
    const { id } = must([item, ...(item.variants ?? [])].find((one) => one.price && one.for_sale), `${item.title} is not for sale`);
    await call("cart.add", { item_id: id, quantity: 2 });
    await call("cart.update", { item_id: id, quantity: 1 });
  }
  const { items } = await call("cart.view");
  await call("cart.remove", { item_id: items[0].item_id });
  await refused(call("cart.remove", { item_id: items[0].item_id }), 404);
  await call("cart.add", { item_id: items[0].item_id });
  await refused(call("cart.add", { item_id: items[0].item_id, quantity: "many" }), 400);
  const { total } = await call("cart.view");
  const { handoff_url, expires_at } = await call("checkout");
  if (!(new Date(expires_at) > new Date())) fail("the link has expired already");
  const order = await pay(handoff_url);
  await send("DELETE", session).catch((error) => { if (error.status !== 401) throw error; });
  let record = null;
  if (manifest.audit?.enabled) {
    const address = at(manifest.audit.endpoint);
    record = await send("GET", address.includes(":session_id") ? address.replace(":session_id", token) : `${address}/${token}`);
    if (record.public_key !== manifest.audit.public_key) fail("another key has signed the record");
  }
  console.log(JSON.stringify({ order, total, record }));
} catch (error) {
  console.error(error.message);
  process.exitCode = 1;
}
