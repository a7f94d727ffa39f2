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
    const same = JSON.stringify(next) === JSON.stringify(filter);
    filter = next;
    at('filter-state').textContent = next === undefined ? 'off' : 'on';
    if (!same) onChange();
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
  text.addEventListener('change', () => {
    let next;
    try {
      next = readFilter(text.value);
    } catch (error) {
      say(`Not JSON: ${error.message}`, true);
      return;
    }
    toRows(next);
    set(next);
  });

  return {
    /** The filter, if there is one. */
    get filter() {
      return filter;
    },
    /** Shows a filter without telling. */
    show(next) {
      filter = next;
      text.value = next === undefined ? '' : JSON.stringify(next);
      at('filter-state').textContent = next === undefined ? 'off' : 'on';
      toRows(next);
      if (next !== undefined) at('filter-box').open = true;
    },
    /** The engine refused it. */
    refuse(words) {
      say(words, true);
      at('filter-box').open = true;
    },
    /** Names of fields to suggest. */
    suggest(names) {
      at('fields').replaceChildren(...names.map((name) => make('option', { value: name })));
    },
  };
}
