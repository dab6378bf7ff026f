// Package archtest holds no code: its test checks which package may import
// which. The rules are one table, each with its reason; a new folder that must
// stay apart from another gets a line there.
package archtest
