// An artifact verifier of its own: no code shared with the Python one, nothing but Node's crypto and a format to go by.
//
//   node verify.mjs FILE [--key KEY]...      FILE or - ; KEY is base64 (32 or 44 bytes) or a file with that or PEM
//     [--log-key VKEY]... [--witness-key VKEY]... [--require-witness N] [--require-inclusion]
//     [--checkpoint FILE] [--consistency FILE]      VKEY is name+id+base64 or a file with that
//   exit code 0 good, 1 not good, 2 wrong use, 3 good by itself but no key was given
//
// The format. The file is RFC 8785 JSON without fractions, bare or as {"data": ARTIFACT, "ok": true}. Events form a chain:
// seq 1, 2, 3…, prev_hash is the SHA-256 of the canonical event before ("" first), all have the artifact's run_id. The first
// is session.created and alone has a header; the last and only the last is session.ended, its params say when and why.
// root_hash is the SHA-256 of all hex hashes joined; signature is Ed25519 over its 64 characters. The envelope repeats the
// header, the end and the counts; runtime_signature is Ed25519 over "agent-session-envelope/v1\0" and it. A private value
// shows in its event as HMAC-SHA256(salt, "agent-session-commit/v1\0" ‖ canonical [run_id, seq, path, value]), base64url.
// inclusion, if there, has the leaf that names run id, number and hash of the last event, and its way up the log's RFC 6962
// tree to a head: a note (C2SP tlog-checkpoint) that the log's key has signed, and witnesses (C2SP tlog-cosignature).
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
const hashes = (v) => Array.isArray(v) && v.length <= 63 && v.every(base64(32));
const ORIGIN = (v) => text(v) && /^[^\s+]+$/u.test(v);
const LEAF = { head: hex(64), log: ORIGIN, seq: whole(1), session: some, type: is("agent-session-leaf/v1"), v: is(1) };
const INCLUSION = { checkpoint: text, hashes, leaf: LEAF, leaf_index: whole(0), tree_size: whole(0) };
const ARTIFACT = { "after?": (v) => Array.isArray(v) && v.length > 0, "inclusion?": INCLUSION, agent: { name: maybe, purpose: maybe, version: maybe }, created_at: time, ended_at: time, envelope: ENVELOPE,
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

// The log: RFC 6962 section 2.1, as recursion, which the shop's own code is not.
const bytes = (...parts) => createHash("sha256").update(Buffer.concat(parts)).digest();
const node = (left, right) => bytes(Buffer.from([1]), left, right);
const split = (n) => { let k = 1n; while (k * 2n < n) k *= 2n; return k; };
function rootFrom(index, size, leaf, proof) {
  if (size === 1n) return proof.length ? null : leaf;
  if (!proof.length) return null;
  const k = split(size), rest = proof.slice(0, -1), last = proof.at(-1);
  const made = index < k ? rootFrom(index, k, leaf, rest) : rootFrom(index - k, size - k, leaf, rest);
  return made && (index < k ? node(made, last) : node(last, made));
}
// Both roots that a consistency proof leads to; whole: the smaller tree begins at the first leaf, so that its root is known.
function rootsFrom(old, size, proof, root, whole = true) {
  if (old === size) return whole ? (proof.length ? null : [root, root]) : proof.length === 1 ? [proof[0], proof[0]] : null;
  if (!proof.length) return null;
  const k = split(size), rest = proof.slice(0, -1), last = proof.at(-1);
  if (old <= k) { const made = rootsFrom(old, k, rest, root, whole); return made && [made[0], node(made[1], last)]; }
  const made = rootsFrom(old - k, size - k, rest, root, false);
  return made && [node(last, made[0]), node(last, made[1])];
}
function consistent(old, size, oldRoot, root, proof) {
  if (old === 0n) return proof.length === 0 && oldRoot.equals(bytes()) && (size > 0n || root.equals(oldRoot));
  const made = rootsFrom(old, size, proof, oldRoot);
  return made !== null && made[0].equals(oldRoot) && made[1].equals(root);
}

function vkey(given) {
  const found = /^([^\s+]+)\+([0-9a-f]{8})\+([A-Za-z0-9+/=]+)\n?$/u.exec(given);
  must(found && base64(33)(found[3]), "key", "is not name+id+base64");
  const raw = Buffer.from(found[3], "base64"), id = bytes(Buffer.from(`${found[1]}\n`), raw).subarray(0, 4).toString("hex");
  must((raw[0] === 1 || raw[0] === 4) && id === found[2], "key", "does not have this id or kind");
  return { name: found[1], id, kind: raw[0], key: publicKey(raw.subarray(1).toString("base64")) };
}
function note(written, keys) {
  must(Buffer.byteLength(written) <= 256 * 1024 && written.isWellFormed() && !/[\0-\x09\x0b-\x1f]/.test(written), "note", "is malformed");
  const blank = written.lastIndexOf("\n\n"), body = written.slice(0, blank + 1), signed_by = [];
  must(blank > 0 && written.endsWith("\n"), "note", "has no signatures");
  const lines = written.slice(blank + 2, -1).split("\n");
  must(lines.length <= 100, "note", "has too many signatures");
  for (const line of lines) {
    const [, name, code] = /^— ([^\s+]+) (\S+)$/u.exec(line) ?? no("note", "has a malformed signature line");
    const raw = Buffer.from(code, "base64"), id = raw.subarray(0, 4).toString("hex"), signature = raw.subarray(4);
    must(raw.toString("base64") === code && raw.length > 4, "note", "has a malformed signature");
    for (const one of keys.filter((key) => key.name === name && key.id === id)) {
      const time = one.kind === 4 && signature.length === 72 ? signature.readBigUInt64BE() : null;
      const message = one.kind === 1 ? body : `cosignature/v1\ntime ${time}\n${body}`, bare = one.kind === 1 ? signature : signature.subarray(8);
      must(bare.length === 64 && (one.kind === 1 || time < 2n ** 63n) && signed(one.key, Buffer.from(message), bare.toString("base64")), "note", `is not signed by ${name}`);
      signed_by.push(one);
    }
  }
  const [origin, size, root, ...more] = body.slice(0, -1).split("\n");
  must(origin && /^(0|[1-9][0-9]{0,18})$/.test(size) && BigInt(size) < 2n ** 63n && base64(32)(root) && more.every(some), "head", "is malformed");
  must(size !== "0" || bytes().toString("base64") === root, "head", "has a root without leaves");
  return { origin, size: BigInt(size), root: Buffer.from(root, "base64"), signed_by };
}
const byLog = (head) => must(head.signed_by.some((key) => key.kind === 1 && key.name === head.origin), "head", "is not signed by its log");

function checkLog(doc, log) {
  const found = doc.inclusion;
  if (!found) { must(!log.required && !log.quorum, "inclusion", "is missing"); return; }
  const { leaf } = found, head = note(found.checkpoint, log.keys);
  must(leaf.session === doc.run_id && leaf.seq === doc.envelope.event_count && leaf.head === doc.envelope.head_hash, "inclusion.leaf", "is not this session's end");
  must(leaf.log === head.origin && BigInt(found.tree_size) === head.size && found.leaf_index < found.tree_size, "inclusion", "is not of this head");
  const leafHash = bytes(Buffer.from([0]), Buffer.from(canonical(leaf))), proof = found.hashes.map((one) => Buffer.from(one, "base64"));
  must(rootFrom(BigInt(found.leaf_index), head.size, leafHash, proof)?.equals(head.root), "inclusion.hashes", "lead elsewhere");
  if (!log.keys.length) return;
  byLog(head);
  const witnesses = new Set(head.signed_by.filter((key) => key.kind === 4).map((key) => key.key.toString("hex")));
  must(witnesses.size >= log.quorum, "inclusion.checkpoint", "has too few witnesses");
  if (log.head === undefined) return;
  const known = note(log.head, log.keys);
  byLog(known);
  const [old, later] = known.size <= head.size ? [known, head] : [head, known], needed = old.size !== 0n && old.size !== later.size;
  must(known.origin === head.origin && (!needed || log.consistency), "head", "cannot be compared");
  must(consistent(old.size, later.size, old.root, later.root, needed ? log.consistency : []), "head", "is of another history");
}

// What was chained on after the end: it says what was erased since, and nothing of that may be disclosed.
function checkAfter(doc, hashes) {
  const gone = new Set();
  let before = hashes.at(-1);
  (doc.after ?? []).forEach((event, i) => {
    const at = `after[${i}]`;
    fits(event, EVENT, at);
    must(event.seq === hashes.length + i + 1 && event.run_id === doc.run_id && event.prev_hash === before, at, "does not continue the chain");
    must(!["session.created", "session.ended"].includes(event.kind) && !Object.hasOwn(event, "header"), at, "cannot stand here");
    if (event.kind === "pii.purged") {
      const { classes, ...params } = event.params;
      must(Array.isArray(classes) && classes.length && classes.every((one) => one === "content" || one === "personal"), at, "names no classes");
      must(["rule", "basis", "because", "unrecoverable_after"].every((name) => params[name] === undefined || text(params[name])), at, "says why in no text");
      classes.forEach((one) => gone.add(one));
    }
    before = sha256(canonical(event));
  });
  doc.openings.forEach((o, i) => must(!gone.has(o.path === "patch" ? "content" : "personal"), `openings[${i}]`, "was erased"));
}

function check(raw, keys, log) {
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
  checkAfter(doc, hashes);
  checkLog(doc, log);
  return trusted;
}

const keys = [], files = [], log = { keys: [], quorum: 0 };
const fileOr = (given) => existsSync(given) ? readFileSync(given, "utf8") : given;
try {
  for (let rest = process.argv.slice(2); rest.length; rest = rest.slice(1)) {
    const option = rest[0];
    if (!option.startsWith("--")) { files.push(option); continue; }
    if (option === "--require-inclusion") { log.required = true; continue; }
    rest = rest.slice(1);
    must(rest.length, option, "needs a value");
    if (option === "--key") keys.push(publicKey(fileOr(rest[0])));
    else if (option === "--log-key" || option === "--witness-key") {
      log.keys.push(vkey(fileOr(rest[0])));
      must(log.keys.at(-1).kind === (option === "--log-key" ? 1 : 4), option, "is a key of another kind");
    } else if (option === "--require-witness") log.quorum = Number(rest[0]);
    else if (option === "--checkpoint") log.head = readFileSync(rest[0], "utf8");
    else if (option === "--consistency") {
      const lines = readFileSync(rest[0], "ascii").split(/\s+/).filter(some);
      must(hashes(lines), option, "is not a proof");
      log.consistency = lines.map((one) => Buffer.from(one, "base64"));
    } else no(option, "is no option");
  }
  const asked = log.required || log.quorum || log.head !== undefined || log.keys.length;
  must(!asked || log.keys.some((key) => key.kind === 1), "usage:", "a log's key has to be given with --log-key");
  const known = new Set(log.keys.filter((key) => key.kind === 4).map((key) => key.key.toString("hex")));
  must(Number.isSafeInteger(log.quorum) && log.quorum >= 0 && log.quorum <= known.size, "usage:", "more witnesses are required than named");
  must(files.length === 1, "usage:", "node verify.mjs FILE [--key KEY]...");
  files[0] = readFileSync(files[0] === "-" ? 0 : files[0]);
} catch (error) {
  console.error(error.message);
  process.exit(2);
}
try {
  const trusted = check(files[0], keys, log);
  console.log(trusted ? "Good." : "Good by itself. WHO SIGNED IT IS NOT CHECKED: no key was given.");
  process.exitCode = trusted ? 0 : 3;
} catch (error) {
  if (!error.finding && !(error instanceof RangeError)) throw error;
  console.log(`NOT GOOD: ${error.message}`);
  process.exitCode = 1;
}
