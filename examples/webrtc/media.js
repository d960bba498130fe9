// What this side sends: camera and microphone, or a test picture and a tone.

const FRAMES = 15; // a second, of the test picture
const PITCH = { alice: 440, bob: 330 }; // Hz
const WHY = {
  NotAllowedError: 'may not be used: allow it in the browser, beside the address',
  NotFoundError: 'was not found',
  NotReadableError: 'is in use by another program',
};

// openMedia gives {stream, note, close()} with one track of sound and one of
// picture. Where there is no device, or it may not be used, the test picture
// or the tone takes its place and note says so; note is '' otherwise.
export async function openMedia(source, user) {
  const tracks = [];
  const missing = [];
  const instead = [];
  const cleanUp = [];
  if (source === 'devices') {
    const both = await take({ audio: true, video: true });
    if (both.tracks) {
      tracks.push(...both.tracks);
    } else {
      for (const [kind, name, substitute] of [['video', 'camera', 'a test picture'], ['audio', 'microphone', 'a tone']]) {
        const one = both.error.name === 'NotAllowedError' ? both : await take({ [kind]: true });
        if (one.tracks) {
          tracks.push(...one.tracks);
          continue;
        }
        missing.push(`The ${name} ${WHY[one.error.name] ?? `does not work (${one.error.message})`}.`);
        instead.push(substitute);
      }
    }
  }
  for (const [kind, make] of [['audio', tone], ['video', picture]]) {
    if (tracks.some((track) => track.kind === kind)) continue;
    const { track, stop } = make(user);
    tracks.push(track);
    cleanUp.push(stop);
  }
  return {
    stream: new MediaStream(tracks),
    note: missing.length > 0 ? `${missing.join(' ')} Sent instead: ${instead.join(' and ')}.` : '',
    close() {
      for (const track of tracks) track.stop();
      for (const stop of cleanUp) stop();
    },
  };
}

async function take(constraints) {
  try {
    if (!navigator.mediaDevices) throw new Error('the page must come over HTTPS or from this machine');
    return { tracks: (await navigator.mediaDevices.getUserMedia(constraints)).getTracks() };
  } catch (error) {
    return { error };
  }
}

// picture draws bars, a name and a hand that turns.
function picture(user) {
  const canvas = Object.assign(document.createElement('canvas'), { width: 640, height: 360 });
  const { width, height } = canvas;
  const context = canvas.getContext('2d');
  const draw = () => {
    const angle = Date.now() / 1000;
    for (let bar = 0; bar < 8; bar++) {
      context.fillStyle = `hsl(${bar * 45} 45% 42%)`;
      context.fillRect((bar * width) / 8, 0, width / 8, height);
    }
    context.fillStyle = 'rgb(0 0 0 / 55%)';
    context.fillRect(0, height - 84, width, 84);
    context.fillStyle = context.strokeStyle = '#fff';
    context.font = '600 34px system-ui, sans-serif';
    context.fillText(user, 28, height - 30, width - 180);
    context.lineWidth = 5;
    context.beginPath();
    context.arc(width - 58, height - 42, 28, 0, 2 * Math.PI);
    context.moveTo(width - 58, height - 42);
    context.lineTo(width - 58 + 24 * Math.sin(angle), height - 42 - 24 * Math.cos(angle));
    context.stroke();
  };
  draw();
  const timer = setInterval(draw, 1000 / FRAMES);
  const [track] = canvas.captureStream(FRAMES).getVideoTracks();
  return { track, stop: () => clearInterval(timer) };
}

// tone hums softly, and swells so that it can be told from a fault.
function tone(user) {
  const context = new AudioContext();
  const voice = new OscillatorNode(context, { frequency: PITCH[user] ?? 385 });
  const swell = new OscillatorNode(context, { frequency: 0.5 });
  const depth = new GainNode(context, { gain: 0.02 });
  const volume = new GainNode(context, { gain: 0.02 });
  const out = context.createMediaStreamDestination();
  swell.connect(depth).connect(volume.gain);
  voice.connect(volume).connect(out);
  voice.start();
  swell.start();
  return { track: out.stream.getAudioTracks()[0], stop: () => context.close() };
}
