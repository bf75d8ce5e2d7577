package nrfdfu

import (
	"errors"
	"fmt"
)

// TraceWithout makes the checks of Verify and ignores what one of them says, as a
// fault in the bootloader would: the trace has it as not-run. It is for asking
// which check stands alone, and gives no Verified. An error is the first other
// refusal, or that the bootloader has nothing to go on with.
func TraceWithout(p *Package, device Device, ignored Step) (Trace, error) {
	if err := device.Check(); err != nil {
		return nil, err
	}
	if len(p.Images) == 0 {
		return nil, fmt.Errorf("nrfdfu: a package without images: %w", ErrOptions)
	}
	b := boot{device: device}
	for _, image := range p.Images {
		b.image, b.init, b.kind = image, InitCommand{}, 0
		for _, c := range b.checks() {
			status, err := c.run()
			if err != nil && c.step == ignored && b.goesOn(ignored, err) {
				status, err = NotRun, nil
			}
			if err != nil {
				return b.trace, b.failed(c.step, err)
			}
			b.trace = append(b.trace, Check{Image: image.Kind, Step: c.step, Status: status})
		}
		b.activate()
	}
	return b.trace, nil
}

// goesOn reports whether there is something to go on with after a refusal of the
// step that is ignored.
func (b *boot) goesOn(ignored Step, err error) bool {
	if _, ok := errors.AsType[*refusal](err); !ok {
		return false
	}
	switch ignored {
	case StepDecode:
		return false
	case StepHashType:
		return b.init.Hash != nil
	case StepTransfer:
		return uint64(len(b.image.Firmware)) >= uint64(b.size)
	case StepSoftDeviceInfo:
		return b.init.SDSize == nil || *b.init.SDSize <= b.size
	default:
		return true
	}
}
