// Finding and making elements. Text only ever becomes text, never markup: what a file holds cannot run here.

/** The element with an id; the page has it. */
export function at(id) {
  return document.getElementById(id);
}

/**
 * A new element.
 * @param {string} tag
 * @param {Record<string, string | number | boolean>} [attributes] `class`, `aria-…` and so on; `false` leaves out
 * @param {...(Node | string)} children
 */
export function make(tag, attributes = {}, ...children) {
  const element = document.createElement(tag);
  for (const [name, value] of Object.entries(attributes)) {
    if (value !== false) element.setAttribute(name, value === true ? '' : String(value));
  }
  element.append(...children);
  return element;
}

/** What is chosen in a group of radio buttons. */
export function chosen(form, name) {
  return form.elements[name].value;
}
