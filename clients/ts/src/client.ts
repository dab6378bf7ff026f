import { create, toBinary, type DescMessage, type MessageShape } from "@bufbuild/protobuf";
import { Backoff, type BackoffOptions } from "./backoff.js";
import { systemClock, sleep, type Clock } from "./clock.js";
import { Credentials, together, type TokenProvider } from "./credential.js";
import { WatchrouteError } from "./error.js";
import type { State } from "./event.js";
import { JsonSchema, ResourceSchema } from "./gen/watchroute/v1/resource_pb.js";
import {
  DeleteRequestSchema, GetRequestSchema, ListRequestSchema, ListResponseSchema, PreconditionSchema, PutRequestSchema,
  WriteBatchResponseSchema, WriteRequestSchema, WriteResponseSchema, type Precondition as WirePrecondition, type WriteResponse,
} from "./gen/watchroute/v1/service_pb.js";
import { noCounts, type Counters, type Follower } from "./follow.js";
import { grpcWeb, unary } from "./grpcweb.js";
import type { LadderOptions } from "./ladder.js";
import type { Mirror } from "./mirror.js";
import type { Resource } from "./resource.js";
import type { Endpoint, Rung } from "./rung.js";
import type { ValueOf, Watch } from "./watch.js";
import { resourceFromWire } from "./wire.js";

/** One line of the log: what a watch does and why. No value and no credential is ever in it. */
export interface LogEntry {
  readonly level: "debug" | "warn";
  readonly message: string;
  /** What is watched. */
  readonly watch: string;
  readonly [field: string]: unknown;
}

export interface ClientOptions {
  /** Such as `https://watch.example`. */
  baseUrl: string;
  /** A credential, or what gives one before each connection. */
  token?: string | TokenProvider;
  /** By what watches travel, the best first; more than one is a ladder. Default: gRPC-Web. */
  rungs?: readonly Rung[];
  ladder?: LadderOptions;
  backoff?: BackoffOptions;
  /** Headers to send with each call by HTTP. A WebSocket carries none but `watchroute-tenant`. */
  headers?: Readonly<Record<string, string>>;
  /** Milliseconds that a call may take, with what is tried again; 0: any time. Watches take as long as they take. Default: 10000. */
  timeout?: number;
  /** Default: the global one. */
  fetch?: typeof globalThis.fetch;
  /** Is told each state of each watch. */
  onState?: (watch: Watch<unknown> | Mirror<unknown>, state: State, cause: string) => void;
  log?: (entry: LogEntry) => void;
  /** For tests. */
  clock?: Clock;
}

/** What must hold at the moment of writing. */
export type Precondition = { mustNotExist: true } | { revision: bigint } | { etag: string };

/** How long a call may take. */
export interface CallOptions {
  /** In place of the client's. Then it fails with DEADLINE_EXCEEDED. */
  timeout?: number;
  /** Then it fails with CANCELLED. */
  signal?: AbortSignal;
}

export interface ReadOptions extends CallOptions {
  /** Never answer from before this revision. */
  minRevision?: bigint;
  /** The version of the value's shape. */
  projection?: string;
}

export interface ListOptions extends ReadOptions {
  /** How many resources at most. Default: 100, at most 1000. */
  pageSize?: number;
  /** `nextPageToken` of the page before. */
  pageToken?: string;
  filter?: string;
}

export interface Page<T> {
  readonly resources: readonly Resource<T>[];
  /** Empty on the last page. */
  readonly nextPageToken: string;
  readonly revision: bigint;
  /** Continues the list as a watch of the same parent, filter and projection. */
  readonly resumeToken: string;
}

export interface WriteOptions extends CallOptions {
  precondition?: Precondition;
  /** Makes the write apply once, and lets it be tried again where that helps: 1 to 128 characters, best a random UUID. */
  requestId?: string;
}

export interface PutOptions extends WriteOptions {
  labels?: Readonly<Record<string, string>>;
}

export interface DeleteOptions extends WriteOptions {
  /** Succeed where there is no such resource. */
  allowMissing?: boolean;
}

/** One part of a batch. */
export type Operation<T> =
  | { readonly put: string; readonly data: T; readonly labels?: Readonly<Record<string, string>>; readonly precondition?: Precondition }
  | { readonly delete: string; readonly precondition?: Precondition };

export interface Written {
  /** The collection's revision from which on reads show the write. */
  readonly revision: bigint;
  /** Whether anything changed. */
  readonly changed: boolean;
  readonly name: string;
  readonly etag: string;
}

export interface BatchWritten {
  readonly revision: bigint;
  /** One for each operation, in their order. */
  readonly results: readonly Written[];
}

/** Makes a client of one server. It opens nothing by itself. */
export function createClient(options: ClientOptions): Client {
  return new Client(options);
}

/**
 * Reads and writes resources. `schema` is the generated descriptor of the collection's message, undefined where it
 * has no contract. A call that fails is not tried again, but a write with a request id where the
 * server could not be reached or says that trying again helps: at most four more times.
 */
export class Client implements Endpoint {
  readonly baseUrl: string;
  readonly fetch: typeof globalThis.fetch;
  readonly headers: Readonly<Record<string, string>>;
  readonly clock: Clock;
  readonly rungs: readonly Rung[];
  /** How many streams are open that each take a connection of the browser's six, and how many may be. */
  streams = 0;
  readonly mostStreams = 3;
  /** @internal */
  readonly token: string | TokenProvider | undefined;
  readonly #credentials: Credentials;
  readonly #watches = new Set<Follower<unknown>>();
  readonly #ended = noCounts();
  #closed = false;
  readonly #timeout: number;

  constructor(readonly options: ClientOptions) {
    this.baseUrl = options.baseUrl.replace(/\/+$/, "");
    this.fetch = options.fetch ?? ((input, init) => globalThis.fetch(input, init));
    this.headers = options.headers ?? {};
    this.clock = options.clock ?? systemClock;
    this.#timeout = options.timeout ?? 10_000;
    this.rungs = options.rungs ?? [grpcWeb()];
    if (this.rungs.length === 0) throw new TypeError("a client needs at least one rung");
    this.token = typeof options.token === "function" ? together(options.token, this.clock) : options.token;
    this.#credentials = new Credentials(this.token);
  }

  /** Fails with NOT_FOUND and RESOURCE_NOT_FOUND where there is no such resource. */
  async get<S extends DescMessage | undefined>(schema: S, name: string, options: ReadOptions = {}): Promise<Resource<ValueOf<S>>> {
    const request = create(GetRequestSchema, { name, minRevision: options.minRevision ?? 0n, projection: options.projection ?? "" });
    return resourceFromWire(await this.#call("Get", GetRequestSchema, ResourceSchema, request, options), schema);
  }

  /** One page. */
  async list<S extends DescMessage | undefined>(schema: S, parent: string, options: ListOptions = {}): Promise<Page<ValueOf<S>>> {
    const { pageSize = 0, pageToken = "", filter = "", minRevision = 0n, projection = "" } = options;
    const request = create(ListRequestSchema, { parent, pageSize, pageToken, filter, minRevision, projection });
    const { resources, nextPageToken, revision, resumeToken } = await this.#call("List", ListRequestSchema, ListResponseSchema, request, options);
    return { resources: resources.map((r) => resourceFromWire<ValueOf<S>>(r, schema)), nextPageToken, revision, resumeToken };
  }

  /** All resources of a collection, in the order of their names, at one revision; page by page, each within the time of a call. */
  async *listAll<S extends DescMessage | undefined>(schema: S, parent: string, options: Omit<ListOptions, "pageToken"> = {}): AsyncGenerator<Resource<ValueOf<S>>, void> {
    for (let pageToken = ""; ; ) {
      const page = await this.list(schema, parent, { ...options, pageToken });
      yield* page.resources;
      if (page.nextPageToken === "") return;
      pageToken = page.nextPageToken;
    }
  }

  /** What all watches and mirrors have counted, also those that have ended. */
  get counters(): Counters {
    const sum = { ...this.#ended };
    for (const { counters } of this.#watches) add(sum, counters);
    return sum;
  }

  /** Ends all watches and mirrors; resolves when their last tokens are saved. Calls after it fail with CANCELLED. */
  async close(): Promise<void> {
    this.#closed = true;
    await Promise.all([...this.#watches].map((w) => w.cancel()));
  }

  /** @internal A watch begins, or goes on. */
  open(watch: Follower<never> | Follower<unknown>): void {
    if (this.#closed) throw clientClosed();
    this.#watches.add(watch as Follower<unknown>);
  }

  /** @internal It has ended. */
  closed(watch: Follower<never> | Follower<unknown>): void {
    if (this.#watches.delete(watch as Follower<unknown>)) add(this.#ended, watch.counters);
  }

  /** Creates or replaces a resource. */
  async put<S extends DescMessage | undefined>(schema: S, name: string, data: ValueOf<S>, options: PutOptions = {}): Promise<Written> {
    const request = create(PutRequestSchema, { resource: toWire(schema, name, data, options.labels), ...condition(options.precondition), requestId: options.requestId ?? "" });
    return written(await this.#write("Put", PutRequestSchema, WriteResponseSchema, request, options));
  }

  async delete(name: string, options: DeleteOptions = {}): Promise<Written> {
    const request = create(DeleteRequestSchema, { name, ...condition(options.precondition), requestId: options.requestId ?? "", allowMissing: options.allowMissing ?? false });
    return written(await this.#write("Delete", DeleteRequestSchema, WriteResponseSchema, request, options));
  }

  /** All operations or none: they share one revision and become visible together. */
  async write<S extends DescMessage | undefined>(
    schema: S, parent: string, operations: readonly Operation<ValueOf<S>>[], options: Omit<WriteOptions, "precondition"> = {},
  ): Promise<BatchWritten> {
    const request = create(WriteRequestSchema, {
      parent,
      requestId: options.requestId ?? "",
      operations: operations.map((o) => ({
        action: "put" in o ? { case: "put" as const, value: toWire(schema, o.put, o.data, o.labels) } : { case: "delete" as const, value: o.delete },
        ...condition(o.precondition),
      })),
    });
    const answer = await this.#write("Write", WriteRequestSchema, WriteBatchResponseSchema, request, options);
    return { revision: answer.revision, results: answer.results.map(written) };
  }

  #call<I extends DescMessage, O extends DescMessage>(method: string, input: I, output: O, request: MessageShape<I>, options: CallOptions): Promise<MessageShape<O>> {
    return this.#limited(options, (signal) => this.#once(method, input, output, request, signal));
  }

  async #once<I extends DescMessage, O extends DescMessage>(method: string, input: I, output: O, request: MessageShape<I>, signal: AbortSignal): Promise<MessageShape<O>> {
    for (let again = true; ; again = false) {
      const credential = await this.#credentials.next();
      try {
        const answer = await unary(this, method, input, output, request, credential, signal);
        this.#credentials.accepted();
        return answer;
      } catch (cause) {
        const error = cause as WatchrouteError;
        // A credential that expired was refused before anything was done.
        if (!again || error.reason !== "CREDENTIAL_EXPIRED" || !(await this.#credentials.another(credential))) throw cause;
      }
    }
  }

  #write<I extends DescMessage, O extends DescMessage>(
    method: string, input: I, output: O, request: MessageShape<I> & { requestId: string }, options: WriteOptions,
  ): Promise<MessageShape<O>> {
    return this.#limited(options, async (signal) => {
      const backoff = new Backoff(this.clock, this.options.backoff);
      const { timeout = this.#timeout } = options;
      const end = timeout > 0 ? this.clock.now() + timeout : Infinity;
      for (let attempt = 1; ; attempt++) {
        try {
          return await this.#once(method, input, output, request, signal);
        } catch (cause) {
          const { code, retryAfter } = cause as WatchrouteError;
          if ((retryAfter === undefined && code !== "UNAVAILABLE") || request.requestId === "" || attempt === 5 || signal.aborted) throw cause;
          const wait = backoff.failed(retryAfter);
          if (this.clock.now() + wait >= end) throw cause; // which says more than that there is no time left
          await sleep(this.clock, wait, signal);
        }
      }
    });
  }

  /** Does something within its time, and until the caller no longer wants it. */
  #limited<R>({ timeout = this.#timeout, signal }: CallOptions, work: (signal: AbortSignal) => Promise<R>): Promise<R> {
    return new Promise((resolve, reject) => {
      if (this.#closed) throw clientClosed();
      const abort = new AbortController();
      const end = (error: WatchrouteError) => {
        reject(error);
        abort.abort(error);
      };
      const cancel = () => end(new WatchrouteError("CANCELLED", "the call was cancelled", { cause: signal?.reason }));
      if (signal?.aborted) return cancel();
      signal?.addEventListener("abort", cancel);
      const cancelTimer = timeout > 0 ? this.clock.after(timeout, () => end(new WatchrouteError("DEADLINE_EXCEEDED", `there was no answer within ${timeout} ms`))) : () => {};
      work(abort.signal).then(resolve, reject).finally(() => {
        cancelTimer();
        signal?.removeEventListener("abort", cancel);
      });
    });
  }
}

function add(sum: Counters, counters: Counters): void {
  for (const name of Object.keys(sum) as (keyof Counters)[]) sum[name] += counters[name];
}

function clientClosed(): WatchrouteError {
  return new WatchrouteError("CANCELLED", "the client is closed");
}

function toWire(schema: DescMessage | undefined, name: string, data: unknown, labels: Readonly<Record<string, string>> | undefined) {
  const value = schema === undefined
    ? { typeUrl: `type.googleapis.com/${JsonSchema.typeName}`, value: toBinary(JsonSchema, create(JsonSchema, { text: JSON.stringify(data) })) }
    : { typeUrl: `type.googleapis.com/${schema.typeName}`, value: toBinary(schema, data as MessageShape<DescMessage>) };
  return { name, data: value, labels: { ...labels } };
}

function condition(p: Precondition | undefined): { precondition?: WirePrecondition } {
  if (p === undefined) return {};
  if ("revision" in p) return { precondition: create(PreconditionSchema, { condition: { case: "revision", value: p.revision } }) };
  if ("etag" in p) return { precondition: create(PreconditionSchema, { condition: { case: "etag", value: p.etag } }) };
  return { precondition: create(PreconditionSchema, { condition: { case: "mustNotExist", value: true } }) };
}

function written(r: WriteResponse): Written {
  return { revision: r.revision, changed: r.changed, name: r.resource?.name ?? "", etag: r.resource?.etag ?? "" };
}
