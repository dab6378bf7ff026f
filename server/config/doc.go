// Package config is the settings of a node: one struct whose fields are at once
// the flags of the command line, the keys of watchroute.yaml and the environment
// variables.
//
// In rising order the sources are: the defaults, the file, the environment, the
// flags. `--retention-age 2h`, `WATCHROUTE_RETENTION_AGE=2h` and `retention-age:
// 2h` (or `retention_age`) in the file are the same. A name that no setting has
// is an error that names the nearest one.
//
// Nothing here is kept between calls, starts anything or writes anything.
package config
