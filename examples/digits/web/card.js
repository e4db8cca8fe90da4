'use strict';
// A React component that Python renders: the middle of all samples of a digit, as a picture.

const { createElement: h } = require('react');
const { renderToStaticMarkup } = require('react-dom/server');

/** @typedef {{ digit: number, samples: number, rows: number[][] }} Middle Its rows of ink, from 0 to 1. */

/** @param {Middle} middle */
function Card({ digit, samples, rows }) {
  const size = rows.length;
  const cells = rows.flatMap((row, y) =>
    row.map((ink, x) => h('rect', { key: `${x},${y}`, x, y, width: 1, height: 1, fillOpacity: ink })));
  return h('figure', { className: 'card' },
    h('svg', { viewBox: `0 0 ${size} ${size}`, width: 160, role: 'img', 'aria-label': `The middle of all ${digit}s` }, cells),
    h('figcaption', null, `The ${digit} that the model has learnt, from ${samples} samples`));
}

/**
 * @param {Middle} props
 * @returns {string}
 */
exports.card = (props) => renderToStaticMarkup(h(Card, props));
