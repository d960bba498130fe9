// A few lines over the DOM. Data only ever becomes text or an attribute,
// never markup.

// h makes an element: h('button', {class: 'call', onclick: f}, 'Call').
// Attributes that are null or false are left out.
export function h(tag, attributes = {}, ...children) {
  const element = document.createElement(tag);
  for (const [name, value] of Object.entries(attributes)) {
    if (typeof value === 'function') element.addEventListener(name.slice(2), value);
    else if (value === true) element.setAttribute(name, '');
    else if (value !== false && value != null) element.setAttribute(name, value);
  }
  element.append(...children.filter((child) => child != null));
  return element;
}

// svg makes an SVG element.
export function svg(tag, attributes = {}, ...children) {
  const element = document.createElementNS('http://www.w3.org/2000/svg', tag);
  for (const [name, value] of Object.entries(attributes)) element.setAttribute(name, value);
  element.append(...children);
  return element;
}

const ICONS = new URL('icons.svg', import.meta.url).pathname;

// icon draws a symbol of icons.svg. It is decoration: labels are text.
export function icon(name) {
  return svg('svg', { class: `icon icon-${name}`, 'aria-hidden': 'true', focusable: 'false' },
    svg('use', { href: `${ICONS}#${name}` }));
}

// setText changes text only when it differs, so that live regions stay quiet.
export function setText(element, text) {
  if (element.textContent !== text) element.textContent = text;
}

// setData sets or, for null, removes data-* attributes, when they differ.
export function setData(element, data) {
  for (const [name, value] of Object.entries(data)) {
    if (value == null) delete element.dataset[name];
    else if (element.dataset[name] !== value) element.dataset[name] = value;
  }
}

// plain writes out the characters that turn text around, as JSON does.
export function plain(json) {
  return json.replace(/[\u061c\u200e\u200f\u202a-\u202e\u2066-\u2069]/g, (c) => `\\u${c.charCodeAt(0).toString(16).padStart(4, '0')}`);
}

// hue gives an element the colour of a user.
export function hue(element, userID) {
  if (element.dataset.hue === userID) return;
  element.dataset.hue = userID;
  let n = 0;
  for (const unit of userID) n = (n * 31 + unit.codePointAt(0)) % 360;
  element.style.setProperty('--hue', { alice: 255, bob: 172 }[userID] ?? n);
}

// clock is the time of day of a Unix time in milliseconds: 14:03:22.123.
export function clock(ms) {
  const d = new Date(ms);
  const two = (n) => String(n).padStart(2, '0');
  return `${two(d.getHours())}:${two(d.getMinutes())}:${two(d.getSeconds())}.${String(d.getMilliseconds()).padStart(3, '0')}`;
}

// duration is a length of time: 0:07, 12:30.
export function duration(ms) {
  const seconds = Math.max(0, Math.floor(ms / 1000));
  return `${Math.floor(seconds / 60)}:${String(seconds % 60).padStart(2, '0')}`;
}
