// Package examples starts each program of clients/examples by its run.sh, as a reader of
// its README does, and checks what a user sees: in Chromium, or in what it prints. Nodes
// are killed meanwhile, and at the end no process is left.
package examples
