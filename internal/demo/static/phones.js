// The phones of the page: they can be added and removed, and a reload keeps
// them.

import { h, setText } from './dom.js';
import { Phone } from './phone.js';

const MOST = 12; // phones

export class Phones {
  all = [];
  #config;
  #people;
  #onScreen;
  #places;
  #more;

  // config has app_id, users: those of the first phones, space: a name for what
  // is kept in the storage of the tab, token(userID): resolves to a login token,
  // and phonePath(user): the page of one phone. The first phones go to places,
  // later ones into more.
  constructor({ config, people, places, more, onScreen }) {
    this.#config = config;
    this.#people = people;
    this.#places = places;
    this.#more = more;
    this.#onScreen = onScreen;
  }

  // open makes the phones of the configuration and those added before.
  open() {
    for (const user of this.#config.users) this.#add({ user, device: 1 });
    for (const kept of JSON.parse(sessionStorage.getItem(this.#kept) ?? '[]')) this.#add(kept);
    this.#keep();
  }

  // add makes a phone for a user: a further device, if he has one already.
  add(user) {
    if (this.all.length >= MOST) throw new Error(`${MOST} phones are enough for one page.`);
    const devices = this.all.filter(({ id }) => id === user.user_id).map(({ device }) => device);
    let device = 1;
    while (devices.includes(device)) device++;
    const phone = this.#add({ user, device });
    this.#keep();
    return phone;
  }

  remove(phone) {
    this.all.splice(this.all.indexOf(phone), 1);
    phone.remove();
    this.#keep();
    this.#onScreen();
  }

  #add({ user, device }) {
    this.#people.add(user.user_id, user.name);
    const phone = newPhone({ config: this.#config, people: this.#people, user, device, onScreen: this.#onScreen });
    const place = this.#places[this.all.length];
    phone.tools.append(
      h('button', {
        type: 'button', class: 'small', 'data-testid': 'second-device',
        onclick: ({ currentTarget }) => this.#try(currentTarget, () => this.add(user)),
      }, 'Add device'),
      h('a', { class: 'small', 'data-testid': 'own-window', href: this.#config.phonePath(user), target: '_blank', rel: 'noopener' }, 'Own window'));
    if (!place) phone.tools.append(h('button', { type: 'button', class: 'small', 'data-testid': 'remove', onclick: () => this.remove(phone) }, 'Remove'));
    this.all.push(phone);
    if (place) place.replaceChildren(phone.element);
    else this.#more.append(phone.element);
    phone.connect();
    return phone;
  }

  #try(button, work) {
    try {
      work();
    } catch (error) {
      setText(button, error.message);
    }
  }

  get #kept() {
    return `ringback.${this.#config.space}.phones`;
  }

  #keep() {
    const added = this.all.slice(this.#config.users.length);
    sessionStorage.setItem(this.#kept, JSON.stringify(added.map(({ user, device }) => ({ user, device }))));
  }
}

// newPhone makes one phone of the app of a configuration; see Phones.
export function newPhone({ config, people, user, device, onScreen }) {
  const peer = config.users.find(({ user_id }) => user_id !== user.user_id);
  return new Phone({
    appID: config.app_id,
    space: config.space,
    user,
    device,
    peer: peer.user_id,
    people,
    handlers: { token: () => config.token(user.user_id), onScreen },
  });
}
