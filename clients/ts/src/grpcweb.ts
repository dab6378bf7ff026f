import { create, fromBinary, toBinary, type DescMessage, type MessageShape } from "@bufbuild/protobuf";
import { base64Decode } from "@bufbuild/protobuf/wire";
import { codeOf, errorFromHttp, errorFromStatusBytes, mostBytes, notWatchroute, tooLarge, unavailable, WatchrouteError } from "./error.js";
import { WatchRequestSchema, WatchResponseSchema } from "./gen/watchroute/v1/watch_pb.js";
import type { Message } from "./message.js";
import type { Call, Connection, Endpoint, Rung } from "./rung.js";
import { messageFromWire } from "./wire.js";

const service = "watchroute.v1.ResourceService";
const trailerFlag = 0x80;
const compressedFlag = 0x01;

/** gRPC-Web: what every client has. */
export function grpcWeb(): Rung {
  return { name: "grpc-web", occupies: true, open: (call) => new GrpcWebWatch(call) };
}

class GrpcWebWatch<T> implements Connection<T> {
  credential: string | undefined;
  #body: Frames | undefined;

  constructor(private readonly call: Call) {}

  async next(): Promise<Message<T> | undefined> {
    const body = (this.#body ??= await this.#open());
    const bytes = body.buffered() ?? (await body.next());
    return bytes && messageFromWire(fromBinary(WatchResponseSchema, bytes), this.call.schema);
  }

  async #open(): Promise<Frames> {
    const { call } = this;
    this.credential = await call.credential();
    const bytes = toBinary(WatchRequestSchema, call.request);
    return post(call.endpoint, "Watch", bytes, this.credential, call.signal, (n) => call.received(n));
  }
}

/** A unary call. */
export async function unary<I extends DescMessage, O extends DescMessage>(
  endpoint: Endpoint, method: string, input: I, output: O, request: MessageShape<I>, credential: string | undefined, signal: AbortSignal | undefined,
): Promise<MessageShape<O>> {
  const frames = await post(endpoint, method, toBinary(input, request), credential, signal, () => {});
  const bytes = await frames.next();
  if (bytes === undefined) throw notWatchroute("the answer holds no message");
  const answer = bytes.length === 0 ? create(output) : fromBinary(output, bytes);
  await frames.next(); // the status
  return answer;
}

async function post(
  endpoint: Endpoint, method: string, message: Uint8Array, credential: string | undefined, signal: AbortSignal | undefined, received: (bytes: number) => void,
): Promise<Frames> {
  const body = new Uint8Array(5 + message.length);
  new DataView(body.buffer).setUint32(1, message.length);
  body.set(message, 5);
  const headers: Record<string, string> = { ...endpoint.headers, "Content-Type": "application/grpc-web+proto", "X-Grpc-Web": "1" };
  if (credential !== undefined) headers["Authorization"] = `Bearer ${credential}`;
  let response: Response;
  try {
    response = await endpoint.fetch(`${endpoint.baseUrl}/${service}/${method}`, { method: "POST", headers, body, ...(signal && { signal }), redirect: "error", cache: "no-store" });
  } catch (cause) {
    throw unavailable(`the server cannot be reached: ${String(cause)}`, cause);
  }
  const failed = (error: WatchrouteError) => {
    response.body?.cancel().catch(() => {});
    return error;
  };
  if (response.headers.has("grpc-status")) {
    const error = errorFromTrailer((name) => response.headers.get(name));
    if (error) throw failed(error);
  }
  if (response.status !== 200) throw failed(errorFromHttp(response.status, response.headers.get("Retry-After")));
  const type = response.headers.get("Content-Type") ?? "";
  if (!/^application\/grpc-web(\+proto)?\s*(;|$)/i.test(type)) throw failed(notWatchroute(`the answer is ${type || "of no type"}, not gRPC-Web`));
  return new Frames(response.body, response.headers.has("grpc-status"), received);
}

/** Takes the messages out of a body, and reads no further than is asked. */
class Frames {
  #chunk: Uint8Array = new Uint8Array();
  #at = 0;
  #ended: boolean;
  readonly #reader: ReadableStreamDefaultReader<Uint8Array> | undefined;

  constructor(body: ReadableStream<Uint8Array> | null, ended: boolean, private readonly received: (bytes: number) => void) {
    this.#ended = ended;
    this.#reader = body?.getReader();
  }

  /** A message that has come already. */
  buffered(): Uint8Array | undefined {
    const left = this.#chunk.length - this.#at;
    if (left < 5) return undefined;
    const header = new DataView(this.#chunk.buffer, this.#chunk.byteOffset + this.#at, 5);
    const length = header.getUint32(1);
    if (length > mostBytes) throw tooLarge();
    if (header.getUint8(0) !== 0 || left < 5 + length) return undefined;
    const start = this.#at + 5;
    this.#at = start + length;
    return this.#chunk.subarray(start, this.#at);
  }

  /** The next message; undefined: the stream ended with the status OK. */
  async next(): Promise<Uint8Array | undefined> {
    for (;;) {
      const message = this.buffered();
      if (message !== undefined) return message;
      if (this.#trailer() || this.#ended) return undefined;
      await this.#read();
    }
  }

  #trailer(): boolean {
    const left = this.#chunk.length - this.#at;
    if (left < 5) return false;
    const header = new DataView(this.#chunk.buffer, this.#chunk.byteOffset + this.#at, 5);
    const flags = header.getUint8(0);
    if (flags === 0) return false;
    if (flags !== trailerFlag) throw notWatchroute(flags & compressedFlag ? "the answer is compressed" : "the answer is not of frames");
    const length = header.getUint32(1);
    if (left < 5 + length) return false;
    const start = this.#at + 5;
    const fields = new Map<string, string>();
    for (const line of new TextDecoder().decode(this.#chunk.subarray(start, start + length)).split("\r\n")) {
      const colon = line.indexOf(":");
      if (colon > 0) fields.set(line.slice(0, colon).trim().toLowerCase(), line.slice(colon + 1).trim());
    }
    this.#ended = true;
    const error = errorFromTrailer((name) => fields.get(name) ?? null);
    if (error) throw error;
    return true;
  }

  async #read(): Promise<void> {
    let value: Uint8Array | undefined;
    try {
      ({ value } = (await this.#reader?.read()) ?? {});
    } catch (cause) {
      throw unavailable(`the connection broke: ${String(cause)}`, cause);
    }
    if (value === undefined) throw unavailable("the connection broke before the end of the stream");
    this.received(value.length);
    const left = this.#chunk.length - this.#at;
    if (left === 0) {
      this.#chunk = value;
    } else {
      this.#chunk = this.#joined(left, value);
    }
    this.#at = 0;
  }

  // A large message comes in many chunks: room for all of it is made once.
  #room: Uint8Array = new Uint8Array();
  #joined(left: number, value: Uint8Array): Uint8Array {
    const need = left + value.length;
    const old = this.#chunk.subarray(this.#at);
    if (old.buffer === this.#room.buffer && old.byteOffset + need <= this.#room.length) {
      this.#room.set(value, old.byteOffset + left);
      return this.#room.subarray(old.byteOffset, old.byteOffset + need);
    }
    this.#room = new Uint8Array(Math.max(need * 2, 1024));
    this.#room.set(old);
    this.#room.set(value, left);
    return this.#room.subarray(0, need);
  }
}

function errorFromTrailer(field: (name: string) => string | null): WatchrouteError | undefined {
  const status = field("grpc-status");
  if (status === null) return unavailable("the stream ended without a status");
  const code = Number(status);
  if (code === 0) return undefined;
  const details = field("grpc-status-details-bin");
  const error = details === null ? undefined : errorFromStatusBytes(base64Decode(details));
  return error ?? new WatchrouteError(codeOf(code), percentDecode(field("grpc-message") ?? ""));
}

function percentDecode(text: string): string {
  try {
    return decodeURIComponent(text);
  } catch {
    return text;
  }
}
