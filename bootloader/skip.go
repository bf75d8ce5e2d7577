package bootloader

import (
	"context"
	"errors"
	"fmt"
	"slices"

	"github.com/otapack/otapack/sign/verdict"
)

// SkipMatrix says what a bootloader would take if the verdict of one of its
// checks came to nothing, as after an induced fault that skips a branch: every
// step ignored once, over images that must not be taken. It is about the order
// of checks and not about machine code, which can have weak points of its own.
type SkipMatrix struct {
	Profile string        `json:"profile"`
	Steps   []Step        `json:"steps"`
	Images  []BadImage    `json:"images"`
	Alone   []SinglePoint `json:"single_points"`
}

// BadImage is an image that a bootloader must refuse, and what becomes of it
// without each step.
type BadImage struct {
	Name string `json:"name"`
	What string `json:"what"`
	// RefusedBy is the step that refuses it, when all are made, and why.
	RefusedBy Step           `json:"refused_by"`
	Reason    verdict.Reason `json:"reason"`
	Without   []SkipCell     `json:"without"` // in the order of Steps
}

// SkipCell is the fate of a bad image when a step is ignored.
type SkipCell struct {
	Step  Step `json:"step"`
	Taken bool `json:"taken"`
	// RefusedBy is the step that refuses it all the same; "" when there is nothing
	// to go on with.
	RefusedBy Step `json:"refused_by,omitempty"`
}

// SinglePoint is a step that alone keeps bad images out.
type SinglePoint struct {
	Step   Step     `json:"step"`
	Images []string `json:"images"`
}

// ErrNoVerifier says that a profile names no verifier of this module.
var ErrNoVerifier = errors.New("the profile has no verifier")

// badImage makes the checks over an image, less one; "" for all. The error is
// the first refusal, or one without a reason when there is nothing to go on with.
type badImage struct {
	name, what string
	check      func(ctx context.Context, without Step) (Trace, error)
}

// Skips makes the matrix of a profile. The images are made
// for it, with keys that live as long as the call.
func Skips(ctx context.Context, p Profile) (*SkipMatrix, error) {
	var images []badImage
	var err error
	switch p.Verifier {
	case "bootloader":
		images, err = ownBadImages(ctx, p.Name)
	case "formats/mcuboot":
		images, err = mcubootBadImages(ctx, p.Name)
	case "formats/nrfdfu":
		images, err = nrf5BadImages(ctx)
	case "formats/sbsfu":
		images, err = sbsfuBadImages(ctx)
	case "formats/wolfboot":
		images, err = wolfBootBadImages(ctx)
	default:
		return nil, fmt.Errorf("bootloader: profile %s: %w", p.Name, ErrNoVerifier)
	}
	if err != nil {
		return nil, fmt.Errorf("bootloader: profile %s: %w", p.Name, err)
	}
	m := &SkipMatrix{Profile: p.Name, Alone: []SinglePoint{}}
	for _, s := range p.Steps {
		m.Steps = append(m.Steps, s.ID)
	}
	for _, image := range images {
		row, err := m.row(ctx, image)
		if err != nil {
			return nil, fmt.Errorf("bootloader: profile %s: image %s: %w", p.Name, image.name, err)
		}
		m.Images = append(m.Images, row)
	}
	for _, step := range m.Steps {
		var names []string
		for _, image := range m.Images {
			if slices.ContainsFunc(image.Without, func(c SkipCell) bool { return c.Step == step && c.Taken }) {
				names = append(names, image.Name)
			}
		}
		if names != nil {
			m.Alone = append(m.Alone, SinglePoint{step, names})
		}
	}
	return m, nil
}

func (m *SkipMatrix) row(ctx context.Context, image badImage) (BadImage, error) {
	trace, err := image.check(ctx, "")
	switch {
	case err == nil:
		return BadImage{}, errors.New("taken by all steps")
	case verdict.Of(err) == "" || len(trace) == 0:
		return BadImage{}, err
	}
	row := BadImage{Name: image.name, What: image.what, RefusedBy: trace[len(trace)-1].Step, Reason: verdict.Of(err)}
	for _, step := range m.Steps {
		trace, err := image.check(ctx, step)
		if ctx.Err() != nil {
			return BadImage{}, ctx.Err()
		}
		cell := SkipCell{Step: step, Taken: err == nil}
		if verdict.Of(err) != "" {
			cell.RefusedBy = trace[len(trace)-1].Step
			if cell.RefusedBy == step { // refused for lack of what the step reads
				cell.RefusedBy = ""
			}
		}
		row.Without = append(row.Without, cell)
	}
	return row, nil
}
