package vectors

import (
	"context"

	"github.com/otapack/otapack/formats/sbsfu"
	"github.com/otapack/otapack/testvectors/verdicts"
)

func judgeSBSFU(ctx context.Context, state verdicts.SBSFU, file, installed []byte) (Judgement, error) {
	device, err := sbsfuDevice(state, installed)
	if err != nil {
		return Judgement{}, err
	}
	v, trace, err := sbsfu.Verify(ctx, file, device)
	if err == nil {
		j := accepted()
		j.Released = verdicts.Of(v.Firmware())
		return j, nil
	}
	if len(trace) == 0 {
		return Judgement{}, err
	}
	step := trace[len(trace)-1].Step
	j, err := refused(string(step), err)
	if err == nil && step != sbsfu.StepCandidate && step != sbsfu.StepVersion {
		// The checks from the header on are those of the slot that was written.
		j.Released = verdicts.Of(sbsfu.Assemble(file, device))
	}
	return j, err
}

var sbsfuSchemes = map[string]sbsfu.Scheme{sbsfu.Clear.String(): sbsfu.Clear, sbsfu.AESCBC.String(): sbsfu.AESCBC}

// sbsfuDevice gives all slots that have firmware the one that is installed: the
// package is for one of them.
func sbsfuDevice(s verdicts.SBSFU, installed []byte) (sbsfu.Device, error) {
	scheme, err := named(sbsfuSchemes, "scheme", s.Scheme)
	if err != nil {
		return sbsfu.Device{}, err
	}
	d := sbsfu.Device{Scheme: scheme, Offset: s.Offset, InitVersion: s.InitVersion, StartVersion: s.StartVersion}
	for _, from := range s.Slots {
		slot := sbsfu.Slot{Size: from.Size, AESKey: from.AESKey}
		if slot.Key, err = p256Key(from.Key); err != nil {
			return sbsfu.Device{}, err
		}
		if from.Installed != nil {
			slot.Installed = &sbsfu.Installed{Version: *from.Installed, Firmware: installed}
		}
		d.Slots = append(d.Slots, slot)
	}
	return d, nil
}
