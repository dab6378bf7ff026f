// Package access says who calls, and who may see and do what.
//
// # What callers may do
//
// A [Control] has the rules. It follows the collections system.collections, system.keys,
// system.grants and system.revocations in the log, which win over the configuration, and
// implements hub.Access: of each watch, list and get it gives the scope, of which the hub
// asks at every change; and of each write a guard, which the log's sequencer asks with the
// value that is there. When something changes that may concern open watches it has the
// hub ask again, within milliseconds, from a goroutine of its own: the log's sequencer,
// which tells it of changes, waits for nothing here. Audit records are written from memory
// by another one; what does not fit is counted and said.
//
// Order: a call that begins after the write of a rule, a key or a revocation was
// acknowledged is decided by it. An open watch hands out nothing more that the change
// forbids once its Next was called after that.
//
// Lifetime: a Control is made before the hub, which it is then attached to, and closed
// after the hub and the servers.
//
// # Who calls
//
// An [Authenticator] makes a [Principal] of the [Credential] that a call presents: a JWT
// of a configured issuer, an API key, or the certificate of a mutual TLS connection. It
// does not say what the principal may do; a call without a credential has an anonymous
// one, and whether that is enough is decided later.
//
// What is promised of JWTs: a token counts only if an issuer of the configuration signed
// it, with a key and an algorithm that the configuration, never the token, has chosen; if
// it is meant for us, has a subject, and expires. The token's `kid` is only compared with
// those of the issuer's keys, and nothing that a token says is ever fetched.
//
// Keys that are fetched are fetched anew every minute, and when a token names one that is
// unknown, at most once in 10 s (twice at once). So a new key is honoured at once,
// and one that left the set for at most a minute; while the issuer cannot be reached,
// what was fetched last stays in force. Verified tokens are remembered until they expire,
// but only as long as the issuer's keys are those they were verified with.
//
// API keys are looked up at every call, so changing or deleting one has effect at once;
// only that a secret fits a hash is remembered. The slow hash runs for at most half as
// many callers at a time as there are processors; the others wait. There is no hash for a
// key id that does not exist: the time tells strangers which ids there are, which are no
// secret, and in turn nobody makes us work who does not know one. Somebody who does can
// make others wait who have not called before: limit failed attempts by address in front.
//
// Errors are *resource.Error: CredentialInvalid, CredentialExpired, and for a context that
// ended Cancelled or DeadlineExceeded. CredentialInvalid with RetryAfter says that the
// issuer's keys could not be fetched yet. Neither an error nor a line of the log ever has
// a part of a credential in it, but for the id of an API key that exists.
//
// Blocking: Authenticate waits, if at all, for the fetch of a key or for its turn to hash,
// and its context ends that. NewAuthenticator reads files but does not wait for the
// network. Lifetime: Close stops what fetches keys, and waits for it. A Principal is
// shared by all calls with the same credential and never changes.
//
// To test against it, sign tokens with a key of your own and give the issuer its
// PublicKeyFile; time is package time's alone, so testing/synctest works, and
// Config.Transport stands for the network.
package access
