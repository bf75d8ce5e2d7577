// Package match finds what a new image has in common with an old one, for the
// writers of delta formats:
//
//	covers := match.NewIndex(old).Covers(new, 8)
//
// What lies between the covers is new. Both images are in memory; 1 MiB takes
// about a second.
package match
