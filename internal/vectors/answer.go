// Package vectors works with the published verdicts of package verdicts: it
// answers them with our reference verifiers, runs other people's verifiers over
// them, and exports them.
package vectors

import (
	"context"
	"errors"
	"fmt"

	"github.com/otapack/otapack/sign/verdict"
	"github.com/otapack/otapack/testvectors/verdicts"
)

// ErrDevice says that a device's state cannot be understood.
var ErrDevice = errors.New("unusable device state")

// Answer is what a verifier says of a case.
type Answer struct {
	Verdict string `json:"verdict"`          // verdicts.Accept or verdicts.Refuse
	Step    string `json:"step,omitempty"`   // the first check that fails
	Reason  string `json:"reason,omitempty"` // code of package verdict
}

// String is the line in which a program answers: "accept", "refuse step reason".
func (a Answer) String() string {
	s := a.Verdict
	if a.Step != "" {
		s += " " + a.Step
	}
	if a.Reason != "" {
		s += " " + a.Reason
	}
	return s
}

// Want is the answer that a case must get.
func Want(c verdicts.Case) Answer { return Answer{c.Verdict, c.Step, c.Reason} }

// Judgement is what a reference verifier finds out.
type Judgement struct {
	Answer
	Response string           // of the bootloader, where it says more: a result code of the nRF5 SDK
	Released verdicts.Content // see verdicts.Case
}

// Reference answers with our verifier for the device. Errors mean that there is
// no verdict: the state of the device makes no sense (ErrDevice), or ctx is done.
func Reference(ctx context.Context, device verdicts.Device, inputs map[string][]byte) (Judgement, error) {
	switch {
	case device.SUIT != nil:
		return judgeSUIT(ctx, *device.SUIT, inputs)
	case device.MCUboot != nil:
		return judgeMCUboot(ctx, *device.MCUboot, inputs["image"])
	case device.NRFDFU != nil:
		return judgeNRFDFU(*device.NRFDFU, inputs["packet"], inputs["firmware"])
	case device.SBSFU != nil:
		return judgeSBSFU(ctx, *device.SBSFU, inputs["image"], inputs["installed"])
	case device.WolfBoot != nil:
		return judgeWolfBoot(ctx, *device.WolfBoot, inputs["image"])
	}
	return Judgement{}, fmt.Errorf("vectors: %w: no bootloader", ErrDevice)
}

// Inputs materialises all inputs of a case.
func Inputs(f *verdicts.Family, c verdicts.Case) (map[string][]byte, error) {
	inputs := make(map[string][]byte, len(c.Inputs))
	for _, in := range c.Inputs {
		data, err := f.Materialise(in)
		if err != nil {
			return nil, err
		}
		inputs[in.Name] = data
	}
	return inputs, nil
}

func accepted() Judgement { return Judgement{Answer: Answer{Verdict: verdicts.Accept}} }

// refused turns an error with a reason into an answer; others stay errors.
func refused(step string, err error) (Judgement, error) {
	reason := verdict.Of(err)
	if reason == "" {
		return Judgement{}, err
	}
	return Judgement{Answer: Answer{verdicts.Refuse, step, string(reason)}}, nil
}
