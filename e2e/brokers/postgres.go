package brokers

import (
	"encoding/binary"
	"fmt"
	"os"
	"os/user"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"

	"github.com/watchroute/watchroute/e2e/process"
)

// Postgres starts a PostgreSQL whose write-ahead log is fit for logical replication.
// User is its superuser, with Password, and its database is test.
func Postgres(t testing.TB, o Options) *Broker {
	t.Helper()
	path, err := find("postgres", "/usr/lib/postgresql/*/bin")
	if err == nil {
		path, err = filepath.EvalSymlinks(path) // to the folder of its version
	}
	if err != nil {
		missing(t, "PostgreSQL", err)
	}
	b := place(t, "PostgreSQL", o)
	port := process.FreePorts(t, 1)[0]
	b.Addr = loopback(port)
	b.URL = fmt.Sprintf("postgres://%s:%s@%s/test?sslmode=disable", User, Password, b.Addr)
	b.tools = filepath.Dir(path)
	b.env = append(without(b.env, "PG"), "PGHOST=127.0.0.1", fmt.Sprintf("PGPORT=%d", port),
		"PGUSER="+User, "PGPASSWORD="+Password, "PGDATABASE=test")
	b.interrupt = syscall.SIGINT // by SIGTERM it would wait for its clients

	data := filepath.Join(b.Dir, "data")
	as := unprivileged(t, b.Dir, data)
	conf := b.write("postgresql.conf", append([]string{
		"listen_addresses = '127.0.0.1'",
		fmt.Sprintf("port = %d", port),
		"unix_socket_directories = ''",
		"wal_level = logical",
		"fsync = off",
		"log_line_prefix = '%m [%p] '",
	}, o.Settings...)...)
	if _, err := os.Stat(filepath.Join(data, "PG_VERSION")); err != nil {
		b.prepare(command{filepath.Join(b.tools, "initdb"), []string{"--pgdata", data, "--no-sync", "--encoding", "UTF8", "--locale", "C",
			"--username", User, "--pwfile", b.write("password", Password), "--auth", "scram-sha-256"}, as}, "")
		b.prepare(command{path, []string{"--single", "-D", data, "postgres"}, as}, "CREATE DATABASE test\n")
	}
	b.commands = []command{{path, []string{"-D", data, "-c", "config_file=" + conf}, as}}

	hello := binary.BigEndian.AppendUint32(nil, 3<<16) // the protocol's version
	hello = append(hello, "user\x00"+User+"\x00database\x00test\x00\x00"...)
	hello = append(binary.BigEndian.AppendUint32(nil, uint32(4+len(hello))), hello...)
	b.probe = func() error {
		answer, err := ask(b.Addr, hello, 1)
		if err == nil && answer[0] != 'R' { // it asks for the password
			err = fmt.Errorf("it answers %q", answer) // it recovers
		}
		return err
	}
	b.Start()
	return b
}

// unprivileged gives the user as whom PostgreSQL runs where the test is root, which
// PostgreSQL refuses to be: the machine's postgres, or else nobody. It makes the
// folder of the data that user's, and the way there open to it. Elsewhere it gives
// nil.
func unprivileged(t testing.TB, dir, data string) *syscall.Credential {
	t.Helper()
	if os.Getuid() != 0 {
		return nil
	}
	who, err := user.Lookup("postgres")
	if err != nil {
		who, err = user.Lookup("nobody")
	}
	if err != nil {
		process.Skip(t, "PostgreSQL does not run as root, and there is no other user: %v", err)
	}
	uid, _ := strconv.Atoi(who.Uid) // numbers, on Unix
	gid, _ := strconv.Atoi(who.Gid)
	if err := os.MkdirAll(data, 0o700); err != nil {
		t.Fatal(err)
	}
	if err := os.Chown(data, uid, gid); err != nil {
		t.Fatal(err)
	}
	for temp := filepath.Clean(os.TempDir()); dir != temp && strings.HasPrefix(dir, temp); dir = filepath.Dir(dir) {
		info, err := os.Stat(dir)
		if err == nil {
			err = os.Chmod(dir, info.Mode().Perm()|0o001)
		}
		if err != nil {
			t.Fatal(err)
		}
	}
	return &syscall.Credential{Uid: uint32(uid), Gid: uint32(gid)}
}
