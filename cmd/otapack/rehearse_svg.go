package main

import (
	"bytes"
	"fmt"
	"html"

	"github.com/otapack/otapack/bootloader"
)

// Measures of the picture in pixels.
const (
	svgLeft   = 190 // names of flash regions
	svgWidth  = 760 // of the time axis
	svgPanel  = 230 // height of one component's flash
	svgGap    = 46
	svgRow    = 16 // of the list of events
	svgMargin = 24
)

// drawRun draws a run as SVG: for each component its flash, addresses upwards
// and operations to the right, erased pages orange and programmed ones blue, and
// below the list of what happened.
func drawRun(p *bootloader.Replay) []byte {
	var b bytes.Buffer
	height := 2*svgMargin + len(p.Tracks)*(svgPanel+svgGap) + svgRow*(len(p.Events)+2)
	fmt.Fprintf(&b, `<svg xmlns="http://www.w3.org/2000/svg" width="%d" height="%d" font-family="sans-serif" font-size="11">`+"\n", svgLeft+svgWidth+svgMargin, height)
	fmt.Fprintf(&b, "<title>%s</title>\n", html.EscapeString("power-loss rehearsal, run "+p.Run.String()))
	b.WriteString(`<rect width="100%" height="100%" fill="#fff"/>` + "\n")
	x := func(op int) float64 { return svgLeft + svgWidth*float64(op)/float64(max(p.Operations, 1)) }
	top := float64(svgMargin)
	for _, t := range p.Tracks {
		drawTrack(&b, t, top, x)
		top += svgPanel + svgGap
	}
	for i, e := range p.Events {
		color := "#555"
		if e.Cut {
			color = "#c00"
		}
		fmt.Fprintf(&b, `<line x1="%.1f" x2="%.1f" y1="%d" y2="%.1f" stroke="%s" stroke-opacity="0.5" stroke-dasharray="2,4"/>`+"\n", x(e.At), x(e.At), svgMargin, top-svgGap, color)
		fmt.Fprintf(&b, `<text x="%.1f" y="%.1f" fill="%s" font-size="8" text-anchor="middle">%d</text>`+"\n", x(e.At), top-svgGap+10+float64(i%3)*9, color, i+1)
		fmt.Fprintf(&b, `<text x="%d" y="%.1f" fill="%s">%d</text><text x="%d" y="%.1f" fill="%s">%s</text>`+"\n",
			svgMargin, top+float64(svgRow*i), color, i+1, svgMargin+30, top+float64(svgRow*i), color,
			html.EscapeString(fmt.Sprintf("operation %d: %s %s", e.At, e.Component, e.Text)))
	}
	fmt.Fprintf(&b, `<text x="%d" y="%.1f" font-weight="bold">%s</text>`+"\n</svg>\n", svgMargin, top+float64(svgRow*(len(p.Events)+1)), html.EscapeString("at rest: "+p.End))
	return b.Bytes()
}

// drawTrack draws one component's flash.
func drawTrack(b *bytes.Buffer, t bootloader.Track, top float64, x func(int) float64) {
	chip := t.Chip
	y := func(addr uint64) float64 {
		return top + svgPanel*(1-float64(addr-uint64(chip.Flash.Base))/float64(chip.Flash.Size))
	}
	fmt.Fprintf(b, `<text x="%d" y="%.1f" font-weight="bold">%s</text>`+"\n", svgMargin, top-6, html.EscapeString(t.Component+", "+chip.Name))
	region := func(name, fill string, r bootloader.Region) {
		h := max(y(uint64(r.Base))-y(r.End()), 3)
		fmt.Fprintf(b, `<rect x="%d" y="%.1f" width="%d" height="%.1f" fill="%s" stroke="#fff"/>`+"\n", svgLeft, y(r.End()), svgWidth, h, fill)
		fmt.Fprintf(b, `<text x="%d" y="%.1f" fill="#333">%s</text>`+"\n", svgMargin, y(r.End())+max(h/2+4, 8), html.EscapeString(fmt.Sprintf("%s 0x%08x", name, r.Base)))
	}
	fmt.Fprintf(b, `<rect x="%d" y="%.1f" width="%d" height="%d" fill="#f2f2f2"/>`+"\n", svgLeft, top, svgWidth, svgPanel)
	for i, bank := range chip.Banks {
		region(fmt.Sprintf("bank %d", i), "#e4eef8", bank)
	}
	region("journal", "#f8ecd8", chip.Journal)
	for i := 0; i < len(t.Touches); { // one mark for what follows each other on a page
		first, last := t.Touches[i], t.Touches[i]
		for i++; i < len(t.Touches) && follows(last, t.Touches[i], chip.Page); i++ {
			last = t.Touches[i]
		}
		page := bootloader.Region{Base: first.Base / chip.Page * chip.Page, Size: chip.Page}
		low, high, fill := y(uint64(page.Base)), y(page.End()), "#2060a0"
		if first.Erase {
			low, high, fill = low+3, high-3, "#e07020"
		}
		fmt.Fprintf(b, `<rect x="%.1f" y="%.1f" width="%.1f" height="%.1f" fill="%s"/>`+"\n",
			x(first.At), high, max(x(last.At+1)-x(first.At), 0.8), max(low-high, 2), fill)
	}
}

// follows reports whether b goes on where a was, with nothing in between.
func follows(a, b bootloader.Touch, page uint32) bool {
	return b.At == a.At+1 && b.Erase == a.Erase && b.Base/page == a.Base/page
}
