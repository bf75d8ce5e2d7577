package vectors

import (
	"bytes"
	"context"

	"github.com/otapack/otapack/formats/wolfboot"
	"github.com/otapack/otapack/testvectors/verdicts"
)

func judgeWolfBoot(ctx context.Context, state verdicts.WolfBoot, image []byte) (Judgement, error) {
	device, err := wolfBootDevice(state)
	if err != nil {
		return Judgement{}, err
	}
	v, trace, err := wolfboot.Verify(ctx, image, device)
	if err == nil {
		// The swap moves header and firmware. What the file has not is erased flash.
		taken := bytes.Repeat([]byte{0xff}, int(state.HeaderSize)+len(v.Firmware()))
		copy(taken, image)
		j := accepted()
		j.Released = verdicts.Of(taken)
		return j, nil
	}
	if len(trace) == 0 {
		return Judgement{}, err
	}
	return refused(string(trace[len(trace)-1].Step), err)
}

func wolfBootDevice(s verdicts.WolfBoot) (wolfboot.Device, error) {
	d := wolfboot.Device{
		HeaderSize: s.HeaderSize, PartitionSize: s.PartitionSize, UpdateSize: s.UpdateSize, SectorSize: s.SectorSize,
		WriteOnce: s.WriteOnce, Fallback: s.Fallback, AllowDowngrade: s.AllowDowngrade,
	}
	if s.Running != nil {
		d.Running = &wolfboot.Running{Version: s.Running.Version, Size: s.Running.Size}
	}
	for _, k := range s.Keys {
		public, err := p256Key(k.Point)
		if err != nil {
			return wolfboot.Device{}, err
		}
		d.Keys = append(d.Keys, wolfboot.Key{Public: public, Partitions: k.Partitions})
	}
	return d, nil
}
