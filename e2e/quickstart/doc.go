// Package quickstart follows docs/quickstart.md word for word, as a newcomer would: what
// stands in its blocks is written into files and typed into terminals, and a browser looks
// at the page. Only where the repository and the ports are is not as it stands there.
//
// A block is named behind its language: `ts main.ts` is a file, `sh` is typed into the
// first terminal, and `sh terminal 2` into one of its own, where it goes on.
package quickstart
