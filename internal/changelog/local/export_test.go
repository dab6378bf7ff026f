package local

// WithoutSync answers writers before the disk has synced.
func WithoutSync(c Config) Config {
	c.noSync = true
	return c
}
