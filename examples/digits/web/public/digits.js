// Collects strokes on the canvas and asks Python which digit they show.

const pad = document.getElementById('pad');
const pen = pad.getContext('2d');
const digit = document.getElementById('digit');
const note = document.getElementById('note');
const bars = document.getElementById('bars');

/** What has been drawn: a list of strokes, each a list of [x, y] in the canvas's own pixels. */
let strokes = [];
/** The stroke being drawn, or null. */
let current = null;
/** Raised with every change of the drawing, so that a late answer to an older one is dropped. */
let edition = 0;

const spans = Array.from({ length: 10 }, (_, value) => {
  const item = document.createElement('li');
  const span = document.createElement('span');
  item.append(String(value), span);
  bars.append(item);
  return span;
});

function position(event) {
  const box = pad.getBoundingClientRect();
  const scale = pad.width / box.width;
  return [(event.clientX - box.left) * scale, (event.clientY - box.top) * scale];
}

function draw(from, to) {
  pen.strokeStyle = getComputedStyle(pad).color;
  pen.lineWidth = 30;
  pen.lineCap = pen.lineJoin = 'round';
  pen.beginPath();
  pen.moveTo(...from);
  pen.lineTo(...to);
  pen.stroke();
}

function show(answer) {
  digit.textContent = answer ? String(answer.digit) : '?';
  spans.forEach((span, value) => {
    const share = answer ? answer.probabilities[value] : 0;
    span.style.transform = `scaleX(${Math.max(share, 0.01)})`;
    span.parentElement.classList.toggle('best', answer !== null && answer.digit === value);
    span.parentElement.title = `${value}: ${Math.round(share * 100)} %`;
  });
}

async function predict() {
  const asked = ++edition;
  note.textContent = 'Asking Python…';
  try {
    const response = await fetch('/predict', {
      method: 'POST',
      headers: { 'content-type': 'application/json' },
      body: JSON.stringify({ strokes }),
    });
    const answer = await response.json();
    if (asked !== edition) return;
    if (!response.ok) throw new Error(answer.title ?? `status ${response.status}`);
    show(answer);
    note.textContent = `${Math.round(answer.confidence * 100)} % sure, in ${answer.milliseconds.toFixed(1)} ms.`;
  } catch (error) {
    if (asked !== edition) return;
    show(null);
    note.textContent = `No answer: ${error.message}. Draw again or wait a moment.`;
  }
}

pad.addEventListener('pointerdown', (event) => {
  if (event.button !== 0) return;
  pad.setPointerCapture(event.pointerId);
  current = [position(event)];
  strokes.push(current);
  draw(current[0], current[0]);
});

pad.addEventListener('pointermove', (event) => {
  if (!current) return;
  for (const moved of event.getCoalescedEvents?.() ?? [event]) {
    const point = position(moved);
    draw(current.at(-1), point);
    current.push(point);
  }
});

for (const end of ['pointerup', 'pointercancel']) {
  pad.addEventListener(end, () => {
    if (!current) return;
    current = null;
    predict();
  });
}

document.getElementById('clear').addEventListener('click', () => {
  edition += 1;
  strokes = [];
  pen.clearRect(0, 0, pad.width, pad.height);
  show(null);
  note.textContent = 'Nothing drawn yet.';
});

show(null);
