import { clone, type DescMessage, type Message } from "@bufbuild/protobuf";
import { reflect, type ReflectMessage } from "@bufbuild/protobuf/reflect";
import type { JsonObject } from "./resource.js";

/**
 * Gives the value that a delta leaves behind: each path is taken from `part`, and what
 * `part` does not carry is cleared. Neither argument is changed.
 */
export function applyDelta<T>(schema: DescMessage | undefined, held: T, part: T, paths: readonly string[]): T {
  if (schema === undefined) {
    let value = held as JsonObject;
    for (const path of paths) value = setJson(value, part as JsonObject, path.split("."), 0);
    return value as T;
  }
  const whole = clone(schema, held as Message);
  const to = reflect(schema, whole);
  const from = reflect(schema, part as Message);
  for (const path of paths) setField(to, from, path.split("."));
  return whole as T;
}

// Objects along a path are copied, everything else is shared.
function setJson(held: JsonObject, part: JsonObject | undefined, path: string[], at: number): JsonObject {
  const key = path[at]!;
  const value = part !== undefined && Object.hasOwn(part, key) ? part[key] : undefined;
  const copy = { ...held };
  if (at === path.length - 1) {
    if (value === undefined) delete copy[key];
    else assign(copy, key, value);
    return copy;
  }
  const inner = Object.hasOwn(held, key) ? held[key] : undefined;
  if (isObject(inner)) assign(copy, key, setJson(inner, isObject(value) ? value : undefined, path, at + 1));
  else if (value !== undefined) assign(copy, key, value);
  return copy;
}

// A key may be `__proto__`.
export function assign<V>(object: Record<string, V>, key: string, value: V): void {
  if (key === "__proto__") Object.defineProperty(object, key, { value, enumerable: true, configurable: true, writable: true });
  else object[key] = value;
}

function isObject(value: unknown): value is JsonObject {
  return typeof value === "object" && value !== null && !Array.isArray(value);
}

function setField(to: ReflectMessage, from: ReflectMessage | undefined, path: string[]): void {
  const [name, ...rest] = path;
  const field = to.fields.find((f) => f.name === name || f.jsonName === name);
  if (field === undefined) return; // of a newer contract: it is not in the program's message either
  if (rest.length > 0 && field.fieldKind === "message" && to.isSet(field)) {
    setField(to.get(field), from?.isSet(field) ? from.get(field) : undefined, rest);
  } else if (from?.isSet(field)) {
    to.set(field, from.get(field));
  } else {
    to.clear(field);
  }
}
