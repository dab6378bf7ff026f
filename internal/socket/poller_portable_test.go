//go:build !linux || portable

package socket

const manyGoroutines = true
