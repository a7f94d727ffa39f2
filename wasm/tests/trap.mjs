// Makes the next call of an export of the package's modules reach for memory that is not there: what a defect of a module
// would do. Watches every instance that is made after this is loaded, in this realm.

/** No object of a module is there. */
const NOWHERE = 0xfffffff0;
/** Instead of an export, once: `(real, arguments)`. */
const instead = new Map();
/** Called with the name of each export that is entered, and with that of each that traps. */
const observers = [];

for (const name of ['instantiate', 'instantiateStreaming']) {
  const make = WebAssembly[name];
  WebAssembly[name] = async (...call) => {
    const made = await make(...call);
    // Modules that were compiled before are those of the platform.
    if (made instanceof WebAssembly.Instance) return made;
    return { module: made.module, instance: { exports: watched(made.instance.exports) } };
  };
}

function watched(exports) {
  const entries = Object.entries(exports).map(([name, value]) => [name, typeof value === 'function' ? watchedCall(name, value) : value]);
  return Object.fromEntries(entries);
}

function watchedCall(name, real) {
  return (...call) => {
    observers.forEach(({ entered }) => entered(name));
    try {
      const other = instead.get(name);
      return other ? other(real, call) : real(...call);
    } catch (error) {
      if (error instanceof WebAssembly.RuntimeError) observers.forEach(({ trapped }) => trapped(name));
      throw error;
    }
  };
}

/**
 * @param {string} name of an export whose first argument is an object of the module, such as `nearfile_search`
 * @returns {Promise<void>} when it has trapped
 */
export function trapOnce(name) {
  return new Promise((trapped) => {
    instead.set(name, (real, [_object, ...rest]) => {
      // Only this call fails by itself; that nothing enters the instance again is what is tested.
      instead.delete(name);
      try {
        return real(NOWHERE, ...rest);
      } finally {
        trapped();
      }
    });
  });
}

/**
 * Names of the exports for one class that are called after one of them trapped: none may be.
 * @param {string} name of the class, such as `nearfile`
 * @returns {string[]} grows
 */
export function enteredAfterTrap(name) {
  const found = [];
  const isOfClass = (other) => other.startsWith(`${name}_`) || other === `__wbg_${name}_free`;
  let dead = false;
  observers.push({
    entered: (other) => dead && isOfClass(other) && found.push(other),
    trapped: (other) => (dead ||= isOfClass(other)),
  });
  return found;
}
