// Making and changing elements: only what differs is touched, and text is only ever text.
//
// Not here: what is drawn (plan.js, panels.js).

const SVG = "http://www.w3.org/2000/svg";

/** An element with attributes and children; a string becomes a text node, never markup. */
export function make(name, attributes = {}, ...children) {
  return furnish(document.createElement(name), attributes, children);
}

export function draw(name, attributes = {}, ...children) {
  return furnish(document.createElementNS(SVG, name), attributes, children);
}

function furnish(element, attributes, children) {
  for (const [key, value] of Object.entries(attributes)) set(element, key, value);
  element.append(...children);
  return element;
}

export function say(element, text) {
  if (element.textContent !== text) element.textContent = text;
}

/** Null takes the attribute away. */
export function set(element, name, value) {
  if (value === null) element.removeAttribute(name);
  else if (element.getAttribute(name) !== String(value)) element.setAttribute(name, value);
}

/**
 * Makes the children of a list be these things, in this order: one is made for each new key, those
 * that are there are kept, whatever the order was. Focus stays where it was.
 */
export function arrange(parent, things, keyOf, makeOne, changeOne) {
  const known = (parent.known ??= new Map());
  const focused = parent.contains(document.activeElement) ? document.activeElement : null;
  const wanted = new Set();
  let place = parent.firstElementChild;
  for (const thing of things) {
    const key = keyOf(thing);
    wanted.add(key);
    let element = known.get(key);
    if (!element) {
      element = makeOne(thing);
      known.set(key, element);
    }
    if (element === place) place = place.nextElementSibling;
    else parent.insertBefore(element, place);
    changeOne?.(element, thing);
  }
  for (const [key, element] of known) {
    if (wanted.has(key)) continue;
    element.remove();
    known.delete(key);
  }
  // Moving an element takes the focus from what is within.
  if (focused && focused !== document.activeElement && parent.contains(focused)) focused.focus();
}

/** A definition list of [name, label, text] rows, whose order does not change. */
export function define(parent, rows) {
  arrange(
    parent,
    rows,
    ([name]) => name,
    ([name, label, , title]) => {
      const term = make("dt", title ? { title } : {}, label);
      return make("div", { "data-name": name }, term, make("dd"));
    },
    (element, [, , text]) => say(element.lastElementChild, text),
  );
}
