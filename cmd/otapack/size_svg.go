package main

import (
	"bytes"
	"fmt"
	"html"
)

// drawSizes draws the payloads of a release as bars, those of one component
// below each other, and the image that they become as a grey one behind.
func drawSizes(r *sizeResult) []byte {
	const left, width, row, gap, right = 150, 560, 20, 16, 190 // pixels
	longest, rows := int64(1), 0
	for _, c := range r.Components {
		longest, rows = max(longest, c.Image), rows+len(c.Payloads)
		for _, p := range c.Payloads {
			longest = max(longest, p.Bytes)
		}
	}
	height := 2*svgMargin + row*(rows+len(r.Components)) + gap*len(r.Components)
	var b bytes.Buffer
	fmt.Fprintf(&b, `<svg xmlns="http://www.w3.org/2000/svg" width="%d" height="%d" font-family="sans-serif" font-size="11">`+"\n", left+width+right, height)
	fmt.Fprintf(&b, "<title>%s</title>\n", html.EscapeString("payloads of "+r.Product+" "+r.ReleaseID))
	b.WriteString(`<rect width="100%" height="100%" fill="#fff"/>` + "\n")
	long := func(n int64) float64 { return width * float64(n) / float64(longest) }
	y := svgMargin
	for _, c := range r.Components {
		fmt.Fprintf(&b, `<text x="%d" y="%d" font-weight="bold">%s</text>`+"\n", svgMargin, y+12, html.EscapeString(fmt.Sprintf("%s, image of %d bytes", c.Name, c.Image)))
		y += row
		for _, p := range c.Payloads {
			fmt.Fprintf(&b, `<rect x="%d" y="%d" width="%.1f" height="14" fill="#e8e8e8"/>`, left, y, long(c.Image))
			fmt.Fprintf(&b, `<rect x="%d" y="%d" width="%.1f" height="14" fill="#2060a0"/>`, left, y, max(1, long(p.Bytes)))
			fmt.Fprintf(&b, `<text x="%d" y="%d">%s</text>`, svgMargin, y+11, html.EscapeString("from "+p.from()+", "+p.Coding))
			fmt.Fprintf(&b, `<text x="%.1f" y="%d">%s</text>`+"\n", left+max(long(c.Image), long(p.Bytes))+6, y+11,
				html.EscapeString(fmt.Sprintf("%d bytes, %.1f %%, %s", p.Bytes, 100*p.Share, seconds(p.Seconds))))
			y += row
		}
		y += gap
	}
	b.WriteString("</svg>\n")
	return b.Bytes()
}
