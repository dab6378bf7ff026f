package config

import (
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/alecthomas/kong"

	"github.com/watchroute/watchroute/internal/access"
	"github.com/watchroute/watchroute/internal/hub"
)

// DefaultData is the data folder where none is given.
const DefaultData = "./watchroute-data"

// ExampleContract, among Contracts, is not a file but the shop contract that is
// compiled in.
const ExampleContract = "shop"

// Config is the settings of a node. Default gives the defaults, which are those
// of the tags.
type Config struct {
	// Data is the folder that keeps the log. Empty: DefaultData.
	Data string `name:"data" env:"WATCHROUTE_DATA" placeholder:"FOLDER" help:"Folder that keeps the data. Default: ./watchroute-data; of the demo: a temporary one, removed at the end."`

	// HTTP and GRPC are listen addresses, HOST:PORT; port 0 takes a free one.
	HTTP string `name:"http" env:"WATCHROUTE_HTTP" default:"127.0.0.1:8080" placeholder:"HOST:PORT" help:"Address for HTTP: REST, SSE, WebSocket, gRPC-Web, health and metrics. Default: ${default}."`
	GRPC string `name:"grpc" env:"WATCHROUTE_GRPC" default:"127.0.0.1:9090" placeholder:"HOST:PORT" help:"Address for native gRPC. Default: ${default}."`
	// OnePort serves gRPC at HTTP's address too, and GRPC is not used.
	OnePort bool `name:"one-port" env:"WATCHROUTE_ONE_PORT" help:"Serve gRPC on the address for HTTP, and not on its own."`
	// Access is a file, or in watchroute.yaml a mapping, that ReadAccess reads. Empty:
	// nobody is asked for credentials.
	Access string `name:"access" env:"WATCHROUTE_ACCESS" placeholder:"FILE" help:"Ask for credentials, and let rules decide who may do what: a YAML file with issuers, keys, certificates and collections; in watchroute.yaml it may stand under 'access'. Default: everybody may do everything."`
	// Sources is a file, or in watchroute.yaml a list, that ReadSources reads. Empty: only
	// those of system.sources.
	Sources string `name:"sources" env:"WATCHROUTE_SOURCES" placeholder:"FILE" help:"Take events from brokers: a YAML file with a list of sources; in watchroute.yaml they may stand under 'sources'. Default: those of the collection system.sources only."`
	// Insecure allows listeners that other machines can reach without TLS or without
	// credentials.
	Insecure bool `name:"insecure" env:"WATCHROUTE_INSECURE" help:"Allow addresses that other machines can reach, although there is no TLS or no credentials are checked."`
	// TLSCert and TLSKey are PEM files, both or none: with them every listener but
	// DebugAddress speaks TLS. They are read again when they change.
	TLSCert string `name:"tls-cert" env:"WATCHROUTE_TLS_CERT" placeholder:"FILE" help:"Speak TLS with this certificate: PEM, with its chain. Default: no TLS."`
	TLSKey  string `name:"tls-key" env:"WATCHROUTE_TLS_KEY" placeholder:"FILE" help:"The certificate's key, PEM."`
	// TLSClientCA is a PEM file of authorities: clients are asked for a certificate,
	// and one that is given must be of theirs.
	TLSClientCA string `name:"tls-client-ca" env:"WATCHROUTE_TLS_CLIENT_CA" placeholder:"FILE" help:"Ask clients for a certificate, and take only those of these authorities (PEM). Default: they are not asked."`
	// ACMEDomains are the node's names, for which it gets certificates itself, instead of
	// TLSCert, from ACMEDirectory, whose terms are taken as agreed to.
	ACMEDomains []string `name:"acme-domains" env:"WATCHROUTE_ACME_DOMAINS" placeholder:"NAME" help:"Speak TLS with certificates for these names from an ACME directory, to whose terms you agree by this. Port 443 of each must lead to the address for HTTP. Default: none."`
	ACMEEmail   string   `name:"acme-email" env:"WATCHROUTE_ACME_EMAIL" placeholder:"ADDRESS" help:"Whom the directory may write to. Default: nobody."`
	// ACMEDirectory is a URL. Empty: Let's Encrypt's.
	ACMEDirectory string `name:"acme-directory" env:"WATCHROUTE_ACME_DIRECTORY" placeholder:"URL" help:"URL of the ACME directory. Default: Let's Encrypt's."`
	// ACMECache is the folder of keys and certificates. Empty: acme, in Data.
	ACMECache string `name:"acme-cache" env:"WATCHROUTE_ACME_CACHE" placeholder:"FOLDER" help:"Folder that keeps the keys and certificates of ACME. Default: acme, in the data folder."`
	// ACMECA is a PEM file of authorities. Empty: the system's.
	ACMECA string `name:"acme-ca" env:"WATCHROUTE_ACME_CA" placeholder:"FILE" help:"Authorities (PEM) by which the directory itself is verified. Default: the system's."`
	// AllowedOrigins are the web origins whose pages may call over HTTP, such as
	// https://shop.example or https://*.shop.example; `*` is any.
	AllowedOrigins []string `name:"allowed-origins" env:"WATCHROUTE_ALLOWED_ORIGINS" placeholder:"ORIGIN" help:"Web origins whose pages may call, such as https://shop.example, or * for any. Default: none but the node's own."`

	// Contracts are files with descriptor sets, made by `buf build -o FILE`, or
	// ExampleContract.
	Contracts []string `name:"contracts" env:"WATCHROUTE_CONTRACTS" placeholder:"FILE" help:"Contracts to serve: descriptor sets, made by 'buf build -o FILE', or 'shop' for the example that is built in."`
	// AutoCreate lets a collection without a schema come into being with its first
	// write. nil: exactly where every listener is on loopback.
	AutoCreate *bool `name:"auto-create" env:"WATCHROUTE_AUTO_CREATE" negatable:"" help:"Let a collection without a schema come into being with its first write. Default: only while every address is on loopback."`

	// RetentionAge, RetentionMinAge, RetentionBytes and RetentionTombstones say how
	// long superseded changes and deletions are kept: changelog.Retention.
	RetentionAge        time.Duration `name:"retention-age" env:"WATCHROUTE_RETENTION_AGE" default:"1h" placeholder:"DURATION" help:"Keep superseded changes this long. Default: ${default}."`
	RetentionMinAge     time.Duration `name:"retention-min-age" env:"WATCHROUTE_RETENTION_MIN_AGE" default:"1m" placeholder:"DURATION" help:"Keep them at least this long, whatever their size. Default: ${default}."`
	RetentionBytes      Bytes         `name:"retention-bytes" env:"WATCHROUTE_RETENTION_BYTES" default:"1GiB" placeholder:"BYTES" help:"Keep at most about this much of superseded changes, for each collection. Default: ${default}."`
	RetentionTombstones time.Duration `name:"retention-tombstones" env:"WATCHROUTE_RETENTION_TOMBSTONES" default:"24h" placeholder:"DURATION" help:"Remember deletions this long, at least as long as retention-age. Default: ${default}."`
	RetentionRequestIDs time.Duration `name:"retention-request-ids" env:"WATCHROUTE_RETENTION_REQUEST_IDS" default:"1h" placeholder:"DURATION" help:"Remember request ids, and ids of events, this long: so long a repeat changes nothing. Default: ${default}."`

	// CommitDelay is the most time that a write waits for others, where many come, to
	// share an fsync with them; 0: none waits.
	CommitDelay time.Duration `name:"commit-delay" env:"WATCHROUTE_COMMIT_DELAY" default:"5ms" placeholder:"DURATION" help:"Where many writes come, let them wait this long at most to share an fsync; 0 for never. Default: ${default}."`

	// MemoryLimit bounds what is kept in memory for watches: newest changes, frames
	// and snapshots.
	MemoryLimit Bytes `name:"memory-limit" env:"WATCHROUTE_MEMORY_LIMIT" default:"128MiB" placeholder:"BYTES" help:"Memory for the newest changes, encoded, and for snapshots that newcomers share. Default: ${default}."`
	// Limits of what one caller may take; 0: none. See access.Limits and hub.Config.
	MaxWatches          int           `name:"max-watches" env:"WATCHROUTE_MAX_WATCHES" default:"0" placeholder:"NUMBER" help:"The most watches that may be open; 0 for any number. Default: ${default}."`
	MaxTenantWatches    int           `name:"max-tenant-watches" env:"WATCHROUTE_MAX_TENANT_WATCHES" default:"0" placeholder:"NUMBER" help:"The most watches of one tenant; 0 for any number. Default: ${default}."`
	MaxPrincipalWatches int           `name:"max-principal-watches" env:"WATCHROUTE_MAX_PRINCIPAL_WATCHES" default:"-1" placeholder:"NUMBER" help:"The most watches of one principal, or of one address without credentials; 0 for any number. Default: 1000 where credentials are checked, otherwise 0."`
	CallRate            float64       `name:"call-rate" env:"WATCHROUTE_CALL_RATE" default:"-1" placeholder:"NUMBER" help:"Calls that one principal, or one address without credentials, may begin in a second, ten times as many at once; 0 for any number. Default: 200 where credentials are checked, otherwise 0."`
	FilterTime          time.Duration `name:"filter-time" env:"WATCHROUTE_FILTER_TIME" default:"-1s" placeholder:"DURATION" help:"Time in a second that dear filters of one principal may take; 0s for any. Default: 100ms where credentials are checked, otherwise 0s."`
	FailureRate         float64       `name:"failure-rate" env:"WATCHROUTE_FAILURE_RATE" default:"5" placeholder:"NUMBER" help:"Credentials that do not count that one address may present in a second, ten times as many at once; 0 for any number. Default: ${default}."`
	ConnectionRate      float64       `name:"connection-rate" env:"WATCHROUTE_CONNECTION_RATE" default:"-1" placeholder:"NUMBER" help:"Connections that one address may open in a second, ten times as many at once; more are closed; 0 for any number. Default: 50 where credentials are checked, otherwise 0."`
	WatchEventRate      float64       `name:"watch-event-rate" env:"WATCHROUTE_WATCH_EVENT_RATE" default:"0" placeholder:"NUMBER" help:"Events in a second that one watch is sent at most; it waits, and changes are folded; 0 for any number. Default: ${default}."`
	WatchByteRate       Bytes         `name:"watch-byte-rate" env:"WATCHROUTE_WATCH_BYTE_RATE" default:"0B" placeholder:"BYTES" help:"Bytes in a second that one watch is sent at most; 0B for any number. Default: ${default}."`
	MaxWatchAge         time.Duration `name:"max-watch-age" env:"WATCHROUTE_MAX_WATCH_AGE" default:"0s" placeholder:"DURATION" help:"Drain a watch that is this old, to a tenth more or less: its client comes back; 0s for never. Default: ${default}."`
	// AuditLog is a file to which audit records are appended, as JSON; `log`: they go where
	// the log goes; `off`: there are none. Empty: log where credentials are checked, else off.
	AuditLog string `name:"audit-log" env:"WATCHROUTE_AUDIT_LOG" placeholder:"FILE" help:"Append a JSON line for each refusal, each watch's begin and end and each change of access to this file; 'log' for the log, 'off' for none. Default: log where credentials are checked, otherwise off."`
	// Heartbeat is the most time without a message on a watch that asks for no
	// other.
	Heartbeat time.Duration `name:"heartbeat" env:"WATCHROUTE_HEARTBEAT" default:"15s" placeholder:"DURATION" help:"The most time without a message on a watch that asks for no other. Default: ${default}."`
	// MaxValueBytes bounds the stored form of one value, MaxRequestBytes one
	// request.
	MaxValueBytes   Bytes `name:"max-value-bytes" env:"WATCHROUTE_MAX_VALUE_BYTES" default:"1MiB" placeholder:"BYTES" help:"The largest value. Default: ${default}."`
	MaxRequestBytes Bytes `name:"max-request-bytes" env:"WATCHROUTE_MAX_REQUEST_BYTES" default:"8MiB" placeholder:"BYTES" help:"The largest request. Default: ${default}."`

	// DrainTime bounds the whole shutdown. DrainSpread is the time over which
	// clients are told to come back.
	DrainTime   time.Duration `name:"drain-time" env:"WATCHROUTE_DRAIN_TIME" default:"10s" placeholder:"DURATION" help:"The most time that shutting down takes. Default: ${default}."`
	DrainSpread time.Duration `name:"drain-spread" env:"WATCHROUTE_DRAIN_SPREAD" default:"5s" placeholder:"DURATION" help:"When shutting down, ask clients to come back spread over this time. Default: ${default}."`

	// DebugAddress is where net/http/pprof is served; empty: nowhere.
	DebugAddress string `name:"debug-address" env:"WATCHROUTE_DEBUG_ADDRESS" placeholder:"HOST:PORT" help:"Address for profiles (net/http/pprof), on loopback only. Default: none."`

	LogLevel  string `name:"log-level" env:"WATCHROUTE_LOG_LEVEL" default:"info" enum:"debug,info,warn,error" placeholder:"LEVEL" help:"debug, info, warn or error. Default: ${default}."`
	LogFormat string `name:"log-format" env:"WATCHROUTE_LOG_FORMAT" default:"text" enum:"text,json" placeholder:"FORMAT" help:"text or json. Default: ${default}."`
}

// Default gives the defaults. It reads no environment.
func Default() Config {
	var c Config
	err := kong.ApplyDefaults(&c, kong.PostBuild(func(k *kong.Kong) error {
		for _, f := range k.Model.Flags {
			f.Tag.Envs = nil
		}
		return nil
	}))
	if err != nil {
		panic("config: a default does not parse: " + err.Error())
	}
	return c
}

// Validate says everything that cannot be used, one line for each setting. kong
// calls it on a command that embeds the Config.
func (c *Config) Validate() error {
	var errs []error
	bad := func(name, format string, args ...any) {
		errs = append(errs, fmt.Errorf("%s: %s", name, fmt.Sprintf(format, args...)))
	}
	for _, l := range c.listeners() {
		switch host, err := checkAddress(l.address); {
		case err != nil:
			bad(l.name, "%v", err)
		case c.Insecure || loopback(host):
		case c.Access == "":
			bad(l.name, "other machines can reach %s, and no credentials are checked: whoever reaches it may read and write everything. "+
				"Set access, or listen on 127.0.0.1, or accept that with --insecure (WATCHROUTE_INSECURE=true, insecure: true)", l.address)
		case !c.TLS():
			bad(l.name, "other machines can reach %s, and credentials would go there in the clear. "+
				"Set tls-cert and tls-key, or acme-domains, or listen on 127.0.0.1 behind a proxy that speaks TLS, or accept that with --insecure (WATCHROUTE_INSECURE=true, insecure: true)", l.address)
		}
	}
	if _, err := c.ReadAccess(); err != nil {
		bad("access", "%v", err)
	}
	if _, err := c.ReadSources(); err != nil {
		bad("sources", "%v", err)
	}
	c.validateTLS(bad)
	for _, origin := range c.AllowedOrigins {
		if err := checkOrigin(origin); err != nil {
			bad("allowed-origins", "%v", err)
		}
	}
	for name, d := range map[string]time.Duration{"retention-age": c.RetentionAge, "retention-min-age": c.RetentionMinAge,
		"retention-tombstones": c.RetentionTombstones, "retention-request-ids": c.RetentionRequestIDs, "drain-time": c.DrainTime, "drain-spread": c.DrainSpread} {
		if d <= 0 {
			bad(name, "%v is not more than 0", d)
		}
	}
	for name, n := range map[string]Bytes{"retention-bytes": c.RetentionBytes, "memory-limit": c.MemoryLimit,
		"max-value-bytes": c.MaxValueBytes, "max-request-bytes": c.MaxRequestBytes} {
		if n <= 0 {
			bad(name, "%v is not more than 0", n)
		}
	}
	for name, n := range map[string]float64{"max-watches": float64(c.MaxWatches), "max-tenant-watches": float64(c.MaxTenantWatches), "failure-rate": c.FailureRate,
		"watch-event-rate": c.WatchEventRate, "watch-byte-rate": float64(c.WatchByteRate), "max-watch-age": float64(c.MaxWatchAge)} {
		if n < 0 {
			bad(name, "%v is less than 0", n)
		}
	}
	if c.MaxWatchAge > 0 && c.MaxWatchAge < time.Second {
		bad("max-watch-age", "%v is less than 1s", c.MaxWatchAge)
	}
	if c.CommitDelay < 0 || c.CommitDelay > time.Second {
		bad("commit-delay", "%v is not between 0 and 1s", c.CommitDelay)
	}
	if c.RetentionMinAge > c.RetentionAge {
		bad("retention-min-age", "%v is more than retention-age, %v", c.RetentionMinAge, c.RetentionAge)
	}
	if c.RetentionTombstones < c.RetentionAge {
		bad("retention-tombstones", "%v is less than retention-age, %v", c.RetentionTombstones, c.RetentionAge)
	}
	if c.Heartbeat < hub.MinHeartbeat || c.Heartbeat > hub.MaxHeartbeat {
		bad("heartbeat", "%v is not between %v and %v", c.Heartbeat, hub.MinHeartbeat, hub.MaxHeartbeat)
	}
	if c.MaxRequestBytes < c.MaxValueBytes {
		bad("max-request-bytes", "%v is less than max-value-bytes, %v", c.MaxRequestBytes, c.MaxValueBytes)
	}
	if c.DebugAddress != "" {
		switch host, err := checkAddress(c.DebugAddress); {
		case err != nil:
			bad("debug-address", "%v", err)
		case !loopback(host):
			bad("debug-address", "other machines could reach %s, and profiles show what the node keeps in memory; listen on 127.0.0.1", c.DebugAddress)
		}
	}
	if _, err := c.level(); err != nil {
		bad("log-level", "%v", err)
	}
	if c.LogFormat != "text" && c.LogFormat != "json" {
		bad("log-format", "%q is neither text nor json", c.LogFormat)
	}
	// Two of the checks walk a map.
	sortErrors(errs)
	return errors.Join(errs...)
}

// Logger makes the logger that the settings describe; of level info and text
// where they are not valid.
func (c *Config) Logger(w io.Writer) *slog.Logger {
	level, _ := c.level()
	options := &slog.HandlerOptions{Level: level}
	if c.LogFormat == "json" {
		return slog.New(slog.NewJSONHandler(w, options))
	}
	return slog.New(slog.NewTextHandler(w, options))
}

func (c *Config) level() (l slog.Level, err error) {
	if err := l.UnmarshalText([]byte(c.LogLevel)); err != nil {
		return slog.LevelInfo, fmt.Errorf("%q is none of debug, info, warn and error", c.LogLevel)
	}
	return l, nil
}

// checked gives a limit, or what it is where nobody has set it: something only where
// credentials are checked.
func checked[T int | float64 | time.Duration](c *Config, set, unset T) T {
	switch {
	case set >= 0:
		return set
	case c.Access == "":
		return 0
	}
	return unset
}

// Limits gives the limits of callers.
func (c *Config) Limits() access.Limits {
	return access.Limits{Watches: c.MaxWatches, TenantWatches: c.MaxTenantWatches, PrincipalWatches: checked(c, c.MaxPrincipalWatches, 1000),
		Calls: checked(c, c.CallRate, 200), Failures: c.FailureRate, FilterTime: checked(c, c.FilterTime, 100*time.Millisecond)}
}

// ConnectionsPerSecond gives how many connections an address may open in a second; 0: any
// number.
func (c *Config) ConnectionsPerSecond() float64 { return checked(c, c.ConnectionRate, 50) }

// AutoCreates says whether collections come into being with their first write.
func (c *Config) AutoCreates() bool {
	if c.AutoCreate != nil {
		return *c.AutoCreate
	}
	return !c.Exposed()
}

// Exposed says whether other machines can reach a listener.
func (c *Config) Exposed() bool {
	return slices.ContainsFunc(c.listeners(), func(l listener) bool {
		host, err := checkAddress(l.address)
		return err != nil || !loopback(host)
	})
}

type listener struct{ name, address string }

func (c *Config) listeners() []listener {
	if c.OnePort {
		return []listener{{"http", c.HTTP}}
	}
	return []listener{{"http", c.HTTP}, {"grpc", c.GRPC}}
}

func checkAddress(address string) (host string, err error) {
	host, port, err := net.SplitHostPort(address)
	if err != nil {
		return "", fmt.Errorf("%q is not HOST:PORT, such as 127.0.0.1:8080", address)
	}
	if n, err := strconv.Atoi(port); err != nil || n < 0 || n > 65535 {
		return "", fmt.Errorf("the port of %q is not a number from 0 to 65535", address)
	}
	return host, nil
}

// loopback says whether only this machine reaches a host. A name other than
// localhost is not looked up: what it means may change.
func loopback(host string) bool {
	return host == "localhost" || net.ParseIP(host).IsLoopback()
}

func checkOrigin(origin string) error {
	if origin == "*" {
		return nil
	}
	u, err := url.Parse(strings.Replace(origin, "*", "any", 1))
	if err != nil || u.Host == "" || u.Scheme == "" || u.String() != u.Scheme+"://"+u.Host || strings.ContainsAny(u.Host, "*@") {
		return fmt.Errorf("%q is not an origin, such as https://shop.example or https://*.shop.example, nor *", origin)
	}
	return nil
}
