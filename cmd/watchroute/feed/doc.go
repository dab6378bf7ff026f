// Package feed makes orders and moves them through a shop's stages: PENDING,
// PROCESSING, SHIPPED, OUT_FOR_DELIVERY, DELIVERED, some of them CANCELLED.
//
// A feed is a sequence of steps, each one write at one moment. Generate invents
// them, Replay makes them of real purchases; both give the same steps for the
// same seed. Play writes them over the shop's generated gRPC stub: the steps of
// one order in their order, those of several orders at once.
package feed
