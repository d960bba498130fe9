// The past calls of one user, as the server has them: which were missed, and
// which still go on and can be joined.

const ASKED = 50; // calls
const PASSED = new Set([3, 6, 10]); // states of a user whose ringing ended without an answer
const PENDING = new Set([0, 5, 9]);

export class History {
  missed = []; // newest first: {id, from, at, advanced}
  joinable = [];
  #me;
  #seenKey;
  #client;
  #asking = null;
  #again = false;

  constructor(me, seenKey, client) {
    this.#me = me;
    this.#seenKey = seenKey;
    this.#client = client;
  }

  // clear forgets the calls missed so far.
  clear() {
    if (this.missed.length > 0) sessionStorage.setItem(this.#seenKey, this.missed[0].id);
    this.missed = [];
  }

  // refresh asks the server. One question is under way at a time.
  refresh() {
    if (this.#client.state !== 'connected') return;
    this.#again = true;
    this.#asking ??= this.#ask().finally(() => (this.#asking = null));
  }

  async #ask() {
    while (this.#again) {
      this.#again = false;
      try {
        this.#take(await this.#client.query({ count: ASKED }));
      } catch {
        // The lists stay as they are until the next call or login.
      }
    }
  }

  #take({ calls }) {
    const seen = calls.findIndex(({ call_id }) => call_id === sessionStorage.getItem(this.#seenKey));
    const mine = ({ users }) => users.find(({ user_id }) => user_id === this.#me)?.state;
    this.missed = calls.slice(0, seen < 0 ? calls.length : seen)
      .filter((call) => call.caller !== this.#me && (PASSED.has(mine(call)) || (call.state === 2 && PENDING.has(mine(call)))))
      .map(entry);
    this.joinable = calls.filter((call) => call.mode === 1 && call.state === 1 && !PENDING.has(mine(call))).map(entry);
  }
}

function entry({ call_id, inviter, caller, create_time_ms, mode }) {
  return { id: call_id, from: inviter || caller, at: create_time_ms, advanced: mode === 1 };
}
