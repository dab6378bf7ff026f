// Package certificate is what a node shows to clients that speak TLS, and what it
// knows their certificates by: files that are read again when they change, or
// certificates that it gets, and renews, from an ACME directory (RFC 8555).
//
// Files are looked at with a handshake, each 2 s at most; nothing watches them
// meanwhile. What was read together holds together: a handshake sees the old pair and
// authorities, or the new ones. Files that cannot be used leave the old ones in force,
// and are logged once for each thing that is wrong with them. Connections that are
// open stay as they are.
//
// Certificates of ACME are proven by TLS-ALPN-01: the directory connects to port 443
// of the domain, which must lead to a listener with the settings that TLS gives. They
// are kept in a folder, with the account's key, and renewed when a third of their life is
// left, or 30 days.
//
// Blocking: a handshake waits for nobody who reads files, nor for the disk, but where it
// is the one that looks. With ACME the first handshake for a domain waits until there is
// a certificate; Obtain makes that begin earlier.
//
// Lifetime: New starts nothing. Close ends what Obtain started and what ACME is doing,
// and waits for Obtain.
//
// All methods may be called at once. To test against it, make certificates with
// certificatetest and give it a clock; e2e has a real ACME server.
package certificate
