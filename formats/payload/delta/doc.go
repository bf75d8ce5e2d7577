// Package delta makes firmware updates small: a patch says how the new image
// comes from the old one that the device runs. The format, otapack delta 1, is
// laid down in docs/delta.md.
//
//	patch, err := delta.Encode(ctx, old, new, delta.Params{OldBase: 0x8000, NewBase: 0x8000})
//	again, err := delta.Decode(patch, old, len(new))
//
// The format knows Arm Thumb code. Where functions moved, every branch and
// every pointer to them changes; the patch says once where they moved to and
// predicts the rest, and a range coder makes right predictions cost close to
// nothing. Images of other processors get smaller, too, but less so.
//
// Devices decode in fixed memory while they write the other bank, and go on at
// a restart point after a loss of power: see [NewDecoder] and [Resume].
package delta
