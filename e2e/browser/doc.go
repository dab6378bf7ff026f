// Package browser drives a real Chromium, Debian's, for Go tests, by way of
// playwright-core in a Node process of its own, and bundles the pages in src/ with
// esbuild.
//
// Lifetime: the browser is closed when the test that started it ends. What a page
// logs goes to the log of the test.
package browser
