package console

import (
	"fmt"
	"html/template"
	"math"
	"strconv"
	"strings"
	"time"
)

// A chart is drawn in a box of chartWidth by chartHeight that is stretched to
// its place, so lines have a width of their own and text stands outside.
const (
	chartWidth  = 600
	chartHeight = 120
)

// line is one of the things that a chart shows over time.
type line struct {
	Name  string // for people
	Class string // its colour
	Sum   string // for the legend
	Value []float64
}

// chart is a picture of lines over the same stretches of time.
type chart struct {
	ID, Title string
	Lines     []line
	Top       string // the value at the upper edge
	From, To  int64  // Unix milliseconds
	Day       bool   // it is longer than some hours
	Empty     bool   // there is nothing to see
	SVG       template.HTML
}

// axis is the time of a chart.
type axis struct {
	from  int64 // Unix milliseconds
	step  time.Duration
	steps int
}

func (a axis) to() int64 { return a.from + int64(a.steps)*a.step.Milliseconds() }

// of gives the stretch that a time is in; false: none.
func (a axis) of(ms int64) (int, bool) {
	i := (ms - a.from) / a.step.Milliseconds()
	return int(i), ms >= a.from && i < int64(a.steps)
}

// title names a stretch.
func (a axis) title(i int) string {
	at := time.UnixMilli(a.from + int64(i)*a.step.Milliseconds()).UTC()
	return at.Format("15:04") + " UTC"
}

// newChart begins a chart. Format writes values.
func newChart(id, title string, a axis, top float64, format func(float64) string, lines []line) chart {
	c := chart{ID: id, Title: title, Lines: lines, From: a.from, To: a.to(), Top: format(top), Day: a.to()-a.from > (12 * time.Hour).Milliseconds(), Empty: true}
	for _, l := range lines {
		for _, v := range l.Value {
			if v > 0 {
				c.Empty = false
			}
		}
	}
	return c
}

// stacked draws lines on top of each other, as bars.
func stacked(id, title string, a axis, format func(float64) string, lines []line) chart {
	top := 0.0
	for i := range a.steps {
		sum := 0.0
		for _, l := range lines {
			sum += l.Value[i]
		}
		top = max(top, sum)
	}
	top = ceiling(top)
	c := newChart(id, title, a, top, format, lines)
	var b strings.Builder
	open(&b, title, lines)
	width := float64(chartWidth) / float64(a.steps)
	for i := range a.steps {
		y := float64(chartHeight)
		for _, l := range lines {
			if l.Value[i] <= 0 {
				continue
			}
			h := l.Value[i] / top * chartHeight
			y -= h
			fmt.Fprintf(&b, `<rect class="fill-%s" x="%s" y="%s" width="%s" height="%s"/>`,
				l.Class, number(float64(i)*width+width*0.12), number(y), number(width*0.76), number(h))
		}
	}
	titles(&b, a, format, lines)
	c.SVG = template.HTML(b.String() + "</svg>") // of numbers, and words of this program
	return c
}

// drawn draws lines as such. Where a value is negative there is none.
func drawn(id, title string, a axis, format func(float64) string, lines []line) chart {
	top := 0.0
	for _, l := range lines {
		for _, v := range l.Value {
			top = max(top, v)
		}
	}
	top = ceiling(top)
	c := newChart(id, title, a, top, format, lines)
	var b strings.Builder
	open(&b, title, lines)
	width := float64(chartWidth) / float64(a.steps)
	for _, l := range lines {
		var path strings.Builder
		pen := false
		for i, v := range l.Value {
			if v < 0 {
				pen = false
				continue
			}
			x, y := (float64(i)+0.5)*width, chartHeight-v/top*chartHeight
			switch {
			case !pen:
				fmt.Fprintf(&path, "M%s %s", number(x-width*0.3), number(y))
				fallthrough
			default:
				fmt.Fprintf(&path, "L%s %s", number(x+width*0.3), number(y))
			}
			pen = true
		}
		fmt.Fprintf(&b, `<path class="line line-%s" d="%s" vector-effect="non-scaling-stroke"/>`, l.Class, path.String())
	}
	titles(&b, a, format, lines)
	c.SVG = template.HTML(b.String() + "</svg>") // of numbers, and words of this program
	return c
}

// open begins a picture, with lines at a half and at the top.
func open(b *strings.Builder, title string, lines []line) {
	said := make([]string, len(lines))
	for i, l := range lines {
		said[i] = l.Name + " " + l.Sum
	}
	title += ": " + strings.Join(said, ", ")
	fmt.Fprintf(b, `<svg class="plot" viewBox="0 0 %d %d" preserveAspectRatio="none" role="img" aria-label="%s">`,
		chartWidth, chartHeight, template.HTMLEscapeString(title))
	for _, y := range []float64{0.5, chartHeight / 2, chartHeight - 0.5} {
		fmt.Fprintf(b, `<path class="grid" d="M0 %sH%d" vector-effect="non-scaling-stroke"/>`, number(y), chartWidth)
	}
}

// titles lays a field over each stretch which says what it was.
func titles(b *strings.Builder, a axis, format func(float64) string, lines []line) {
	width := float64(chartWidth) / float64(a.steps)
	for i := range a.steps {
		var said []string
		for _, l := range lines {
			if l.Value[i] > 0 {
				said = append(said, l.Name+" "+format(l.Value[i]))
			}
		}
		if said != nil {
			fmt.Fprintf(b, `<rect class="hit" x="%s" y="0" width="%s" height="%d"><title>%s: %s</title></rect>`,
				number(float64(i)*width), number(width), chartHeight, a.title(i), template.HTMLEscapeString(strings.Join(said, ", ")))
		}
	}
}

// number writes a coordinate.
func number(f float64) string { return strconv.FormatFloat(math.Round(f*10)/10, 'f', -1, 64) }

// ceiling is a round number not below a value, and not 0.
func ceiling(v float64) float64 {
	if v <= 0 {
		return 1
	}
	unit := math.Pow(10, math.Floor(math.Log10(v)))
	for _, m := range []float64{1, 2, 3, 4, 5, 6, 8, 10} {
		if v <= m*unit {
			return max(m*unit, min(1, unit))
		}
	}
	return 10 * unit
}
