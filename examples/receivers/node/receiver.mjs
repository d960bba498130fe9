// A receiver of Ringback's callbacks with nothing but Node.js, 18 or later.
//
//   RINGBACK_CALLBACK_SECRETS=new,old PORT=9000 node receiver.mjs
//
// Prints one line of JSON for each event. Answers: 204 handled, now or before;
// 400 unreadable; 401 not signed, forged or stale; 405 not a POST; 409 being
// handled; 413 too large; 415 neither JSON nor a form; 500 failed: send again.

import { createHash, createHmac, timingSafeEqual } from 'node:crypto';
import { createServer } from 'node:http';

const secrets = (process.env.RINGBACK_CALLBACK_SECRETS ?? '').split(',').filter(Boolean);
const port = Number(process.env.PORT ?? 9000);
const tolerance = 5 * 60; // seconds
const maxBody = 64 * 1024;

if (secrets.length === 0) {
  console.error('receiver: set RINGBACK_CALLBACK_SECRETS to the secret of the endpoint; several are separated by commas');
  process.exit(1);
}

// handle is where your program begins. When it throws, the callback is sent
// again later.
async function handle(event) {
  console.log(JSON.stringify(event));
}

class Refusal extends Error {
  constructor(status, text) {
    super(text);
    this.status = status;
  }
}

function same(a, b) {
  const [x, y] = [Buffer.from(a), Buffer.from(b)];
  return x.length === y.length && timingSafeEqual(x, y);
}

// checkTime takes Unix seconds as text.
function checkTime(text, name) {
  if (!/^\d{1,12}$/.test(text)) {
    throw new Refusal(400, `${name} is not a number of seconds`);
  }
  if (Math.abs(Date.now() / 1000 - Number(text)) > tolerance) {
    throw new Refusal(401, `${name} is more than ${tolerance} s from now: it is a replay, or a clock is wrong`);
  }
}

// verifyHeader checks the signature of Standard Webhooks, which covers the ID,
// the time and the body. During a rotation there is one for each secret.
function verifyHeader(headers, body) {
  const id = headers['webhook-id'];
  const timestamp = headers['webhook-timestamp'];
  const given = headers['webhook-signature'];
  if (!id || !timestamp || !given) {
    throw new Refusal(401, 'the webhook headers are missing: only signed callbacks are accepted');
  }
  let right = false;
  for (const secret of secrets) {
    const want = 'v1,' + createHmac('sha256', secret).update(`${id}.${timestamp}.`).update(body).digest('base64');
    for (const signature of given.split(' ')) {
      right = same(want, signature) || right;
    }
  }
  if (!right) {
    throw new Refusal(401, 'webhook-signature matches none of the secrets');
  }
  checkTime(timestamp, 'webhook-timestamp');
}

// verifyBody checks the documented signature: SHA-1 of secret, timestamp and
// nonce in byte order. It does not cover the rest of the body.
function verifyBody(fields) {
  const { timestamp, nonce, signature } = fields;
  if (typeof nonce !== 'string' || typeof signature !== 'string' || !nonce || !signature) {
    throw new Refusal(401, 'nonce or signature is missing in the body');
  }
  let right = false;
  for (const secret of secrets) {
    const parts = [secret, String(timestamp), nonce].map((s) => Buffer.from(s)).sort(Buffer.compare);
    right = same(createHash('sha1').update(Buffer.concat(parts)).digest('hex'), signature) || right;
  }
  if (!right) {
    throw new Refusal(401, 'the signature in the body matches none of the secrets');
  }
  checkTime(String(timestamp), 'timestamp');
}

const numbers = ['timestamp', 'create_time', 'timeout', 'invite_time', 'duration', 'action', 'login_time', 'logout_time', 'offline_time'];

function parse(contentType, body) {
  const media = (contentType ?? '').split(';')[0].trim().toLowerCase();
  let fields;
  if (media === 'application/json') {
    try {
      fields = JSON.parse(body.toString('utf8'));
    } catch {
      throw new Refusal(400, 'the body is not JSON');
    }
  } else if (media === 'application/x-www-form-urlencoded') {
    fields = Object.fromEntries(new URLSearchParams(body.toString('utf8')));
    for (const name of numbers) {
      if (name in fields) fields[name] = Number(fields[name]);
    }
    if ('user_ids' in fields) {
      try {
        fields.user_ids = JSON.parse(fields.user_ids); // arrays are JSON text
      } catch {
        throw new Refusal(400, 'user_ids is not a JSON array');
      }
    }
  } else {
    throw new Refusal(415, 'the Content-Type is neither application/json nor application/x-www-form-urlencoded');
  }
  if (typeof fields?.event !== 'string') {
    throw new Refusal(400, 'the body has no event');
  }
  return fields;
}

async function read(request) {
  const chunks = [];
  let size = 0;
  // What is too much is read on to a bound, and dropped: a sender that is
  // still sending would not see the answer.
  for await (const chunk of request.iterator({ destroyOnReturn: false })) {
    size += chunk.length;
    if (size <= maxBody) chunks.push(chunk);
    else if (size > 16 * maxBody) break;
  }
  if (size > maxBody) {
    throw new Refusal(413, `the body is larger than ${maxBody} bytes`);
  }
  return Buffer.concat(chunks); // the very bytes: the signature is over them
}

// seen holds the IDs of callbacks, true once they are handled: the latest
// 100,000. A real receiver keeps them in its database.
const seen = new Map();

async function receive(request) {
  if (request.method !== 'POST') {
    throw new Refusal(405, 'callbacks come by POST');
  }
  const body = await read(request);
  verifyHeader(request.headers, body);
  const fields = parse(request.headers['content-type'], body);
  verifyBody(fields);

  const id = request.headers['webhook-id'];
  if (seen.get(id)) {
    return;
  }
  if (seen.has(id)) {
    throw new Refusal(409, 'this callback is being handled');
  }
  seen.set(id, false);
  try {
    const { nonce, signature, ...rest } = fields;
    await handle({
      id,
      attempt: Number(request.headers['ringback-attempt'] ?? 0),
      sequence: Number(request.headers['ringback-sequence'] ?? 0),
      test: request.headers['ringback-test'] === 'true',
      ...rest,
    });
  } catch (error) {
    seen.delete(id);
    throw error;
  }
  seen.set(id, true);
  if (seen.size > 100_000) {
    seen.delete(seen.keys().next().value);
  }
}

const server = createServer(async (request, response) => {
  try {
    await receive(request);
    response.writeHead(204).end();
  } catch (error) {
    const status = error instanceof Refusal ? error.status : 500;
    if (status === 500) console.error('receiver:', error);
    const headers = { 'Content-Type': 'text/plain; charset=utf-8' };
    if (status === 405) headers.Allow = 'POST';
    if (status === 413) headers.Connection = 'close';
    response.writeHead(status, headers).end(status === 500 ? 'failed: send it again\n' : error.message + '\n');
  }
});

server.listen(port, '127.0.0.1', () => console.error(`listening on http://127.0.0.1:${server.address().port}`));

// The requests that are under way are finished, then the process ends.
for (const signal of ['SIGTERM', 'SIGINT']) {
  process.once(signal, () => {
    server.close();
    server.closeIdleConnections();
  });
}
