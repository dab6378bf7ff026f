// Package brokers runs real brokers for tests: Kafka, RabbitMQ, Redis, NATS with
// JetStream, PostgreSQL, and Mosquitto for MQTT.
//
// install.sh beside this file brings what a machine lacks; nothing is downloaded
// while tests run. Where a broker is not there, its constructor skips the test and
// says so.
//
// Each broker is one node on loopback, on free ports of its own, with everything
// that it writes in one folder: what the machine itself runs or has configured is
// neither used nor touched, and any number of brokers run side by side.
//
// Lifetime: a constructor returns when the broker serves. A broker keeps its ports
// and its folder for as long as the test runs, so that Stop or Kill, and Start, are
// a restart. When the test ends, what still runs is killed; when the test's process
// dies, by its time limit or otherwise, the kernel kills the brokers (on Linux).
// Only processes that this package started are ever signalled.
//
// Blocking: Start waits until the broker serves, a minute at most; Stop until it has
// ended, half a minute at most; Kill until it and its children are gone. The methods
// may be called from any goroutine, but a Start that fails ends the test, and so
// belongs in the test's own.
//
// What has reached a broker's files survives Kill. Nothing here waits for disks:
// fsync is off where a broker can do without it, since a killed process loses
// nothing that the kernel has.
package brokers
