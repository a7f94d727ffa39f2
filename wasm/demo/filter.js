// The filter builder: rows of field, operator and value on one side, their JSON on the other; each follows the
// other. A JSON that is beyond the rows is used as it stands.

import { OPERATORS, fromFilter, readFilter, toFilter } from './conditions.js';
import { at, chosen, make } from './element.js';

/**
 * Makes the builder work.
 * @param {() => void} onChange the filter is another one
 */
export function filtering(onChange) {
  const [form, rows, text] = [at('filter'), at('conditions'), at('filter-json')];
  let filter;
  /** The engine refused it: the search runs again even if the filter stays the same. */
  let isRefused = false;
  let last = 0;

  function addRow({ field = '', operator = 'eq', value = '' } = {}) {
    last += 1;
    const options = Object.entries(OPERATORS).map(([name, words]) => make('option', { value: name }, words));
    const fieldInput = make('input', { id: `field-${last}`, list: 'fields', autocomplete: 'off', spellcheck: 'false', class: 'field' });
    const operatorSelect = make('select', { id: `operator-${last}`, class: 'operator' }, ...options);
    const valueInput = make('input', { id: `value-${last}`, autocomplete: 'off', class: 'value' });
    [fieldInput.value, operatorSelect.value, valueInput.value] = [field, operator, value];
    const remove = make('button', { type: 'button', class: 'quiet' }, 'Remove');
    const label = (words, input) => make('div', { class: 'labelled' }, make('label', { for: input.id }, words), input);
    const row = make('li', {}, label('Field', fieldInput), label('Operator', operatorSelect), label('Value', valueInput), remove);
    remove.addEventListener('click', () => {
      row.remove();
      fromRows();
      at('add-condition').focus();
    });
    rows.append(row);
    return fieldInput;
  }

  const values = () => [...rows.children].map((row) => ({
    field: row.querySelector('.field').value,
    operator: row.querySelector('.operator').value,
    value: row.querySelector('.value').value,
  }));

  function set(next) {
    const isNew = isRefused || JSON.stringify(next) !== JSON.stringify(filter);
    filter = next;
    isRefused = false;
    sayState();
    if (isNew) onChange();
  }

  /** Whether a filter is in force, or what stands in the field is not. */
  function sayState(problem) {
    at('filter-state').textContent = problem ?? (filter === undefined ? 'off' : 'on');
  }

  /** What is typed is in force as soon as it can be read; what cannot is an error once the field is left. */
  function fromText(isLeft) {
    let next;
    try {
      next = readFilter(text.value);
    } catch (error) {
      const before = filter === undefined ? 'no filter is in force' : 'the filter before it is in force';
      say(isLeft ? `Not JSON: ${error.message}; ${before}.` : `Not JSON yet; ${before}.`, isLeft);
      sayState('not applied');
      return;
    }
    toRows(next);
    set(next);
  }

  function fromRows() {
    const next = toFilter(values(), chosen(form, 'joiner'));
    text.value = next === undefined ? '' : JSON.stringify(next, undefined, 1).replace(/\n\s*/g, ' ');
    at('joiner').hidden = rows.children.length < 2;
    say('');
    set(next);
  }

  function toRows(next) {
    const found = fromFilter(next);
    if (found) {
      rows.replaceChildren();
      found.rows.forEach(addRow);
      form.elements.joiner.value = found.joiner;
    }
    at('joiner').hidden = rows.children.length < 2;
    rows.hidden = !found;
    say(found ? '' : 'This filter is more than the rows can show; it is used as it stands.');
  }

  function say(words, isWrong = false) {
    at('filter-said').textContent = words;
    at('filter-said').classList.toggle('bad', isWrong);
    text.setAttribute('aria-invalid', String(isWrong));
  }

  at('add-condition').addEventListener('click', () => {
    addRow().focus();
    rows.hidden = false;
    fromRows();
  });
  form.addEventListener('submit', (event) => event.preventDefault());
  form.addEventListener('change', (event) => event.target !== text && fromRows());
  text.addEventListener('input', () => fromText(false));
  text.addEventListener('change', () => fromText(true));

  return {
    /** The filter, if there is one. */
    get filter() {
      return filter;
    },
    /** Shows a filter without telling. */
    show(next) {
      filter = next;
      text.value = next === undefined ? '' : JSON.stringify(next);
      sayState();
      toRows(next);
      if (next !== undefined) at('filter-box').open = true;
    },
    /** The engine refused it. */
    refuse(words) {
      say(words, true);
      sayState('refused');
      isRefused = true;
      at('filter-box').open = true;
    },
    /** Names of fields to suggest. */
    suggest(names) {
      at('fields').replaceChildren(...names.map((name) => make('option', { value: name })));
    },
  };
}
