// Package clientpage runs the TypeScript client where it belongs, in tabs of a real
// Chromium, and checks what it tells against what was written, event by event, as package
// conformance does with processes: while the browser is offline, the server is killed, and
// a proxy holds back what streams.
package clientpage
