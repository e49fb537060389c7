// What the page's scripts share. Classic scripts, as modules are not loaded from file://.
'use strict';
const lseg = {
  names: {
    EX: 'hard exudates', HE: 'haemorrhages', MA: 'microaneurysms', SE: 'soft exudates',
  },
  list: null,   // of list.js
  order: [],    // positions in list.images, as the grid shows them

  byId(id) { return document.getElementById(id); },

  // A new element: properties, then children (text or elements).
  make(tag, properties, ...children) {
    const element = document.createElement(tag);
    for (const [name, value] of Object.entries(properties || {})) {
      if (name in element && name !== 'list') element[name] = value;
      else element.setAttribute(name, value);
    }
    element.append(...children);
    return element;
  },

  css(colour) { return 'rgb(' + colour.join(' ') + ')'; },

  swatch(colour) {
    const box = lseg.make('span', {className: 'swatch', 'aria-hidden': 'true'});
    box.style.background = lseg.css(colour);
    return box;
  },

  // A number of a few digits: 1234, 56.7, 0.012.
  short(value) {
    if (value === 0 || value >= 100) return String(Math.round(value));
    return String(Number(value.toPrecision(value < 1 ? 2 : 3)));
  },

  plural(count, noun) { return count + ' ' + noun + (count === 1 ? '' : 's'); },
};
