package bootloader

import (
	"github.com/otapack/otapack/formats/mcuboot"
	"github.com/otapack/otapack/formats/nrfdfu"
	"github.com/otapack/otapack/formats/sbsfu"
	"github.com/otapack/otapack/formats/wolfboot"
)

// fromMCUboot gives a trace the steps of a profile.
func fromMCUboot(trace mcuboot.Trace) Trace {
	var all Trace
	for _, c := range trace {
		all = append(all, Check{Step(c.Step), Status(c.Status), c.Reason, c.Detail})
	}
	return all
}

// fromNRF gives a trace the steps of a profile, one trace for each image.
func fromNRF(trace nrfdfu.Trace) []Trace {
	var all []Trace
	for _, c := range trace {
		if c.Step == nrfdfu.StepReceive {
			all = append(all, nil)
		}
		at := len(all) - 1
		all[at] = append(all[at], Check{Step(c.Step), Status(c.Status), c.Reason, c.Detail})
	}
	return all
}

// fromSBSFU gives a trace the steps of a profile.
func fromSBSFU(trace sbsfu.Trace) Trace {
	var all Trace
	for _, c := range trace {
		all = append(all, Check{Step(c.Step), Status(c.Status), c.Reason, c.Detail})
	}
	return all
}

// fromWolfBoot gives a trace the steps of a profile.
func fromWolfBoot(trace wolfboot.Trace) Trace {
	var all Trace
	for _, c := range trace {
		all = append(all, Check{Step(c.Step), Status(c.Status), c.Reason, c.Detail})
	}
	return all
}
