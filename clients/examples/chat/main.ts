// A chat room: index.html?name=Ada&room=lobby. Its collection has no contract.
import { createClient, watch } from "@watchroute/client";

type Message = { room: string; who: string; text: string };

const query = new URLSearchParams(location.search);
const room = query.get("room") ?? "lobby";
const who = query.get("name") ?? "somebody";
const element = (id: string) => document.getElementById(id)!;
const client = createClient({ baseUrl: NODE });

// Write. Each message has an id of its own, by which it is stored and sent: sent twice, it is there once.
let unsent: { id: string; text: string } | undefined;
document.querySelector("form")!.addEventListener("submit", async (event) => {
  event.preventDefault();
  const form = event.target as HTMLFormElement;
  const text = (form.elements.namedItem("text") as HTMLInputElement).value;
  if (unsent?.text !== text) unsent = { id: crypto.randomUUID(), text };
  const message: Message = { room, who, text };
  try {
    await client.put(undefined, `messages/${unsent.id}`, message, { requestId: unsent.id });
    unsent = undefined;
    form.reset();
    element("problem").textContent = "";
  } catch (error) {
    element("problem").textContent = `Not sent, try again: ${(error as Error).message}`;
  }
});

// Read.
const shown = new Map<string, HTMLElement>();
try {
  const events = watch(client, undefined, {
    parent: "messages",
    filter: `data.room == ${JSON.stringify(room)}`,
    onState: (_, state) => (element("state").textContent = state === "LIVE" ? `${who} in ${room}` : state),
  });
  for await (const event of events) {
    if (event.kind === "PRESENT" && !shown.has(event.name)) {
      const { who, text } = event.data as Message;
      const line = document.createElement("li");
      line.textContent = `${who}: ${text}`;
      line.dataset.at = event.resource.createRevision.toString().padStart(20, "0");
      shown.set(event.name, line);
      const next = [...element("messages").children].find((other) => (other as HTMLElement).dataset.at! > line.dataset.at!);
      element("messages").insertBefore(line, next ?? null); // the state comes in the order of names
    }
    if (event.kind === "RESET") {
      shown.clear();
      element("messages").replaceChildren();
    }
  }
} catch (error) {
  element("state").textContent = (error as Error).message; // trying again is of no use
}
