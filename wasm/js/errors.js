// `NearfieldError`, the one class of errors, and how errors cross from a worker (`toPlain`, `fromPlain`): as
// plain objects with a code. Used by every file of the package. The table of codes is docs/browser.md; what
// the engine throws gets its code in wasm/src/error.rs.

/** What to do, for codes where the message alone may not say it. */
const HINTS = {
  WASM: 'the next call starts the engine anew from the same source; a write that was not answered may have happened',
  CLOSED: 'open it again',
};

/** An error of this package; `code` says which, the other fields what the message says. */
export class NearfieldError extends Error {
  /**
   * @param {string} code
   * @param {string} message
   * @param {{expected?: unknown, got?: unknown, position?: number | string, hint?: string, cause?: unknown}} [details]
   */
  constructor(code, message, details = {}) {
    const { cause, ...fields } = details;
    super(message, cause === undefined ? undefined : { cause });
    this.name = 'NearfieldError';
    Object.assign(this, fields);
    this.code = code;
    this.hint = fields.hint ?? HINTS[code];
  }
}

/** The error for `what: expected …, got …`. */
export function refusal(code, what, expected, got, position) {
  const details = { expected, got };
  if (position !== undefined) details.position = position;
  return new NearfieldError(code, `${what}: expected ${expected}, got ${got}`, details);
}

/** The error of a call that its caller gave up. */
export function aborted(signal) {
  return new NearfieldError('ABORTED', 'the call was aborted', { cause: signal?.reason });
}

/**
 * Whether an error is an answer. Those without a code come from a module that panicked or trapped, or from a
 * defect of ours: in both cases the instance must not be used again.
 */
export function isTyped(error) {
  return typeof error?.code === 'string' && !(error instanceof WebAssembly.RuntimeError);
}

/** What is posted of an error; `fatal` if the instance must not be used again. */
export function toPlain(error) {
  if (isTyped(error)) {
    const { code, hint, expected, got, position, fatal } = error;
    const rest = error instanceof Error ? {} : error;
    return { ...rest, code, message: error.message, hint, expected, got, position, fatal };
  }
  const message = `the engine stopped: ${error?.message ?? error}`;
  return { code: 'WASM', message, fatal: true };
}

/** The error of a plain object. */
export function fromPlain({ code, message, fatal, ...details }) {
  for (const name of Object.keys(details)) if (details[name] === undefined) delete details[name];
  return new NearfieldError(code, message, details);
}
