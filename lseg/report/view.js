// The view of one photograph: its layers, its truth, its table of lesions.
'use strict';
(function() {
const {byId, make, swatch, short, paint} = lseg;
const kTruthColours = [[244, 255, 255], [255, 212, 0], [45, 125, 255]];  // hit, false, missed
const kPartsAtOnce = 100;
const stage = byId('stage'), context = stage.getContext('2d');
const overlay = document.createElement('canvas'), overlayContext = overlay.getContext('2d');

// Of all photographs: what was chosen stays when the next one is shown.
const chosen = {
  thresholds: [], moved: false, visible: [], surest: true, filled: false, opacity: 0.9, truth: 'off',
  sort: 'id', descending: false,
};
// Of the one that is shown; null where none is.
let shown = null;
let place = {x: 0, y: 0, scale: 1};  // the photograph's pixel in the middle; pixels of the screen each
let pointer = null;                  // in CSS pixels of the stage; null: the probabilities of the middle
let drawing = 0, scoring = 0;

function fitScale() {
  return Math.min(stage.width / shown.width, stage.height / shown.height);
}
function density() { return Math.min(window.devicePixelRatio || 1, 2); }

function moveTo(x, y, scale) {
  const fit = fitScale();
  place.scale = Math.min(Math.max(scale, fit * 0.8), Math.max(16 * density(), 4 * fit));
  place.x = Math.min(Math.max(x, 0), shown.width);
  place.y = Math.min(Math.max(y, 0), shown.height);
  redraw();
}
function fit() { moveTo(shown.width / 2, shown.height / 2, fitScale()); }

// Zooms about a point of the stage, given in CSS pixels; its middle where none is.
function zoom(factor, at) {
  const ratio = stage.width / stage.clientWidth;
  const dx = at ? at.x * ratio - stage.width / 2 : 0, dy = at ? at.y * ratio - stage.height / 2 : 0;
  const before = place.scale;
  moveTo(place.x, place.y, before * factor);
  moveTo(place.x + dx / before - dx / place.scale, place.y + dy / before - dy / place.scale, place.scale);
}

function redraw() {
  if (!drawing) drawing = requestAnimationFrame(draw);
}

// The bits to draw, and how: classes and their truth, or hits, false and missed ones.
function bitsToDraw(where) {
  const count = where.width * where.height, bits = new Uint32Array(count), classes = shown.maps.length;
  paint.sampleClasses(shown.maps, chosen.thresholds, chosen.surest, shown.may, where, bits);
  const mask = chosen.visible.reduce((sum, on, c) => on ? sum | 1 << c : sum, 0);
  const style = {
    colours: lseg.list.colours, opacity: chosen.opacity, filled: chosen.filled ? -1 : 0, dashed: 0,
    dash: Math.round(8 * density()), radius: Math.round(1.5 * density()),
  };
  const mode = shown.truth ? chosen.truth : 'off';
  if (mode === 'off') {
    for (let i = 0; i < count; ++i) bits[i] &= mask;
    return [bits, style];
  }
  const truth = new Uint32Array(count);
  paint.sampleBits(shown.truth, where, truth);
  if (mode === 'compare') {
    const known = shown.annotated.reduce((sum, yes, c) => yes ? sum | 1 << c : sum, 0) & mask;
    for (let i = 0; i < count; ++i) {
      const found = bits[i] & known, there = truth[i] & known;
      bits[i] = (found & there ? 1 : 0) | (found & ~there ? 2 : 0) | (there & ~found ? 4 : 0);
    }
    return [bits, {...style, colours: kTruthColours}];
  }
  for (let i = 0; i < count; ++i) bits[i] = (bits[i] & mask) | (truth[i] & mask) << classes;
  const above = (1 << 2 * classes) - (1 << classes);
  return [bits, {...style, colours: [...lseg.list.colours, ...lseg.list.colours],
                 filled: style.filled & ~above, dashed: above}];
}

function draw() {
  drawing = 0;
  if (!shown || !shown.maps) return;
  const {width, height} = stage, {x, y, scale} = place;
  context.fillStyle = '#000';
  context.fillRect(0, 0, width, height);
  context.imageSmoothingEnabled = scale < 4;
  context.imageSmoothingQuality = 'high';
  context.drawImage(shown.photo, width / 2 - x * scale, height / 2 - y * scale, shown.width * scale,
                    shown.height * scale);
  const across = shown.map.width / shown.width, down = shown.map.height / shown.height;
  const [bits, style] = bitsToDraw({
    width, height, x0: (x - width / 2 / scale) * across, y0: (y - height / 2 / scale) * down,
    stepX: across / scale, stepY: down / scale,
  });
  const pixels = new ImageData(width, height);
  paint.paintBits(bits, width, height, style, pixels.data);
  overlay.width = width, overlay.height = height;
  overlayContext.putImageData(pixels, 0, 0);
  context.drawImage(overlay, 0, 0);
  if (shown.part) drawFrame(shown.part);
  if (!pointer) paint.strokeTwice(context, paint.crossPath(width / 2, height / 2, 12 * density()), density());
  tellProbabilities();
}

function drawFrame(part) {
  const {x, y, scale} = place, gap = 6 * density(), path = new Path2D();
  const [left, top, width, height] = part.box;
  path.rect((left - x) * scale + stage.width / 2 - gap, (top - y) * scale + stage.height / 2 - gap,
            width * scale + 2 * gap, height * scale + 2 * gap);
  paint.strokeTwice(context, path, density());
}

function tellProbabilities() {
  const ratio = stage.width / stage.clientWidth;
  const x = place.x + (pointer ? pointer.x * ratio - stage.width / 2 : 0) / place.scale;
  const y = place.y + (pointer ? pointer.y * ratio - stage.height / 2 : 0) / place.scale;
  if (x < 0 || y < 0 || x > shown.width || y > shown.height) {
    byId('readout').textContent = '';
    return;
  }
  const values = shown.maps.map((map, c) => {
    const p = paint.probabilityAt(map, x * shown.map.width / shown.width, y * shown.map.height / shown.height);
    return lseg.list.classes[c] + ' ' + p.toFixed(2);
  });
  const at = [Math.min(Math.floor(x), shown.width - 1), Math.min(Math.floor(y), shown.height - 1)];
  byId('readout').textContent = 'x ' + at[0] + ', y ' + at[1] + ': ' + values.join(', ');
}

// After thresholds or rules changed.
function decide() {
  if (!shown || !shown.maps) return;
  shown.may = paint.mayShow(shown.maps, chosen.thresholds);
  redraw();
  if (!shown.truth) return;
  clearTimeout(scoring);
  scoring = setTimeout(tellScores, 60);  // once a slider rests
}

function tellScores() {
  if (!shown || !shown.truth) return;
  const scores = paint.compareMaps(shown.maps, chosen.thresholds, chosen.surest, shown.truth);
  byId('scores').tBodies[0].replaceChildren(...scores.map((score, c) => {
    const all = 2 * score.hit + score.wrong + score.missed;
    const cells = shown.annotated[c]
        ? [score.hit, score.wrong, score.missed, all ? (2 * score.hit / all).toFixed(3) : '-']
        : ['-', '-', '-', 'no truth'];
    return make('tr', {}, make('th', {scope: 'row'}, lseg.list.classes[c]),
                ...cells.map((cell) => make('td', {}, String(cell))));
  }));
}

function setThreshold(c, value) {
  chosen.thresholds[c] = value;
  byId('threshold-' + c).value = value;
  byId('threshold-value-' + c).textContent = value.toFixed(2);
}

// Those that this photograph's lesions were told by.
function takeReportThresholds() {
  chosen.moved = false;
  lseg.list.classes.forEach((name, c) => setThreshold(c, shown.report.thresholds[name]));
}

function makeLayers() {
  const {classes, colours} = lseg.list;
  byId('layers').replaceChildren(...classes.map((name, c) => {
    const box = make('input', {type: 'checkbox', id: 'show-' + c, checked: true});
    box.addEventListener('change', () => toggleLayer(c, box.checked));
    const slider = make('input', {type: 'range', id: 'threshold-' + c, min: 0.01, max: 1, step: 0.01,
                                  'aria-label': 'Threshold of ' + name});
    slider.addEventListener('input', () => {
      chosen.moved = true;
      setThreshold(c, Number(slider.value));
      decide();
    });
    return make('div', {className: 'layer'},
        make('label', {className: 'line'}, box, swatch(colours[c]),
             make('span', {}, make('b', {}, name), ' ' + (lseg.names[name] || '')),
             make('span', {className: 'said', id: 'said-' + c})),
        make('label', {className: 'slider'}, make('span', {}, 'Threshold'), slider,
             make('output', {id: 'threshold-value-' + c})));
  }));
  chosen.visible = classes.map(() => true);
}

function toggleLayer(c, on) {
  chosen.visible[c] = on;
  byId('show-' + c).checked = on;
  redraw();
  fillParts();
}

function setTruth(mode) {
  chosen.truth = mode;
  byId('truth-' + mode).checked = true;
  const legend = byId('truth-legend');
  legend.hidden = mode !== 'compare';
  legend.replaceChildren(...['hit', 'false', 'missed'].map(
      (word, i) => make('span', {}, swatch(kTruthColours[i]), word)));
  redraw();
}
function setFilled(filled) {
  chosen.filled = filled;
  byId(filled ? 'style-fill' : 'style-outline').checked = true;
  redraw();
}
function setOpacity(value) {
  chosen.opacity = Math.min(1, Math.max(0, value));
  byId('opacity').value = chosen.opacity;
  byId('opacity-value').textContent = Math.round(100 * chosen.opacity) + ' %';
  redraw();
}

// Key, head, what it means, value to sort by.
const kColumns = [
  ['id', 'Lesion', 'Number within its photograph', (part) => part.id],
  ['area', 'Area', 'Pixels of the photograph', (part) => part.area],
  ['mean', 'Mean', 'Mean probability', (part) => part.mean_probability],
  ['max', 'Max', 'Largest probability', (part) => part.max_probability],
  ['place', 'Where', 'Quadrant about fovea, disc or middle', (part) => placeOf(part)],
];
function placeOf(part) { return part.fovea_quadrant || part.disc_quadrant || part.quadrant; }

function makeTables() {
  byId('scores').createTBody();
  byId('parts').createTBody();
  byId('parts').createTHead().insertRow().append(...kColumns.map(([key, head, title]) => {
    const button = make('button', {type: 'button', id: 'sort-' + key, title}, head);
    button.addEventListener('click', () => {
      chosen.descending = chosen.sort === key ? !chosen.descending : key !== 'id' && key !== 'place';
      chosen.sort = key;
      fillParts();
    });
    return make('th', {scope: 'col', className: key === 'place' ? 'place' : ''}, button);
  }));
}

// The rows, of visible layers, in the chosen order; the first ones, or those up to `count`.
function fillParts(count = kPartsAtOnce) {
  if (!shown) return;
  const of = kColumns.find(([key]) => key === chosen.sort)[3], sign = chosen.descending ? -1 : 1;
  const parts = shown.report.components.filter((part) => chosen.visible[lseg.list.classes.indexOf(part.lesion)]);
  parts.sort((a, b) => of(a) < of(b) ? -sign : of(a) > of(b) ? sign : a.id - b.id);
  shown.parts = parts;
  kColumns.forEach(([key], i) => {
    const cell = byId('parts').tHead.rows[0].cells[i];
    if (key === chosen.sort) cell.setAttribute('aria-sort', chosen.descending ? 'descending' : 'ascending');
    else cell.removeAttribute('aria-sort');
  });
  byId('parts').tBodies[0].replaceChildren(...parts.slice(0, count).map(makeRow));
  byId('parts-title').textContent = lseg.plural(parts.length, 'lesion') + ' at the report\u2019s thresholds';
  byId('more-parts').hidden = parts.length <= count;
}

function makeRow(part) {
  const colour = lseg.list.colours[lseg.list.classes.indexOf(part.lesion)];
  const button = make('button', {type: 'button', title: 'Show it'}, swatch(colour), part.lesion + ' ' + part.id);
  const row = make('tr', {}, make('td', {}, button),
                   make('td', {title: short(part.area_percent) + ' % of the field of view'}, String(part.area)),
                   make('td', {}, part.mean_probability.toFixed(2)),
                   make('td', {}, part.max_probability.toFixed(2)),
                   make('td', {className: 'place'}, placeOf(part)));
  if (part === shown.part) row.setAttribute('aria-current', 'true');
  row.addEventListener('click', () => jump(part));
  return row;
}

// Shows a lesion in the middle, a quarter of the stage large.
function jump(part) {
  shown.part = part;
  pointer = null;
  const [left, top, width, height] = part.box;
  const scale = Math.min(stage.width / width, stage.height / height) / 4;
  moveTo(left + width / 2, top + height / 2, Math.min(Math.max(scale, fitScale()), 8 * density()));
  const rows = byId('parts').tBodies[0].rows;
  for (let i = 0; i < rows.length; ++i) {
    if (shown.parts[i] === part) rows[i].setAttribute('aria-current', 'true');
    else rows[i].removeAttribute('aria-current');
  }
}
function jumpBy(step) {
  const {parts} = shown;
  if (parts.length === 0) return;
  const at = parts.indexOf(shown.part);
  const next = at < 0 ? (step > 0 ? 0 : parts.length - 1) : (at + step + parts.length) % parts.length;
  if (next >= byId('parts').tBodies[0].rows.length) fillParts(next + kPartsAtOnce);
  jump(parts[next]);
  byId('parts').tBodies[0].rows[next].scrollIntoView({block: 'nearest'});
}

function tellFacts() {
  const {report} = shown, view = report.field_of_view;
  const facts = [report.width + ' \u00d7 ' + report.height + ' pixels',
                 'field of view ' + Math.round(100 * view.area / report.width / report.height) + ' % of them'];
  if (report.landmarks.eye) facts.push(report.landmarks.eye + ' eye');
  if (view.doubt) facts.push('may be no fundus photograph: ' + view.doubt);
  byId('facts').textContent = facts.join('; ') + '.';
  lseg.list.classes.forEach((name, c) => {
    const lesion = report.lesions[name];
    byId('said-' + c).textContent = lesion.count + (lesion.count ? ' (' + short(lesion.area_percent) + ' %)' : '');
  });
}

// Decodes what a photograph's script brought. It may have been left for another one meanwhile.
async function show(data) {
  const {report, map} = data;
  const mine = {report, map, annotated: data.annotated, width: report.width, height: report.height,
                part: null, parts: []};
  shown = mine;
  byId('truth-box').hidden = !data.truth;
  if (!chosen.moved) takeReportThresholds();
  tellFacts();
  fillParts();
  mine.photo = new Image();
  mine.photo.src = data.photo;
  const decode = (url) => paint.decodeGray(url, map.width, map.height);
  const [, maps, truth] = await Promise.all([
    mine.photo.decode(),
    Promise.all(lseg.list.classes.map((name) => decode(map.png[name]))),
    data.truth ? decode(data.truth) : null,
  ]);
  if (shown !== mine) return;
  mine.maps = maps.map((values) => new paint.Pyramid(map.width, map.height, values, false));
  if (truth) mine.truth = new paint.Pyramid(map.width, map.height, truth, true);
  pointer = null;
  resize();
  fit();
  decide();
}

function resize() {
  const width = Math.max(1, Math.round(stage.clientWidth * density()));
  const height = Math.max(1, Math.round(stage.clientHeight * density()));
  if (stage.width === width && stage.height === height) return;
  const fitted = shown && shown.maps && place.scale <= fitScale();
  stage.width = width, stage.height = height;
  if (fitted) fit();
  redraw();
}

function listen() {
  byId('surest').addEventListener('change', (event) => {
    chosen.surest = event.target.checked;
    decide();
  });
  byId('reset').addEventListener('click', () => {
    takeReportThresholds();
    decide();
  });
  for (const style of ['outline', 'fill']) {
    byId('style-' + style).addEventListener('change', () => setFilled(style === 'fill'));
  }
  for (const mode of ['off', 'outline', 'compare']) {
    byId('truth-' + mode).addEventListener('change', () => setTruth(mode));
  }
  byId('opacity').addEventListener('input', (event) => setOpacity(Number(event.target.value)));
  byId('zoom-in').addEventListener('click', () => zoom(1.5));
  byId('zoom-out').addEventListener('click', () => zoom(1 / 1.5));
  byId('zoom-fit').addEventListener('click', fit);
  byId('zoom-one').addEventListener('click', () => moveTo(place.x, place.y, 1));
  byId('more-parts').addEventListener('click', () => {
    fillParts(byId('parts').tBodies[0].rows.length + kPartsAtOnce);
  });
  new ResizeObserver(resize).observe(stage);
}

lseg.view = {
  begin() {
    makeLayers();
    makeTables();
    setOpacity(chosen.opacity);
    listen();
  },
  show,
  hide() { shown = null; },
  ready() { return Boolean(shown && shown.maps); },
  state() { return {...chosen, ...place, part: shown && shown.part, pointer}; },
  toggleLayer(c) { if (c < chosen.visible.length) toggleLayer(c, !chosen.visible[c]); },
  toggleFilled() { setFilled(!chosen.filled); },
  nextTruth() {
    const modes = ['off', 'outline', 'compare'];
    if (shown.truth) setTruth(modes[(modes.indexOf(chosen.truth) + 1) % 3]);
  },
  fade(step) { setOpacity(chosen.opacity + step); },
  pan(dx, dy) {
    pointer = null;
    moveTo(place.x + dx * stage.width / 10 / place.scale, place.y + dy * stage.height / 10 / place.scale,
           place.scale);
  },
  drag(dx, dy) {
    const ratio = stage.width / stage.clientWidth / place.scale;
    moveTo(place.x - dx * ratio, place.y - dy * ratio, place.scale);
  },
  zoom, fit, jumpBy,
  point(at) {
    pointer = at;
    redraw();
  },
};
})();
