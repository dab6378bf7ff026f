import { errorFromHttp, notWatchroute, unavailable } from "./error.js";
import { errorFromJson, isStatus } from "./json.js";
import type { Call } from "./rung.js";

/** Asks for a watch's URL. Fails unless the answer is 200 and of the expected media type. */
export async function get(call: Call, url: URL, accept: string, credential: string | undefined, signal = call.signal): Promise<Response> {
  const headers: Record<string, string> = { ...call.endpoint.headers, Accept: accept };
  if (credential !== undefined) headers["Authorization"] = `Bearer ${credential}`;
  let response: Response;
  try {
    response = await call.endpoint.fetch(url, { headers, signal, redirect: "error", cache: "no-store" });
  } catch (cause) {
    throw unavailable(`the server cannot be reached: ${String(cause)}`, cause);
  }
  const type = response.headers.get("Content-Type") ?? "";
  if (response.status === 200 && type.startsWith(accept)) return response;
  if (response.status === 200) {
    response.body?.cancel().catch(() => {});
    throw notWatchroute(`the answer is ${type || "of no type"}, not ${accept}`);
  }
  let body: unknown;
  if (type.startsWith("application/json")) body = await response.json().catch(() => undefined);
  else response.body?.cancel().catch(() => {});
  throw (isStatus(body) && errorFromJson(body)) || errorFromHttp(response.status, response.headers.get("Retry-After"));
}
