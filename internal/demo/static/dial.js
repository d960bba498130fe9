// Dialling: the call button, and whom to ring and how.

import { h, icon, setText } from './dom.js';

const MAX_DATA = 2048; // bytes of extended data
const MAX_INVITEES = 9;

// peopleField is an input for user IDs, with a button for each user that the
// page knows.
export function peopleField(phone, { testid, label, value }) {
  const input = h('input', { type: 'text', value, 'data-testid': testid, 'aria-label': label, autocomplete: 'off', spellcheck: 'false', autocapitalize: 'off' });
  const chips = h('div', { class: 'chips' });
  const read = () => [...new Set(input.value.split(',').map((s) => s.trim()).filter(Boolean))];
  const write = (ids) => {
    input.value = ids.join(', ');
    input.dispatchEvent(new Event('input', { bubbles: true }));
  };
  const toggle = (id) => write(read().includes(id) ? read().filter((other) => other !== id) : [...read(), id]);
  const update = () => {
    const ids = phone.people.ids.filter((id) => id !== phone.id);
    if (chips.childElementCount !== ids.length) {
      chips.replaceChildren(...ids.map((id) => h('button', { type: 'button', class: 'chip', dir: 'auto', value: id, onclick: () => toggle(id) }, phone.nameOf(id))));
    }
    const chosen = read();
    for (const chip of chips.children) chip.setAttribute('aria-pressed', String(chosen.includes(chip.value)));
  };
  return {
    element: h('div', { class: 'people-field' }, input, chips),
    get userIDs() { return read(); },
    clear: () => write([]),
    update,
  };
}

export function dial(phone) {
  const label = h('span');
  const button = h('button', { type: 'button', class: 'wide go', 'data-testid': 'call', onclick: () => phone.call(values()) }, icon('handset'), label);
  const users = peopleField(phone, { testid: 'users', label: 'Ring', value: phone.peer });
  const seconds = h('input', { type: 'number', min: '1', max: '600', value: '30', 'data-testid': 'timeout' });
  const data = h('textarea', { rows: '2', dir: 'auto', 'data-testid': 'extended-data', spellcheck: 'false', placeholder: '{"video":true}' });
  const size = h('span', { class: 'size' });
  const count = h('span', { class: 'size' });
  const mode = (value, text, hint, checked) => h('label', {},
    h('input', { type: 'radio', name: `${phone.key}-mode`, value, checked, 'data-testid': `mode-${text.toLowerCase()}` }),
    h('span', {}, text, h('small', {}, hint)));
  const modes = h('fieldset', { class: 'modes' },
    h('legend', {}, 'Mode'),
    mode('0', 'General', 'ends on answer', true),
    mode('1', 'Advanced', 'join, leave, end'));
  const values = () => ({
    userIDs: users.userIDs,
    mode: Number(modes.querySelector(':checked').value),
    timeout: Number(seconds.value),
    data: data.value,
  });

  // update also follows names and users that become known.
  const update = () => {
    users.update();
    const { userIDs } = values();
    const bytes = new TextEncoder().encode(data.value).length;
    setText(size, `${bytes} of ${MAX_DATA} bytes`);
    size.classList.toggle('over', bytes > MAX_DATA);
    setText(count, `${userIDs.length} of ${MAX_INVITEES}`);
    count.classList.toggle('over', userIDs.length > MAX_INVITEES);
    setText(label, `Call ${phone.people.list(userIDs) || '…'}`);
  };
  const element = h('details', { class: 'options', 'data-testid': 'options', oninput: update },
    h('summary', {}, 'Options'),
    h('div', { class: 'option-list' },
      modes,
      h('div', {}, h('div', { class: 'field-head' }, 'Ring', count), users.element),
      h('label', { class: 'short' }, 'Extended data', data, size),
      h('label', { class: 'short' }, 'For (s)', seconds)));
  return { element, button, update };
}
