// The grid of all photographs, the way between it and the view (#/KEY), keys and pointers.
'use strict';
(function() {
const {byId, make, swatch, view} = lseg;
const kCardsAtOnce = 120;
let cards = 0;        // that are in the grid; the others follow when they come in sight
let current = '';     // key of the photograph that is shown
let reversed = false;

const kKeys = [
  ['Everywhere', [['?', 'These keys'], ['Esc', 'Close this; back to all photographs']]],
  ['All photographs', [
    ['arrows', 'To the next photograph'], ['Enter', 'Open it'], ['/', 'Find by name'],
    ['s', 'Sort by the next criterion'], ['r', 'Reverse the order'],
  ]],
  ['A photograph', [
    ['arrows', 'Pan (Shift: further)'], ['+ -', 'Zoom'], ['0', 'Show all of it'],
    ['1 2 3 4', 'Show or hide a layer'], ['f', 'Outline or fill'], ['[ ]', 'Fainter, stronger'],
    ['t', 'Truth: off, dashed, compared'], ['j k', 'Next, previous lesion of the table'],
    ['n p', 'Next, previous photograph'],
  ]],
];

function total(image) { return image.count.reduce((sum, count) => sum + count, 0); }

// [key, title, value]; numbers are sorted from large to small, names from A to Z.
function criteria() {
  const {classes} = lseg.list, all = [['name', 'name', (image) => image.name],
                                      ['all', 'lesions, all', total]];
  classes.forEach((name, c) => all.push(['count-' + c, name + ', count', (image) => image.count[c]]));
  classes.forEach((name, c) => all.push(['percent-' + c, name + ', area', (image) => image.percent[c]]));
  return all;
}

function arrange() {
  const key = byId('sort').value, of = criteria().find((one) => one[0] === key)[2];
  const wanted = byId('find').value.trim().toLowerCase();
  const names = new Intl.Collator('en', {numeric: true});
  const {images} = lseg.list;
  const order = images.map((image, i) => i).filter(
      (i) => !images[i].error && images[i].name.toLowerCase().includes(wanted));
  order.sort((a, b) => {
    const byName = names.compare(images[a].name, images[b].name);
    return (key === 'name' ? byName : of(images[b]) - of(images[a]) || byName) * (reversed ? -1 : 1);
  });
  lseg.order = order;
  byId('found').textContent = wanted ? lseg.plural(order.length, 'photograph') + ' found' : '';
  cards = 0;
  byId('cards').replaceChildren();
  moreCards();
}

function moreCards() {
  const next = lseg.order.slice(cards, cards + kCardsAtOnce);
  byId('cards').append(...next.map((i) => makeCard(lseg.list.images[i])));
  cards += next.length;
  byId('more').hidden = cards >= lseg.order.length;
}

function makeCard(image) {
  const {classes, colours} = lseg.list;
  const counts = classes.map((name, c) => make('span', {title: lseg.names[name] || name}, swatch(colours[c]),
                                               name + ' ' + image.count[c]));
  const link = make('a', {className: 'card', href: '#/' + image.key},
      make('img', {src: 'images/' + image.key + '~thumb.jpg', loading: 'lazy', alt: '', width: 360,
                   height: 240, decoding: 'async'}),
      make('span', {className: 'name'}, image.name));
  if (image.doubt) link.append(make('span', {className: 'doubt'}, 'No fundus? ' + image.doubt));
  link.append(make('span', {className: 'counts'}, ...counts));
  return make('li', {}, link);
}

// Arrow keys among the cards; false where there is none that way.
function moveFocus(key) {
  const links = [...byId('cards').querySelectorAll('a')], at = links.indexOf(document.activeElement);
  if (links.length === 0) return false;
  const columns = getComputedStyle(byId('cards')).gridTemplateColumns.split(' ').length;
  const step = {ArrowLeft: -1, ArrowRight: 1, ArrowUp: -columns, ArrowDown: columns}[key];
  const next = at < 0 ? 0 : at + step;
  if (next < 0 || next >= links.length) return false;
  links[next].focus();
  return true;
}

function complain(text) {
  byId('message').textContent = text;
  byId('message').hidden = !text;
  byId('split').hidden = Boolean(text);
}

function neighbour(step) {
  const at = lseg.order.findIndex((i) => lseg.list.images[i].key === current);
  const next = lseg.order[at + step];
  return at < 0 || next === undefined ? null : lseg.list.images[next];
}
function go(image) { if (image) location.hash = '#/' + image.key; }

// Shows what the address says.
function route() {
  const key = location.hash.startsWith('#/') ? location.hash.slice(2) : '';
  const image = lseg.list.images.find((one) => one.key === key && !one.error);
  const left = current;
  current = image ? key : '';
  byId('grid').hidden = Boolean(image);
  byId('view').hidden = !image;
  document.body.classList.toggle('viewing', Boolean(image));
  document.title = image ? image.name + ' - lesion report' : 'Lesion report';
  view.hide();
  if (!image) {
    const link = left && byId('cards').querySelector('a[href="#/' + CSS.escape(left) + '"]');
    if (link) link.focus();
    return;
  }
  byId('title').textContent = image.name;
  byId('previous').disabled = !neighbour(-1);
  byId('next').disabled = !neighbour(1);
  complain('');
  byId('readout').textContent = '';
  if (!left) {
    window.scrollTo(0, 0);
    byId('title').focus();
  }
  const script = make('script', {src: 'images/' + key + '.js'});
  script.dataset.key = key;
  script.onerror = () => { if (current === key) complain('images/' + key + '.js cannot be read.'); };
  document.body.append(script);
}

// Called by a photograph's script.
window.lsegImage = (data) => {
  const script = document.currentScript;
  script.remove();
  if (script.dataset.key !== current) return;
  view.show(data).catch((error) => complain(current + ' cannot be shown: ' + error.message));
};

function inGrid(event) {
  const sort = byId('sort');
  if (event.key.startsWith('Arrow')) return moveFocus(event.key);
  if (event.key === '/') byId('find').focus();
  else if (event.key === 's') {
    sort.selectedIndex = (sort.selectedIndex + 1) % sort.length;
    arrange();
  } else if (event.key === 'r') byId('order').click();
  else return false;
  return true;
}

function inView(event) {
  const {key} = event, far = event.shiftKey ? 5 : 1;
  if (key === 'Escape') location.hash = '';
  else if (key === 'n') go(neighbour(1));
  else if (key === 'p') go(neighbour(-1));
  else if (!view.ready()) return false;
  else if (key === 'ArrowLeft') view.pan(-far, 0);
  else if (key === 'ArrowRight') view.pan(far, 0);
  else if (key === 'ArrowUp') view.pan(0, -far);
  else if (key === 'ArrowDown') view.pan(0, far);
  else if (key === '+' || key === '=') view.zoom(1.25);
  else if (key === '-') view.zoom(0.8);
  else if (key === '0') view.fit();
  else if (key >= '1' && key <= '9') view.toggleLayer(Number(key) - 1);
  else if (key === 'f') view.toggleFilled();
  else if (key === '[') view.fade(-0.1);
  else if (key === ']') view.fade(0.1);
  else if (key === 't') view.nextTruth();
  else if (key === 'j') view.jumpBy(1);
  else if (key === 'k') view.jumpBy(-1);
  else return false;
  return true;
}

function onKey(event) {
  if (event.ctrlKey || event.metaKey || event.altKey || byId('help').open) return;
  const {target, key} = event, type = target.type || '';
  if (key === 'Escape' && target.id === 'find') target.blur();
  if (type === 'search' || target.tagName === 'SELECT') return;
  // Sliders and radio buttons have their own use for arrows.
  if ((type === 'range' || type === 'radio') && key.startsWith('Arrow')) return;
  if (key === '?') byId('help').showModal();
  else if (!(current ? inView(event) : inGrid(event))) return;
  event.preventDefault();
}

// One pointer pans and tells probabilities, two zoom about their middle.
function followPointers() {
  const stage = byId('stage'), down = new Map();
  const at = (event) => ({x: event.offsetX, y: event.offsetY});
  const pinch = () => {
    const [a, b] = [...down.values()];
    return {x: (a.x + b.x) / 2, y: (a.y + b.y) / 2, span: Math.hypot(a.x - b.x, a.y - b.y)};
  };
  stage.addEventListener('pointerdown', (event) => {
    stage.setPointerCapture(event.pointerId);
    down.set(event.pointerId, at(event));
    if (view.ready()) view.point(at(event));
  });
  stage.addEventListener('pointermove', (event) => {
    if (!view.ready()) return;
    const before = down.get(event.pointerId), here = at(event);
    if (!before) {
      view.point(here);
      return;
    }
    const pinched = down.size === 2 ? pinch() : null;
    down.set(event.pointerId, here);
    if (pinched) {
      const now = pinch();
      view.drag(now.x - pinched.x, now.y - pinched.y);
      if (pinched.span > 0) view.zoom(now.span / pinched.span, now);
    } else if (down.size === 1) {
      view.drag(here.x - before.x, here.y - before.y);
    }
    view.point(here);
  });
  for (const name of ['pointerup', 'pointercancel']) {
    stage.addEventListener(name, (event) => down.delete(event.pointerId));
  }
  stage.addEventListener('pointerleave', (event) => {
    if (event.pointerType === 'mouse' && view.ready()) view.point(null);
  });
  stage.addEventListener('wheel', (event) => {
    event.preventDefault();
    const lines = event.deltaMode === 1 ? 20 : 1;
    if (view.ready()) view.zoom(Math.exp(-event.deltaY * lines * 0.0015), at(event));
  }, {passive: false});
}

function tellFailures() {
  const failed = lseg.list.images.filter((image) => image.error);
  byId('failures').hidden = failed.length === 0;
  byId('failures-title').textContent = lseg.plural(failed.length, 'photograph') + ' failed';
  byId('failure-list').replaceChildren(
      ...failed.map((image) => make('li', {}, make('b', {}, image.file), ': ' + image.error)));
  byId('summary').textContent = lseg.plural(lseg.list.images.length - failed.length, 'photograph') +
      (failed.length ? ', ' + failed.length + ' more failed' : '');
}

// Called by list.js, the last script.
window.lsegList = (list) => {
  lseg.list = list;
  for (const [title, keys] of kKeys) {
    const rows = keys.map(([key, text]) => [make('dt', {}, ...key.split(' ').flatMap(
        (one) => [make('kbd', {}, one), ' '])), make('dd', {}, text)]);
    byId('help-keys').append(make('h3', {}, title), make('dl', {}, ...rows.flat()));
  }
  byId('sort').append(...criteria().map(([key, title]) => make('option', {value: key}, title)));
  tellFailures();
  view.begin();
  arrange();
  byId('find').addEventListener('input', arrange);
  byId('sort').addEventListener('change', arrange);
  byId('order').addEventListener('click', () => {
    reversed = !reversed;
    byId('order').setAttribute('aria-pressed', String(reversed));
    arrange();
  });
  byId('more').addEventListener('click', moreCards);
  new IntersectionObserver((entries) => {
    if (entries.some((entry) => entry.isIntersecting)) moreCards();
  }, {rootMargin: '600px'}).observe(byId('more'));
  byId('back').addEventListener('click', () => { location.hash = ''; });
  byId('previous').addEventListener('click', () => go(neighbour(-1)));
  byId('next').addEventListener('click', () => go(neighbour(1)));
  byId('help-open').addEventListener('click', () => byId('help').showModal());
  byId('help-close').addEventListener('click', () => byId('help').close());
  document.addEventListener('keydown', onKey);
  window.addEventListener('hashchange', route);
  followPointers();
  route();
};
})();
