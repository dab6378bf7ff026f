// One half of the page: what a Picture holds, drawn at most once a frame.
import { OrderStatus, type Money, type Order } from "../../../gen/ts/shop/v1/orders_pb.js";
import type { Mood, Say } from "./feed.js";
import type { Picture, Row } from "./picture.js";

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

  /** Gives the button what it does. */
  cuts(cut: () => void): void {
    this.find(".token button").addEventListener("click", cut);
  }

  draw(p: Picture): void {
    const { rows, revision, token } = p.held;
    const numbers: Record<string, string> = {
      orders: String(rows.size), events: String(p.events), revision: String(revision),
      reconnects: String(p.reconnects), snapshots: String(p.snapshots),
    };
    for (const dd of this.root.querySelectorAll<HTMLElement>("dd")) dd.textContent = numbers[dd.dataset.of!] ?? "";
    const code = this.find(".token code");
    code.textContent = code.title = token;

    const counts = new Map<string, number>();
    for (const { order } of rows.values()) counts.set(stage(order), (counts.get(stage(order)) ?? 0) + 1);
    for (const [name, bar] of this.bars) {
      bar.style.flexGrow = String(counts.get(name) ?? 0);
      bar.title = `${name}: ${counts.get(name) ?? 0}`;
    }

    const newest = [...rows].sort(([, a], [, b]) => (a.revision < b.revision ? 1 : -1)).slice(0, mostRows);
    for (const name of this.drawn.keys()) if (!newest.some(([n]) => n === name)) this.drawn.delete(name);
    place(this.find("tbody"), newest.map(([name, row]) => this.row(name, row)));
  }

  private row(name: string, row: Row): HTMLElement {
    const before = this.drawn.get(name);
    if (before?.row.revision === row.revision) return before.element;
    const element = document.createElement("tr");
    element.className = "new";
    const { orderId, customerId, total, location } = row.order;
    for (const text of [orderId, customerId, stage(row.order), money(total), location?.description ?? ""]) {
      const cell = document.createElement("td");
      cell.textContent = cell.title = text;
      element.append(cell);
    }
    const cell = element.children[2] as HTMLElement;
    cell.className = "stage";
    cell.dataset.stage = stage(row.order);
    element.children[3]!.className = "number";
    this.drawn.set(name, { row, element });
    return element;
  }
}

function stage(order: Order): string {
  return OrderStatus[order.status] ?? "";
}

function money(m: Money | undefined): string {
  return m ? `${m.units}.${String(Math.round(m.nanos / 1e7)).padStart(2, "0")} ${m.currencyCode}`.trim() : "";
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
