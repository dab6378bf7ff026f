// How a page says whether what it shows is current.
import type { State } from "@watchroute/client";
import { at } from "./shop.js";

/** Gives what is to be told each state of a watch. */
export function connection(): (watch: unknown, state: State) => void {
  let before: State | undefined;
  return (_, state) => {
    if (state === "LIVE") say(before === "RESUMING" ? "live, went on where it was" : "live", true);
    if (state === "BACKING_OFF" || state === "DRAINING") say("connecting again", false);
    if (state === "CLOSED") say("over", false);
    before = state;
  };
}

function say(text: string, good: boolean): void {
  at("state").textContent = text;
  at("state").className = good ? "pill good" : "pill";
}
