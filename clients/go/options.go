package watchroute

// ReadOption is a setting of a Get or a List.
type ReadOption interface{ read(*readConfig) }

type readConfig struct {
	filter      string
	minRevision uint64
	projection  string
	pageSize    int32
	pageToken   string
}

// ScopeOption is a setting of a watch as well as of a Get or a List.
type ScopeOption interface {
	WatchOption
	ReadOption
}

type scopeOption struct {
	onWatch func(*watchConfig)
	onRead  func(*readConfig)
}

func (o scopeOption) watch(c *watchConfig) { o.onWatch(c) }
func (o scopeOption) read(c *readConfig)   { o.onRead(c) }

// Filter selects resources by a CEL expression, such as `data.customer_id == "42"`. Get
// ignores it.
func Filter(expression string) ScopeOption {
	return scopeOption{func(c *watchConfig) { c.request.Filter = expression }, func(c *readConfig) { c.filter = expression }}
}

// MinRevision asks not to be answered from before this revision: the one that a write
// returned.
func MinRevision(revision uint64) ScopeOption {
	return scopeOption{func(c *watchConfig) { c.request.MinRevision = revision }, func(c *readConfig) { c.minRevision = revision }}
}

// Projection asks for another shape of the value, one of those that the operator has given
// the collection: a JSON object.
func Projection(version string) ScopeOption {
	return scopeOption{func(c *watchConfig) { c.request.Projection = version }, func(c *readConfig) { c.projection = version }}
}
