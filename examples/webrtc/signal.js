// WebRTC descriptions as extended data of Ringback.
//
// Extended data has 2048 bytes at most, and a browser's SDP has 6000 or more.
// With few codecs (see peer.js) and compressed it takes about 1200, and 50 more
// for each network address: there is room for 16 of them.

export const LIMIT = 2048; // bytes, set by the server

const USELESS = /^a=candidate:\S+ \d+ tcp .*\r\n/gim; // browsers only dial over TCP, so two of them never meet there

// pack makes extended data of a complete local description. It throws an Error
// for people when that does not fit.
export async function pack({ sdp }) {
  const text = JSON.stringify({ sdp: await deflate(sdp.replace(USELESS, '')) });
  if (text.length > LIMIT) {
    throw new Error(`The WebRTC description takes ${text.length} bytes and extended data has ${LIMIT}. This machine has very many network addresses: turn off those of virtual networks, or send the description by a channel of your own.`);
  }
  return text;
}

// unpack gives back a description of a type, 'offer' or 'answer'; null when
// the extended data holds something else.
export async function unpack(type, text) {
  try {
    const { sdp } = JSON.parse(text);
    return { type, sdp: await inflate(sdp) };
  } catch {
    return null;
  }
}

async function deflate(text) {
  const bytes = await through(new CompressionStream('deflate-raw'), new TextEncoder().encode(text));
  return btoa(String.fromCharCode(...bytes));
}

async function inflate(base64) {
  const bytes = Uint8Array.from(atob(base64), (c) => c.charCodeAt(0));
  return new TextDecoder().decode(await through(new DecompressionStream('deflate-raw'), bytes));
}

async function through(transform, bytes) {
  return new Uint8Array(await new Response(new Blob([bytes]).stream().pipeThrough(transform)).arrayBuffer());
}
