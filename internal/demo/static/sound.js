// The sound of ringing. A browser allows none before its user has done
// something on the page, so until then there is none.

import { setText } from './dom.js';

const MUTED = 'ringback.demo.muted'; // in the storage of the tab
const PERIOD = 3; // s from one ring to the next
const TONES = [659, 523, 659, 523, 659, 523]; // Hz
const TONE = 0.14; // s
const LOUDNESS = 0.12;

class Ringer {
  muted = sessionStorage.getItem(MUTED) === 'yes';
  #context = null;
  #ringing = false;
  #playing = null; // the gain of what sounds
  #timer = 0;

  // unlock is called when the user has done something.
  unlock() {
    this.#context ??= new AudioContext();
    if (this.#context.state === 'suspended') this.#context.resume().catch(() => {});
    this.#update();
  }

  get sounding() {
    return this.#playing !== null;
  }

  ring(on) {
    this.#ringing = on;
    this.#update();
  }

  mute(muted) {
    this.muted = muted;
    sessionStorage.setItem(MUTED, muted ? 'yes' : 'no');
    this.#update();
  }

  #update() {
    const wanted = this.#ringing && !this.muted && this.#context !== null;
    if (wanted === this.sounding) return;
    if (wanted) {
      this.#playing = this.#context.createGain();
      this.#playing.connect(this.#context.destination);
      this.#once();
    } else {
      clearTimeout(this.#timer);
      this.#playing.disconnect();
      this.#playing = null;
    }
  }

  // once plays one ring and plans the next.
  #once() {
    const begin = this.#context.currentTime + 0.02;
    TONES.forEach((hertz, i) => {
      const at = begin + i * TONE;
      const tone = this.#context.createOscillator();
      const envelope = this.#context.createGain();
      tone.type = 'triangle';
      tone.frequency.value = hertz;
      envelope.gain.setValueAtTime(0, at);
      envelope.gain.linearRampToValueAtTime(LOUDNESS, at + 0.015);
      envelope.gain.exponentialRampToValueAtTime(0.001, at + TONE * 0.95);
      tone.connect(envelope).connect(this.#playing);
      tone.start(at);
      tone.stop(at + TONE);
    });
    this.#timer = setTimeout(() => this.#once(), PERIOD * 1000);
  }
}

// setUpSound gives the ringer of the page; button mutes it. The button says
// in data-sounding whether it rings aloud.
export function setUpSound(button) {
  const ringer = new Ringer();
  const show = () => {
    setText(button, ringer.muted ? 'Sound off' : 'Sound on');
    button.dataset.sounding = String(ringer.sounding);
  };
  button.addEventListener('click', () => {
    ringer.mute(!ringer.muted);
    show();
  });
  for (const gesture of ['pointerdown', 'keydown']) {
    addEventListener(gesture, () => {
      ringer.unlock();
      show();
    });
  }
  show();
  return {
    ring(on) {
      ringer.ring(on);
      show();
    },
  };
}
