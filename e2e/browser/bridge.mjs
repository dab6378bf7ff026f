// Drives Chromium for a Go test: one command a line on standard input, one answer
// a line on standard output.
//
//   {"id": 1, "do": "open", "page": "p", "url": "http://..."}
//   {"id": 2, "do": "eval", "page": "p", "expression": "1 + 1"}  -> {"id": 2, "value": 2}
//   {"id": 3, "do": "close", "page": "p"}
//   {"id": 4, "do": "offline", "page": "p", "offline": true}
//
// A page has a profile of its own, unless it is opened `beside` another one.
//
// What a page logs, and its errors, come as {"page": "p", "says": "..."}. The end
// of standard input ends the browser and the program.

import { chromium } from "playwright-core";
import { createInterface } from "node:readline";

const say = (message) => process.stdout.write(JSON.stringify(message) + "\n");
const browser = await chromium.launch({
  executablePath: process.argv[2],
  args: ["--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-background-networking",
    "--disable-component-update", "--disable-sync"],
});
const pages = {};
say({ version: browser.version() });

async function run(c) {
  switch (c.do) {
    case "open": {
      const page = (pages[c.page] = c.beside ? await pages[c.beside].context().newPage() : await (await browser.newContext({ ignoreHTTPSErrors: true })).newPage());
      page.on("console", (m) => say({ page: c.page, says: `${m.type()}: ${m.text()}` }));
      page.on("pageerror", (e) => say({ page: c.page, says: "error: " + e }));
      const answer = await page.goto(c.url, { timeout: 30000 });
      return answer.status();
    }
    case "eval":
      return (await pages[c.page].evaluate(c.expression)) ?? null;
    case "text":
      return await pages[c.page].innerText("body");
    case "offline":
      await pages[c.page].context().setOffline(c.offline);
      return null;
    case "close":
      await pages[c.page].close();
      delete pages[c.page];
      return null;
  }
  throw new Error("no such command: " + c.do);
}

for await (const line of createInterface({ input: process.stdin })) {
  const command = JSON.parse(line);
  run(command).then(
    (value) => say({ id: command.id, value }),
    (e) => say({ id: command.id, error: String(e) }),
  );
}
await browser.close();
