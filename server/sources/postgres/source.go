package postgres

import (
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"net/url"
	"regexp"
	"slices"
	"strconv"
	"strings"

	"github.com/jackc/pgx/v5"

	watchroutev1 "github.com/watchroute/watchroute/gen/go/watchroute/v1"
	"github.com/watchroute/watchroute/internal/resource"
	"github.com/watchroute/watchroute/server/sources"
)

const (
	defaultPort   = 5432
	defaultSchema = "public"
	// maxName is how long a name may be in PostgreSQL, in bytes.
	maxName = 63
)

// Source reads tables of one database.
type Source struct {
	spec              *watchroutev1.PostgresSource
	id                string
	host, database    string
	port              uint16
	tables            []tableName // none: all of the publication
	publication, slot string
}

// tableName is the name of a table.
type tableName struct{ schema, name string }

func (n tableName) String() string { return n.schema + "." + n.name }

// sql gives the name as SQL has it.
func (n tableName) sql() string { return pgx.Identifier{n.schema, n.name}.Sanitize() }

// New is the connector of `postgres`.
func New(source *watchroutev1.Source) (sources.Source, error) {
	spec := source.GetPostgres()
	s := &Source{spec: spec, id: source.GetSourceId(), publication: spec.GetPublication(), slot: spec.GetSlot()}
	if err := s.address(spec.GetUrl()); err != nil {
		return nil, err.In("postgres.url")
	}
	if spec.GetLogin() == nil {
		return nil, resource.Errorf(resource.InvalidField, "who connects is missing: a role with REPLICATION that may read the tables").In("postgres.login")
	}
	if err := sources.CheckLogin("postgres.login", spec.GetLogin()); err != nil {
		return nil, err
	}
	if err := sources.CheckTLS("postgres.tls", spec.GetTls()); err != nil {
		return nil, err
	}
	for i, text := range spec.GetTables() {
		name, ok := parseTable(text)
		if !ok || slices.Contains(s.tables, name) {
			return nil, resource.Errorf(resource.InvalidField, "%q is no table, or is there twice; TABLE or SCHEMA.TABLE is expected, as the catalog has it", text).In(fmt.Sprintf("postgres.tables[%d]", i))
		}
		s.tables = append(s.tables, name)
	}
	if len(s.tables) == 0 && s.publication == "" {
		return nil, resource.Errorf(resource.InvalidField, "what is read is missing: `tables`, or a `publication` that has some").In("postgres.tables")
	}
	if len(s.publication) > maxName || strings.ContainsRune(s.publication, 0) {
		return nil, resource.Errorf(resource.InvalidField, "a name has at most %d bytes", maxName).In("postgres.publication")
	}
	if s.slot != "" && !slotName.MatchString(s.slot) {
		return nil, resource.Errorf(resource.InvalidField, "the name of a slot has lower-case letters, digits and underscores, %d at most", maxName).In("postgres.slot")
	}
	if s.publication == "" {
		s.publication = ownName(s.id)
	}
	if s.slot == "" {
		s.slot = ownName(s.id)
	}
	return s, nil
}

var slotName = regexp.MustCompile(`^[a-z0-9_]{1,63}$`)

// ownName gives watchroute_ID, where that is the name of a slot, and otherwise what it
// is nearest to, and different for each id.
func ownName(id string) string {
	if name := "watchroute_" + id; slotName.MatchString(name) {
		return name
	}
	plain := strings.Map(func(r rune) rune {
		if r >= 'a' && r <= 'z' || r >= '0' && r <= '9' {
			return r
		}
		return '_'
	}, strings.ToLower(id))
	sum := sha256.Sum256([]byte(id))
	return "watchroute_" + plain[:min(len(plain), 40)] + "_" + hex.EncodeToString(sum[:4])
}

// address reads postgres://HOST:PORT/DATABASE.
func (s *Source) address(text string) *resource.Error {
	u, err := url.Parse(text)
	switch {
	case err != nil || u.Scheme != "postgres" && u.Scheme != "postgresql" || u.Hostname() == "":
		return resource.Errorf(resource.InvalidField, "postgres://HOST:PORT/DATABASE is expected")
	case u.User != nil:
		return resource.Errorf(resource.InvalidField, "the name and the password are given in `login`, not in the URL")
	case u.RawQuery != "" || u.Fragment != "":
		return resource.Errorf(resource.InvalidField, "the URL has no parameters; TLS is asked for in `tls`")
	}
	s.host, s.port, s.database = u.Hostname(), defaultPort, strings.TrimPrefix(u.Path, "/")
	if s.database == "" || strings.ContainsAny(s.database, "/\x00") {
		return resource.Errorf(resource.InvalidField, "the database is missing, as in postgres://HOST:PORT/DATABASE")
	}
	if port := u.Port(); port != "" {
		n, err := strconv.ParseUint(port, 10, 16)
		if err != nil || n == 0 {
			return resource.Errorf(resource.InvalidField, "%s is no port", port)
		}
		s.port = uint16(n)
	}
	return nil
}

// parseTable reads TABLE or SCHEMA.TABLE.
func parseTable(text string) (tableName, bool) {
	schema, name, ok := strings.Cut(text, ".")
	if !ok {
		schema, name = defaultSchema, text
	}
	valid := func(s string) bool { return s != "" && len(s) <= maxName && !strings.ContainsAny(s, ".\x00") }
	return tableName{schema, name}, valid(schema) && valid(name)
}

// wants says whether a table is read.
func (s *Source) wants(schema, name string) bool {
	return len(s.tables) == 0 || slices.Contains(s.tables, tableName{schema, name})
}

// quote gives an identifier of SQL.
func quote(name string) string { return pgx.Identifier{name}.Sanitize() }

// literal gives a string of SQL.
func literal(text string) string { return "'" + strings.ReplaceAll(text, "'", "''") + "'" }

var _ sources.Connector = New
