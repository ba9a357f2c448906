// An artifact verifier of its own: no code shared with the Python one, nothing but Node's crypto and a format to go by.
//
//   node verify.mjs FILE [--key KEY]...      FILE or - ; KEY is base64 (32 or 44 bytes) or a file with that or PEM
//   exit code 0 good, 1 not good, 2 wrong use, 3 good by itself but no key was given
//
// The format. The file is RFC 8785 JSON without fractions, bare or as {"data": ARTIFACT, "ok": true}. Events form a chain:
// seq 1, 2, 3…, prev_hash is the SHA-256 of the canonical event before ("" first), all have the artifact's run_id. The first
// is session.created and alone has a header; the last and only the last is session.ended, its params say when and why.
// root_hash is the SHA-256 of all hex hashes joined; signature is Ed25519 over its 64 characters. The envelope repeats the
// header, the end and the counts; runtime_signature is Ed25519 over "agent-session-envelope/v1\0" and it. A private value
// shows in its event as HMAC-SHA256(salt, "agent-session-commit/v1\0" ‖ canonical [run_id, seq, path, value]), base64url.
import { createHash, createHmac, createPublicKey, verify } from "node:crypto";
import { existsSync, readFileSync } from "node:fs";

const MAX_SIZE = 256 * 1024 * 1024, MAX_DEPTH = 68;
const sha256 = (data) => createHash("sha256").update(data).digest("hex");
const no = (where, message) => { throw Object.assign(new Error(`${where} ${message}`), { finding: true }); };
const must = (good, where, message) => good || no(where, message);

function canonical(value, depth = 0) {
  if (value === null || typeof value === "boolean") return String(value);
  if (typeof value === "number") { must(Number.isSafeInteger(value), "document", "has a number that is not whole"); return String(value); }
  if (typeof value === "string") { must(value.isWellFormed(), "document", "has half a character"); return JSON.stringify(value); }
  must(depth < MAX_DEPTH, "document", "is too deep");
  if (Array.isArray(value)) return `[${value.map((item) => canonical(item, depth + 1)).join(",")}]`;
  return `{${Object.keys(value).sort().map((key) => `${canonical(key)}:${canonical(value[key], depth + 1)}`).join(",")}}`;
}

// What may stand in a member
const text = (v) => typeof v === "string", some = (v) => text(v) && v !== "", any = () => true;
const maybe = (v) => v === null || text(v);
const object = (v) => v !== null && typeof v === "object" && !Array.isArray(v);
const texts = (v) => Array.isArray(v) && v.every(text);
const whole = (least, most = Number.MAX_SAFE_INTEGER) => (v) => Number.isSafeInteger(v) && v >= least && v <= most;
const hex = (digits) => (v) => text(v) && v.length === digits && /^[0-9a-f]+$/.test(v);
const base64 = (size, kind = "base64") => (v) => text(v) && Buffer.from(v, kind).length === size && Buffer.from(v, kind).toString(kind) === v;
const is = (expected) => (v) => v === expected;
const time = (v) => text(v) && /^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{6}Z$/.test(v) && !v.startsWith("0000")
  && !Number.isNaN(Date.parse(v)) && new Date(v).toISOString().slice(0, 19) === v.slice(0, 19);
const commitment = base64(32, "base64url");
const commitments = (v) => object(v) && Object.keys(v).length > 0 && Object.values(v).every(commitment);

const HEADER = { agent: { name: maybe, operator: maybe, version: maybe }, capabilities: texts, created_at: time, expires_at: time,
  merchant: text, scope: any, session_kind: text, site: text, token_hash: hex(64) };
const EVENT = { actor: text, capability: text, event_id: some, kind: some, method: text, params: object,
  policy_result: (v) => v === "allow" || v === "deny", prev_hash: (v) => v === "" || hex(64)(v), response_status: whole(100, 599),
  run_id: some, seq: whole(1), timestamp: time, type: is("agent-session-event/v1"),
  "base_version?": whole(0), "duration_ms?": whole(0), "version?": whole(0), "policy_rule?": some, "private?": commitments, "header?": HEADER };
const ENVELOPE = { ...HEADER, end_reason: some, ended_at: time, event_count: whole(1), head_hash: hex(64), key_id: hex(16),
  "purpose_commitment?": commitment, root_hash: hex(64), run_id: some, type: is("agent-session-envelope/v1") };
const ARTIFACT = { agent: { name: maybe, purpose: maybe, version: maybe }, created_at: time, ended_at: time, envelope: ENVELOPE,
  events: Array.isArray, openings: Array.isArray, public_key: base64(44), root_hash: hex(64), run_id: some,
  runtime_signature: base64(64), session_id: hex(64), signature: base64(64), site: text, type: is("agent-session-artifact/v1") };
const OPENING = { path: text, salt: commitment, seq: whole(1), value: any };

function fits(value, shape, where) {
  must(object(value), where, "is not an object");
  const allowed = new Set(Object.keys(shape).map((name) => name.replace("?", "")));
  for (const name of Object.keys(value)) must(allowed.has(name), where, `has an unknown member ${JSON.stringify(name)}`);
  for (const [name, rule] of Object.entries(shape)) {
    const member = name.replace("?", ""), there = Object.hasOwn(value, member);
    must(there || name.endsWith("?"), `${where}.${member}`, "is missing");
    if (!there) continue;
    if (typeof rule === "function") must(rule(value[member]), `${where}.${member}`, "is not what can stand there");
    else fits(value[member], rule, `${where}.${member}`);
  }
}

// Keys: 32 raw bytes. Points of low order and second spellings of a point are refused, for they sign anything.
const SPKI = Buffer.from("302a300506032b6570032100", "hex");
function publicKey(given) {
  const body = given.trim().replace(/^-----BEGIN PUBLIC KEY-----([\s\S]*)-----END PUBLIC KEY-----$/, "$1").replace(/\s/g, "");
  const raw = Buffer.from(body, "base64"), key = raw.subarray(-32);
  must(raw.toString("base64") === body && (raw.length === 32 || (raw.length === 44 && raw.subarray(0, 12).equals(SPKI))), "key", "is not an Ed25519 key");
  const P = 2n ** 255n - 19n, y = BigInt(`0x${Buffer.from(key).reverse().toString("hex")}`) & (2n ** 255n - 1n);
  const eighth = 0x05fc536d880238b13933c6d305acdfd5f098eff289f4c345b027b2c28f95e826n;
  must(y < P && ![0n, 1n, P - 1n, eighth, P - eighth].includes(y), "key", "is degenerate");
  return key;
}
const signed = (key, message, signature) => verify(null, message,
  createPublicKey({ key: Buffer.concat([SPKI, key]), format: "der", type: "spki" }), Buffer.from(signature, "base64"));

function check(raw, keys) {
  must(raw.length <= MAX_SIZE, "document", "is too large");
  let whole;
  try { whole = JSON.parse(new TextDecoder("utf-8", { fatal: true, ignoreBOM: true }).decode(raw)); } catch { no("document", "is not JSON"); }
  must(Buffer.from(canonical(whole)).equals(raw), "document", "is not canonical");
  const wrapped = object(whole) && Object.keys(whole).join() === "data,ok" && whole.ok === true;
  const doc = wrapped ? whole.data : whole;
  fits(doc, ARTIFACT, "artifact");
  const { events, envelope, openings, agent } = doc, hashes = [];
  events.forEach((event, i) => {
    const at = `events[${i}]`, first = i === 0, last = i === events.length - 1;
    fits(event, EVENT, at);
    must(event.seq === i + 1, `${at}.seq`, "is out of order");
    must(event.run_id === doc.run_id, `${at}.run_id`, "is another session's");
    must(event.prev_hash === (first ? "" : hashes[i - 1]), `${at}.prev_hash`, "does not continue the chain");
    must((event.kind === "session.created") === first && Object.hasOwn(event, "header") === first, at, "cannot stand here");
    must((event.kind === "session.ended") === last, at, "is or is not the end");
    hashes.push(sha256(canonical(event)));
  });
  must(envelope.event_count === events.length, "envelope.event_count", "is wrong");
  const root = sha256(hashes.join("")), header = events[0].header, end = events.at(-1).params, commits = events[0].private ?? {};
  const told = openings.find((o) => object(o) && o.seq === 1 && o.path === "purpose" && Object.hasOwn(commits, "purpose"));
  const same = {
    root_hash: [doc.root_hash, root], "envelope.root_hash": [envelope.root_hash, root], "envelope.head_hash": [envelope.head_hash, hashes.at(-1)],
    ...Object.fromEntries(Object.keys(HEADER).map((name) => [`envelope.${name}`, [envelope[name], header[name]]])),
    "envelope.purpose_commitment": [envelope.purpose_commitment ?? null, Object.hasOwn(commits, "purpose") ? commits.purpose : null],
    "envelope.run_id": [envelope.run_id, doc.run_id], "envelope.ended_at": [envelope.ended_at, end.ended_at ?? null],
    "envelope.end_reason": [envelope.end_reason, end.end_reason ?? null], session_id: [doc.session_id, envelope.token_hash],
    site: [doc.site, envelope.site], created_at: [doc.created_at, envelope.created_at], ended_at: [doc.ended_at, envelope.ended_at],
    "agent.name": [agent.name, envelope.agent.name], "agent.version": [agent.version, envelope.agent.version],
    "agent.purpose": [agent.purpose, told ? told.value : null],
  };
  for (const [where, [found, expected]] of Object.entries(same)) must(canonical(found) === canonical(expected), where, "contradicts another place");
  const key = publicKey(doc.public_key);
  must(envelope.key_id === sha256(Buffer.concat([SPKI, key])).slice(0, 16), "envelope.key_id", "is another key's");
  must(signed(key, Buffer.from(root), doc.signature), "signature", "is bad");
  must(signed(key, Buffer.from(`agent-session-envelope/v1\0${canonical(envelope)}`), doc.runtime_signature), "runtime_signature", "is bad");
  const trusted = keys.some((given) => given.equals(key));
  must(trusted || keys.length === 0, "public_key", "is none of the keys given");
  openings.forEach((o, i) => {
    const at = `openings[${i}]`, before = openings[i - 1];
    fits(o, OPENING, at);
    must(i === 0 || o.seq > before.seq || (o.seq === before.seq && Buffer.compare(Buffer.from(o.path), Buffer.from(before.path)) > 0), at, "is out of order");
    const made = events[o.seq - 1]?.private ?? {};
    const mac = createHmac("sha256", Buffer.from(o.salt, "base64url")).update(`agent-session-commit/v1\0${canonical([doc.run_id, o.seq, o.path, o.value])}`);
    must(Object.hasOwn(made, o.path) && made[o.path] === mac.digest("base64url"), at, "does not open its commitment");
  });
  return trusted;
}

const keys = [], files = [];
try {
  for (let rest = process.argv.slice(2); rest.length; rest = rest.slice(1)) {
    if (rest[0] !== "--key") { files.push(rest[0]); continue; }
    rest = rest.slice(1);
    keys.push(publicKey(existsSync(rest[0]) ? readFileSync(rest[0], "ascii") : rest[0]));
  }
  must(files.length === 1, "usage:", "node verify.mjs FILE [--key KEY]...");
  files[0] = readFileSync(files[0] === "-" ? 0 : files[0]);
} catch (error) {
  console.error(error.message);
  process.exit(2);
}
try {
  const trusted = check(files[0], keys);
  console.log(trusted ? "Good." : "Good by itself. WHO SIGNED IT IS NOT CHECKED: no key was given.");
  process.exitCode = trusted ? 0 : 3;
} catch (error) {
  if (!error.finding && !(error instanceof RangeError)) throw error;
  console.log(`NOT GOOD: ${error.message}`);
  process.exitCode = 1;
}
