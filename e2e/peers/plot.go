package main

import (
	"bufio"
	"cmp"
	"encoding/json"
	"errors"
	"fmt"
	"image/color"
	"io"
	"math"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"

	"gonum.org/v1/plot"
	"gonum.org/v1/plot/plotter"
	"gonum.org/v1/plot/plotutil"
	"gonum.org/v1/plot/vg"
	"gonum.org/v1/plot/vg/draw"
	"gonum.org/v1/plot/vg/vgsvg"
)

// point is one line of a file of curves: a point of a series, or, with a title,
// what the curve is.
type point struct {
	Curve  string  `json:"curve"`
	Series string  `json:"series,omitempty"`
	X      float64 `json:"x"`
	Y      float64 `json:"y"`

	Title  string `json:"title,omitempty"`
	XLabel string `json:"x_label,omitempty"`
	YLabel string `json:"y_label,omitempty"`
	LogX   bool   `json:"log_x,omitempty"`
	LogY   bool   `json:"log_y,omitempty"`
	Note   string `json:"note,omitempty"` // what was left out, and why
}

// curve is the points of one drawing.
type curve struct {
	about  point // its name, and its title and axes as far as they are told
	series []series
}

type series struct {
	name   string
	points plotter.XYs
}

var fileName = regexp.MustCompile(`^[a-zA-Z0-9_-]+$`)

// readCurves reads a file of curves. Curves and series are in the order in which
// they first appear, points in the order of x.
func readCurves(in io.Reader) ([]*curve, error) {
	var curves []*curve
	lines := bufio.NewScanner(in)
	for n := 1; lines.Scan(); n++ {
		if len(lines.Bytes()) == 0 {
			continue
		}
		var p point
		if err := json.Unmarshal(lines.Bytes(), &p); err != nil {
			return nil, fmt.Errorf("line %d: %w", n, err)
		}
		if !fileName.MatchString(p.Curve) {
			return nil, fmt.Errorf("line %d: the curve %q cannot name a file", n, p.Curve)
		}
		i := slices.IndexFunc(curves, func(c *curve) bool { return c.about.Curve == p.Curve })
		if i < 0 {
			i = len(curves)
			curves = append(curves, &curve{about: point{Curve: p.Curve}})
		}
		curves[i].add(p)
	}
	for _, c := range curves {
		for _, s := range c.series {
			slices.SortStableFunc(s.points, func(a, b plotter.XY) int { return cmp.Compare(a.X, b.X) })
		}
	}
	return curves, lines.Err()
}

func (c *curve) add(p point) {
	switch {
	case p.Title != "":
		c.about = p
		return
	case p.Note != "":
		return
	}
	i := slices.IndexFunc(c.series, func(s series) bool { return s.name == p.Series })
	if i < 0 {
		i = len(c.series)
		c.series = append(c.series, series{name: p.Series})
	}
	c.series[i].points = append(c.series[i].points, plotter.XY{X: p.X, Y: p.Y})
}

// draw writes the curve as SVG. Points that a logarithmic axis cannot show are
// left out.
func (c *curve) draw(w io.Writer) error {
	p := plot.New()
	p.BackgroundColor = color.White
	p.Title.Text, p.X.Label.Text, p.Y.Label.Text = c.about.Title, c.about.XLabel, c.about.YLabel
	p.Title.Padding, p.Legend.Padding = vg.Points(6), vg.Points(2)
	p.X.Tick.Marker, p.Y.Tick.Marker = linearTicks{}, linearTicks{}
	if c.about.LogX {
		p.X.Scale, p.X.Tick.Marker = plot.LogScale{}, logTicks{}
	}
	if c.about.LogY {
		p.Y.Scale, p.Y.Tick.Marker = plot.LogScale{}, logTicks{}
	} else {
		p.Y.Min = 0
	}
	grid := plotter.NewGrid()
	grid.Horizontal.Color, grid.Vertical.Color = color.Gray{0xdd}, color.Gray{0xee}
	p.Add(grid)
	drawn := false
	for i, s := range c.series {
		points := slices.DeleteFunc(slices.Clone(s.points), func(xy plotter.XY) bool {
			return c.about.LogX && xy.X <= 0 || c.about.LogY && xy.Y <= 0
		})
		if len(points) == 0 {
			continue
		}
		line, dots, err := plotter.NewLinePoints(points)
		if err != nil {
			return fmt.Errorf("%s, %s: %w", c.about.Curve, s.name, err)
		}
		line.Color, line.Width = plotutil.Color(i), vg.Points(1.5)
		dots.Color, dots.Shape, dots.Radius = plotutil.Color(i), draw.CircleGlyph{}, vg.Points(2)
		p.Add(line)
		if len(points) <= 24 {
			p.Add(dots)
		}
		if len(c.series) > 1 || s.name != "" {
			p.Legend.Add(s.name, line)
		}
		drawn = true
	}
	if !drawn {
		return fmt.Errorf("%s has no points", c.about.Curve)
	}
	if c.about.LogX {
		p.X.Min, p.X.Max = 1/roundUp(1/p.X.Min), roundUp(p.X.Max)
	}
	if c.about.LogY {
		p.Y.Min, p.Y.Max = 1/roundUp(1/p.Y.Min), roundUp(p.Y.Max)
	}
	// The legend stands on a strip of its own, below the drawing.
	const width, height, row = 18 * vg.Centimeter, 10 * vg.Centimeter, 0.5 * vg.Centimeter
	strip := row * vg.Length(len(c.series))
	canvas := vgsvg.New(width, height+strip)
	all := draw.New(canvas)
	all.SetColor(color.White)
	all.Fill(all.Rectangle.Path())
	legend := p.Legend
	p.Legend = plot.NewLegend()
	p.Draw(draw.Crop(all, vg.Points(6), -vg.Points(16), strip, -vg.Points(4)))
	legend.Left, legend.Top = true, true
	legend.Draw(draw.Crop(all, vg.Points(60), 0, 0, -height))
	_, err := canvas.WriteTo(w)
	return err
}

// roundUp gives the next of 1, 2, 5, 10, 20 and so on.
func roundUp(v float64) float64 {
	decade := math.Pow(10, math.Floor(math.Log10(v)))
	for _, m := range []float64{1, 2, 5} {
		if v <= decade*m*(1+1e-9) {
			return decade * m
		}
	}
	return decade * 10
}

// linearTicks labels as short as can be.
type linearTicks struct{}

// Ticks implements plot.Ticker.
func (linearTicks) Ticks(least, most float64) []plot.Tick {
	ticks := plot.DefaultTicks{}.Ticks(least, most)
	for i, t := range ticks {
		if t.Label != "" {
			ticks[i].Label = short(t.Value)
		}
	}
	return ticks
}

// logTicks labels 1, 10, 100 and so on, and between them 2 and 5 where the axis is
// not long.
type logTicks struct{}

// Ticks implements plot.Ticker.
func (logTicks) Ticks(least, most float64) []plot.Tick {
	var ticks []plot.Tick
	between := most/least < 300
	for decade := math.Pow(10, math.Floor(math.Log10(least))); decade <= most*(1+1e-9); decade *= 10 {
		for m := 1; m < 10; m++ {
			t := plot.Tick{Value: decade * float64(m)}
			if m == 1 || between && (m == 2 || m == 5) {
				t.Label = short(t.Value)
			}
			if t.Value >= least*(1-1e-9) && t.Value <= most*(1+1e-9) {
				ticks = append(ticks, t)
			}
		}
	}
	return ticks
}

// short is a number as a label.
func short(v float64) string {
	unit := ""
	switch {
	case math.Abs(v) >= 1e6:
		v, unit = v/1e6, "M"
	case math.Abs(v) >= 1e4:
		v, unit = v/1e3, "k"
	}
	return strconv.FormatFloat(v, 'g', 4, 64) + unit
}

// plotCmd draws each curve of a file into DIR/CURVE.svg.
func plotCmd(args []string) error {
	if len(args) != 2 {
		return errors.New("plot needs FILE and DIR")
	}
	in, err := os.Open(args[0])
	if err != nil {
		return err
	}
	defer in.Close()
	curves, err := readCurves(in)
	if err != nil {
		return fmt.Errorf("%s: %w", args[0], err)
	}
	if err := os.MkdirAll(args[1], 0o755); err != nil {
		return err
	}
	for _, c := range curves {
		if len(c.series) == 0 {
			continue
		}
		path := filepath.Join(args[1], c.about.Curve+".svg")
		out, err := os.Create(path)
		if err != nil {
			return err
		}
		if err := errors.Join(c.draw(out), out.Close()); err != nil {
			return err
		}
		fmt.Println(path)
	}
	return nil
}
