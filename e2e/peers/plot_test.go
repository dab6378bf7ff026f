package main

import (
	"encoding/xml"
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

const twoCurves = `{"curve":"cpu","title":"CPU","x_label":"watchers","y_label":"µs","log_x":true,"log_y":true}
{"curve":"cpu","series":"max","x":1000,"y":8}
{"curve":"cpu","series":"max","x":10,"y":20}
{"curve":"cpu","series":"rate","x":10,"y":0}

{"curve":"rss","series":"","x":0,"y":12}
{"curve":"cpu","note":"no room for 100000"}
`

func TestPlot_DrawsEachCurve(t *testing.T) {
	dir := t.TempDir()
	file := filepath.Join(dir, "points.jsonl")
	if err := os.WriteFile(file, []byte(twoCurves), 0o644); err != nil {
		t.Fatal(err)
	}
	if err := plotCmd([]string{file, filepath.Join(dir, "out")}); err != nil {
		t.Fatal(err)
	}
	for _, name := range []string{"cpu", "rss"} {
		b, err := os.ReadFile(filepath.Join(dir, "out", name+".svg"))
		if err != nil {
			t.Fatal(err)
		}
		d := xml.NewDecoder(strings.NewReader(string(b)))
		for {
			if _, err := d.Token(); err == io.EOF {
				break
			} else if err != nil {
				t.Fatalf("%s.svg: %v", name, err)
			}
		}
	}
}

func TestReadCurves_KeepsOrder(t *testing.T) {
	curves, err := readCurves(strings.NewReader(twoCurves))
	if err != nil {
		t.Fatal(err)
	}
	if len(curves) != 2 || curves[0].about.Title != "CPU" || !curves[0].about.LogX || curves[1].about.Curve != "rss" {
		t.Fatalf("%+v", curves)
	}
	if s := curves[0].series; len(s) != 2 || s[0].name != "max" || s[0].points[0].X != 10 || s[0].points[1].Y != 8 {
		t.Fatalf("%+v", s)
	}
}

func TestReadCurves_RefusesWhatCannotNameAFile(t *testing.T) {
	if _, err := readCurves(strings.NewReader(`{"curve":"../x","series":"","x":1,"y":1}`)); err == nil {
		t.Fatal("it was accepted")
	}
}
