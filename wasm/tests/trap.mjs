// Makes the next call of a method reach for memory that is not there: what a defect of the module would do.

/**
 * @param {{prototype: object}} Class the class of the glue module that traps, once
 * @param {string} method in which method
 * @returns {Promise<void>} when it has
 */
export function trapOnce(Class, method) {
  const whole = Class.prototype[method];
  return new Promise((trapped) => {
    Class.prototype[method] = function (...call) {
      Class.prototype[method] = whole;
      const place = this.__wbg_ptr;
      this.__wbg_ptr = 0xfffffff0;
      try {
        return whole.apply(this, call);
      } finally {
        // Only this call fails by itself; that nothing enters the instance again is what is tested.
        this.__wbg_ptr = place;
        trapped();
      }
    };
  });
}

/**
 * Names of the methods of `Class` that are called after one of them trapped: none may be.
 * @param {{prototype: object}} Class
 * @returns {string[]} grows
 */
export function enteredAfterTrap(Class) {
  const entered = [];
  let dead = false;
  for (const [name, { value: method }] of Object.entries(Object.getOwnPropertyDescriptors(Class.prototype))) {
    if (name === 'constructor' || typeof method !== 'function') continue;
    Class.prototype[name] = function (...call) {
      if (dead) entered.push(name);
      try {
        return method.apply(this, call);
      } catch (error) {
        dead ||= error instanceof WebAssembly.RuntimeError;
        throw error;
      }
    };
  }
  return entered;
}
