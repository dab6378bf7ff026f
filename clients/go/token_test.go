package watchroute_test

import (
	"os"
	"path/filepath"
	"testing"

	watchroute "github.com/watchroute/watchroute/clients/go"
)

func TestFileStore_KeepsTheLastToken(t *testing.T) {
	folder := t.TempDir()
	store := watchroute.FileStore{Folder: folder}
	load := func(key string) string {
		t.Helper()
		token, err := store.Load(t.Context(), key)
		if err != nil {
			t.Error(err)
		}
		return token
	}
	if got := load("a"); got != "" {
		t.Errorf("before the first: %q", got)
	}
	for _, token := range []string{"one", "two", ""} {
		if err := store.Save(t.Context(), "a", token); err != nil {
			t.Fatal(err)
		}
		if got := load("a"); got != token {
			t.Errorf("got %q, expected %q", got, token)
		}
	}
	elsewhere := filepath.Join(t.TempDir(), "b")
	if err := store.Save(t.Context(), elsewhere, "three"); err != nil || load(elsewhere) != "three" {
		t.Errorf("an absolute key: %v", err)
	}
	if err := store.Save(t.Context(), "missing/c", "four"); err == nil {
		t.Error("a folder that does not exist is no error")
	}
	if files, err := os.ReadDir(folder); err != nil || len(files) != 1 {
		t.Errorf("left behind: %v, %v", files, err)
	}
}
