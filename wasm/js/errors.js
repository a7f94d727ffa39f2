export class NearfieldError extends Error {
  constructor(code, message, details = {}) {
    super(message);
    this.name = 'NearfieldError';
    this.code = code;
    Object.assign(this, details);
  }
}
