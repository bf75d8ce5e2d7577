package flash

import (
	"crypto/sha256"
	"fmt"
)

// Image is content cut into pages, prepared once to be programmed into many
// flashes.
type Image struct {
	geometry Geometry
	pages    []*page
	lengths  []int // bytes of each page that are programmed, whole units
	size     int
}

// NewImage cuts data into pages. The last unit is filled up with erased bytes.
func NewImage(g Geometry, data []byte) (*Image, error) {
	f, err := New(g)
	if err != nil {
		return nil, err
	}
	if err := f.inside(g.Base, len(data)); err != nil {
		return nil, err
	}
	im := &Image{geometry: g, size: len(data)}
	unit := int(g.Unit)
	for at := 0; at < len(data); at += int(g.Page) {
		chunk := data[at:min(len(data), at+int(g.Page))]
		length := (len(chunk) + unit - 1) / unit * unit
		padded := blank(int(g.Page))
		copy(padded, chunk)
		addr := g.Base + uint32(at)
		if err := f.Program(addr, padded[:length], length); err != nil {
			return nil, fmt.Errorf("flash: image: %w", err)
		}
		i, _ := f.locate(addr)
		pg := f.pages[i]
		pg.owner = nil // nobody changes it from here on
		pg.digest()
		im.pages, im.lengths = append(im.pages, pg), append(im.lengths, length)
	}
	return im, nil
}

// Pages returns the number of pages that the image takes.
func (im *Image) Pages() int { return len(im.pages) }

// Size returns the length of the content in bytes.
func (im *Image) Size() int { return im.size }

// Sum returns what Flash.Sum returns where the image was programmed.
func (im *Image) Sum() [sha256.Size]byte {
	h := sha256.New()
	for _, pg := range im.pages {
		sum := pg.digest()
		h.Write(sum[:])
	}
	return [sha256.Size]byte(h.Sum(nil))
}
