// Types of local.js; index.d.ts passes them on.
/// <reference lib="esnext.disposable" />

import type { Collection } from './index.js';

/** What `create` makes or opens. */
export interface CreateOptions {
  /** Elements of a vector, 1 to 65,536. */
  dim: number;
  /** Default `cosine`. */
  metric?: 'cosine' | 'dot' | 'l2';
  /** How elements are kept; default `f32`. */
  store?: 'f32' | 'f16';
  /** Metadata fields, by path, whose texts are dates: they are compared as moments. */
  fields?: Record<string, 'datetime'>;
  /** Which store of this origin. */
  name?: string;
  /** Default: `opfs` with a name, `memory` without. */
  storage?: 'memory' | 'opfs';
  /** As for `open`; `opfs` needs a worker. */
  worker?: boolean | Worker | (() => Worker);
  wasmUrl?: string | URL;
}

/** Points to write: all of them or none. */
export interface Upsert {
  /** One for each vector; without them ids are assigned. */
  ids?: ArrayLike<number | bigint | string>;
  /** Row-major, a multiple of `dim`. */
  vectors: Float32Array | number[];
  /** An object for each vector, or an array for each field; `undefined` is no value. */
  metadata?: Array<object | null | undefined> | Record<string, ArrayLike<unknown>>;
}

/** What an `upsert` did. */
export interface AddReport {
  inserted: number;
  replaced: number;
  /** The first id, if they were assigned; the others count up from it. */
  firstAssigned?: number | bigint;
}

/** A collection that is written here. */
export interface LocalCollection extends Collection, AsyncDisposable {
  readonly storage: 'memory' | 'opfs';
  /** Resolves when durable. */
  upsert(rows: Upsert): Promise<AddReport>;
  /** Resolves when durable, with how many there were. */
  delete(ids: ArrayLike<number | bigint | string>): Promise<number>;
  /** A checkpoint; durability does not need it. */
  flush(): Promise<void>;
  /** Everything as a `.near` file. */
  export(): Promise<Blob>;
  close(): Promise<void>;
}

/** A collection to write to: a new one, or the one of that name. */
export function create(options: CreateOptions): Promise<LocalCollection>;
/** The stores of this origin and the bytes of their files. */
export function stores(): Promise<{ name: string; bytes: number }[]>;
/** Removes a store for good, unless it is open (LOCKED); whether there was one. */
export function deleteStore(name: string): Promise<boolean>;
