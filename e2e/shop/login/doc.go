// Package login issues the shop's access tokens: short JWTs that its own order service
// and Watchroute take, signed by ES256. Watchroute has the public key only.
//
// It is a demonstration: whoever asks gets a token of any customer, of the warehouse, or
// of an operator, without a password. Everything else about the tokens is as it should be.
package login
