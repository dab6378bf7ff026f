// Command dependencies reviews what this repository builds upon, against what
// docs/dependencies.md says of it. `make lint` runs it.
//
//	go run ./internal/dependencies review
//	go run ./internal/dependencies vulnerabilities GOVULNCHECK [FOLDER ...]
//
// review fails where a module, its licence or an override is not recorded, where
// a record has nothing left to describe, and where a version is retracted or a
// module deprecated. vulnerabilities runs govulncheck in each folder of a module
// and fails where the code calls what is known to be vulnerable in a dependency.
// What only a registry knows is skipped, with the reason, when it cannot be
// reached. Both run from the root of the repository and change nothing in it.
package main

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"slices"
	"strings"
)

const recordFile = "docs/dependencies.md"

func main() {
	if err := run(os.Args[1:], os.Stdout); err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}

func run(args []string, out io.Writer) error {
	text, err := os.ReadFile(recordFile)
	if err != nil {
		return err
	}
	record := parseRecord(string(text))
	switch {
	case slices.Equal(args, []string{"review"}):
		return review(record, out)
	case len(args) > 1 && args[0] == "vulnerabilities":
		return checkVulnerabilities(record, args[1], args[2:], out)
	}
	return errors.New("usage: dependencies review | vulnerabilities GOVULNCHECK [FOLDER ...]")
}

// goCommand runs the go command, without cgo as `make build` does, and returns
// what it prints.
func goCommand(folder string, args ...string) ([]byte, error) {
	command := exec.Command("go", args...)
	command.Dir = folder
	command.Env = append(os.Environ(), "CGO_ENABLED=0")
	return output(command)
}

func output(command *exec.Cmd) ([]byte, error) {
	var complaint strings.Builder
	command.Stderr = &complaint
	out, err := command.Output()
	if err != nil {
		lines := strings.Split(strings.TrimSpace(complaint.String()), "\n")
		last := lines[max(0, len(lines)-8):]
		err = fmt.Errorf("%s: %w: %s", strings.Join(command.Args[:2], " "), err, strings.Join(last, "\n"))
	}
	return out, err
}

// decodeAll reads the JSON values that follow each other in text.
func decodeAll[T any](text []byte) ([]T, error) {
	var all []T
	decoder := json.NewDecoder(strings.NewReader(string(text)))
	for {
		var value T
		if err := decoder.Decode(&value); err == io.EOF {
			return all, nil
		} else if err != nil {
			return nil, err
		}
		all = append(all, value)
	}
}
