// One half of the page: what a Picture holds, drawn at most once a frame.
import type { Feed, Mood, Picture, Row, Say } from "./picture.js";

const stages = ["PENDING", "PROCESSING", "SHIPPED", "OUT_FOR_DELIVERY", "DELIVERED", "CANCELLED"];
const mostRows = 14;

export class Panel {
  private readonly root: HTMLElement;
  private readonly bars = new Map<string, HTMLElement>();
  private readonly drawn = new Map<string, { row: Row; element: HTMLElement }>();

  constructor(id: string, title: string, call: string) {
    this.root = document.getElementById(id)!;
    this.root.append((document.getElementById("feed") as HTMLTemplateElement).content.cloneNode(true));
    this.find("h2").textContent = title;
    this.find(".call").textContent = call;
    for (const stage of stages) {
      const bar = document.createElement("i");
      bar.dataset.stage = stage;
      this.bars.set(stage, bar);
      this.find(".stages").append(bar);
    }
  }

  private find(selector: string): HTMLElement {
    return this.root.querySelector<HTMLElement>(selector)!;
  }

  readonly say: Say = (mood: Mood, text: string, note?: string) => {
    const pill = this.find(".state");
    pill.dataset.is = mood;
    pill.textContent = text;
    this.find(".note").hidden = !note;
    this.find(".note").textContent = note ?? "";
  };

  /** Lets the button cut the feed, which goes on with its own token. */
  cuts(feed: Feed, picture: Picture): void {
    this.find(".token button").addEventListener("click", () => {
      picture.reconnects++;
      feed.resume(picture.token);
    });
  }

  draw(p: Picture): void {
    const numbers: Record<string, string> = {
      orders: String(p.rows.size), events: String(p.events), revision: String(p.revision),
      reconnects: String(p.reconnects), snapshots: String(p.snapshots),
    };
    for (const dd of this.root.querySelectorAll<HTMLElement>("dd")) dd.textContent = numbers[dd.dataset.of!] ?? "";
    const token = this.find(".token code");
    token.textContent = token.title = p.token;

    const counts = new Map<string, number>();
    for (const { order } of p.rows.values()) counts.set(order.stage, (counts.get(order.stage) ?? 0) + 1);
    for (const [stage, bar] of this.bars) {
      bar.style.flexGrow = String(counts.get(stage) ?? 0);
      bar.title = `${stage}: ${counts.get(stage) ?? 0}`;
    }

    const newest = [...p.rows].sort(([, a], [, b]) => (a.revision < b.revision ? 1 : -1)).slice(0, mostRows);
    for (const name of this.drawn.keys()) if (!newest.some(([n]) => n === name)) this.drawn.delete(name);
    place(this.find("tbody"), newest.map(([name, row]) => this.row(name, row)));
  }

  private row(name: string, row: Row): HTMLElement {
    const before = this.drawn.get(name);
    if (before?.row === row) return before.element;
    const element = document.createElement("tr");
    element.className = "new";
    const { id, customer, stage, total, where } = row.order;
    for (const text of [id, customer, stage, total, where]) {
      const cell = document.createElement("td");
      cell.textContent = cell.title = text;
      element.append(cell);
    }
    const cell = element.children[2] as HTMLElement;
    cell.className = "stage";
    cell.dataset.stage = stage;
    element.children[3]!.className = "number";
    this.drawn.set(name, { row, element });
    return element;
  }
}

// Makes elements the children of a parent without touching those that are in their
// place: whatever is put in anew flashes.
function place(parent: HTMLElement, elements: HTMLElement[]): void {
  const wanted = new Set<Element>(elements);
  for (const child of [...parent.children]) if (!wanted.has(child)) child.remove();
  elements.forEach((element, i) => {
    if (parent.children[i] !== element) parent.insertBefore(element, parent.children[i] ?? null);
  });
}
