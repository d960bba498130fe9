// The people that the page knows, by user ID.

const CONTROLS = /[\u0000-\u001f\u007f-\u009f\u061c\u200e\u200f\u2028-\u202e\u2066-\u2069]/gu; // and what turns text around
const RIGHT_TO_LEFT = /[\u0590-\u08ff\ufb1d-\ufdff\ufe70-\ufefc\u{10800}-\u{10fff}\u{1e800}-\u{1efff}]/u;

export class People {
  #names = new Map();

  // add makes a user known; without a name he keeps the one he has.
  add(id, name) {
    this.#names.set(id, name || this.#names.get(id) || id);
  }

  get ids() {
    return [...this.#names.keys()];
  }

  // nameOf gives a name that cannot disturb the text around it: it is one
  // line, and runs in its own direction only.
  nameOf(id) {
    const name = (this.#names.get(id) ?? id).replace(CONTROLS, '') || id;
    return RIGHT_TO_LEFT.test(name) ? `\u2068${name}\u2069` : name;
  }

  list(ids) {
    return ids.map((id) => this.nameOf(id)).join(', ');
  }
}

// initial is the letter that stands for a name.
export function initial(name) {
  const [first = '?'] = new Intl.Segmenter().segment(name.replace(/^\u2068/, ''));
  return first.segment?.toUpperCase() ?? '?';
}
