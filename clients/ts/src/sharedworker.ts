// The script of the SharedWorker that sharedWebSocket asks for.
import type { WebSocketConstructor } from "./session.js";
import { Sharing } from "./sharing.js";

const sharing = new Sharing(WebSocket as unknown as WebSocketConstructor, navigator.locks);
addEventListener("connect", (event) => sharing.connect((event as MessageEvent).ports[0]!));
