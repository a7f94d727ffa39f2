// Types of the package. The manual is docs/browser.md.
/// <reference lib="esnext.disposable" />

export type Id = number | bigint | string;
export type Metric = 'cosine' | 'dot' | 'l2';
export type Value = string | number | bigint | boolean | null;
export type Metadata = Record<string, unknown>;

export type Condition = {
  eq?: Value | []; ne?: Value | []; in?: Value[]; nin?: Value[];
  lt?: number | bigint | string; lte?: number | bigint | string;
  gt?: number | bigint | string; gte?: number | bigint | string;
  contains?: Value; exists?: boolean;
};
export type Filter =
  | { and: Filter[] } | { or: Filter[] } | { not: Filter }
  | { tags_any: string[] } | { tags_all: string[] }
  | { [field: string]: Condition | Value };

export interface Progress {
  stage: 'header' | 'centroids' | 'codes' | 'rows' | 'all' | 'ready';
  bytes: number;
  totalBytes: number;
  requests: number;
  offlineReady: boolean;
}

export interface OpenOptions {
  /** Where the engine runs: a worker of the package's own (default), `false` for the calling thread (default in
   * Node), or a worker of yours that runs `nearfield/worker.js`; a function can make another one after a trap. */
  worker?: boolean | Worker | (() => Worker);
  /** Where the `.wasm` file is, if not beside the scripts; absolute or relative to the page. */
  wasmUrl?: string | URL;
  onProgress?: (progress: Progress) => void;
  signal?: AbortSignal;
  /** All below: of a file at a URL. Where fetched bytes are kept; `auto`, the default, is `opfs` where it can be. */
  storage?: 'auto' | 'opfs' | 'memory';
  /** What is fetched in the background after the first answer, if `maxBytes` allows it; `codes` by default. */
  prefetch?: 'none' | 'codes' | 'rows' | 'all';
  /** Bytes from the network, in all; what would exceed it rejects with BUDGET. */
  maxBytes?: number;
  /** Bytes that are kept on disk of all files together, 1 GiB by default; what was used longest ago gives way. */
  cacheBytes?: number;
  /** Download the whole file if the server has no ranges or the file no cells; else that is RANGE_UNSUPPORTED. */
  allowFullDownload?: boolean;
  /** Used for the requests; there is no worker then, thus no cache on disk. */
  fetch?: typeof fetch;
  headers?: HeadersInit;
  credentials?: RequestCredentials;
}

export interface NetStats {
  storage: 'memory' | 'opfs';
  /** Over the network, so far. */
  bytes: number;
  requests: number;
  /** In memory; kept on disk; of the file. */
  residentBytes: number;
  cachedBytes: number;
  totalBytes: number;
  /** Every search can be answered without the network. */
  offlineReady: boolean;
  /** Every byte is here: answers are those of the whole file. */
  complete: boolean;
}

export interface Called { signal?: AbortSignal }

export interface SearchOptions extends Called {
  /** Which vector field; it must be named where none is without a name. */
  field?: string;
  /** Results wanted, 1 to 1,000,000; 10 by default. */
  k?: number;
  where?: Filter;
  /** `fast` keeps fewer candidates of a graph search, `exact` compares with every point. */
  mode?: 'fast' | 'balanced' | 'exact';
  /** Candidates a graph search keeps; overrides `mode: 'fast'`. */
  ef?: number;
  /** Cells that are read of a file at a URL. */
  nprobe?: number;
  /** So many of the best are compared again by their originals, of a file at a URL; 0 by default. */
  rerank?: number;
  include?: ('metadata' | 'vector')[];
}

export interface Row { id: Id; metadata?: Metadata; vector?: Float32Array }
export interface Hit extends Row { score: number; scoreKind: 'similarity' | 'distance' }

export interface SearchStats {
  ms: number; scored: number; bytesFetched: number; requests: number;
  cellsSearched: number; cellsTotal: number; reranked: number;
}
export interface Hits extends Array<Hit> {
  /** False if every point was compared or excluded: nothing nearer exists. */
  approx: boolean;
  /** Share of the points that were within reach of the search. */
  coverage: number;
  /** What it cost; of `searchMany`, what the call cost in which this query was answered. */
  stats: SearchStats;
}
export interface Rows extends Array<Row> { missing: Id[] }
/** Which parts of a row; `field` says which vectors. */
export interface RowsOptions extends Called { vectors?: boolean; field?: string; metadata?: boolean }

export interface RecallOptions extends Omit<SearchOptions, 'include' | 'mode'> {
  mode?: 'fast' | 'balanced';
  /** Stored vectors drawn as queries, 200 by default. */
  sample?: number;
  /** Queries to use instead, row-major. */
  queries?: Float32Array;
  seed?: number;
}
export interface RecallReport { recall: number; low: number; high: number; n: number; k: number }

export interface Plan {
  found: number;
  segments: { segment: string; rows: number; allowed: number; pruned: boolean; [detail: string]: unknown }[];
  /**
   * `lists_read` of a file at a URL that is not here whole; `reranked` are rows found by their codes whose stored
   * vectors were then read.
   */
  stats: {
    segments_searched: number; segments_pruned: number; vectors_scored: number; nodes_expanded: number;
    lists_read?: number; reranked?: number;
  };
}

export interface CollectionStats {
  points: number;
  instructionSet: 'simd128' | 'scalar';
  /** Of a file at a URL that is not here whole, `graph` and `degraded` are not known: false and 0. */
  segments: { name: string; rows: number; live: number; graph: boolean; degraded: number }[];
  /** Of a store: scans under way, for each of which the rows of its first page's moment are kept. */
  scans?: number;
}

export interface Collection {
  readonly name: string;
  readonly size: number;
  readonly fields: FieldInfo[];
  /** Of the vector field without a name, else of the first. */
  readonly dim: number;
  readonly metric: Metric;
  search(query: Float32Array | number[], options?: SearchOptions): Promise<Hits>;
  searchMany(queries: Float32Array | number[], options?: SearchOptions): Promise<Hits[]>;
  get(ids: Id[], options?: RowsOptions): Promise<Rows>;
  scan(options?: RowsOptions & { where?: Filter; batchSize?: number }): AsyncGenerator<Row, void, void>;
  count(where?: Filter, options?: Called): Promise<number>;
  recall(options?: RecallOptions): Promise<RecallReport>;
  explain(query: Float32Array | number[], options?: SearchOptions): Promise<Plan>;
  stats(): Promise<CollectionStats>;
}

export interface FieldInfo {
  name: string; dim: number; metric: Metric; scoreKind: 'similarity' | 'distance'; store: 'f32' | 'f16';
}
export interface SnapshotInfo {
  bytes: number;
  /** `hasCells`, of a file at a URL that is not here whole: searches read a part of it. */
  collections: { name: string; size: number; lsn: number; fields: FieldInfo[]; hasCells?: boolean }[];
  engine: {
    version: string; instructionSet: 'simd128' | 'scalar';
    format: number; oldestReadableFormat: number; exportFormat: number;
  };
}

export interface Snapshot extends AsyncDisposable {
  readonly info: SnapshotInfo;
  readonly storage: 'memory' | 'opfs';
  collection(name?: string): Collection;
  /** Fetches a stage of a file at a URL in the background; after `all` it is a whole file. */
  download(stage: 'codes' | 'rows' | 'all', options?: Called): Promise<void>;
  /** Removes the kept bytes of a file at a URL from disk. */
  evict(): Promise<void>;
  stats(): Promise<NetStats>;
  close(): Promise<void>;
}

export type ErrorCode =
  | 'DIMENSION' | 'NON_FINITE' | 'FILTER' | 'PARAMETER' | 'ID' | 'DUPLICATE_ID' | 'METADATA' | 'NOT_FOUND'
  | 'CONFLICT' | 'FORMAT' | 'VERSION' | 'CHECKSUM' | 'CHANGED' | 'READ_ONLY' | 'LOCKED' | 'QUOTA' | 'IO'
  | 'RANGE_UNSUPPORTED' | 'CORS' | 'NETWORK' | 'BUDGET' | 'ABORTED' | 'CLOSED' | 'WASM';

export class NearfieldError extends Error {
  readonly code: ErrorCode;
  readonly expected?: unknown;
  readonly got?: unknown;
  /** Index in the argument, or the path inside a filter. */
  readonly position?: number | string;
  readonly hint?: string;
}

/** Opens a `.near` file: at a URL, of which only what searches touch is fetched, or whose bytes are at hand; those are
 * kept, not copied: do not change them meanwhile. */
export function open(source: string | URL | ArrayBuffer | ArrayBufferView | Blob | File, options?: OpenOptions): Promise<Snapshot>;

export function capabilities(): Promise<{
  simd: boolean; threads: boolean; opfs: boolean; persisted: boolean; quotaBytes: number; usageBytes: number;
}>;

/** What is kept on this device of files at URLs. */
export function kept(): Promise<{ key: string; urls: string[]; bytes: number; totalBytes: number }[]>;
/** Removes what is kept under a key; false if it is open, here or in another tab. */
export function forgetKept(key: string): Promise<boolean>;

export * from './local.js';
