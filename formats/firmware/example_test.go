package firmware_test

import (
	"fmt"
	"strings"

	"github.com/otapack/otapack/formats/firmware"
)

func ExampleLoad() {
	file := strings.NewReader(":020000040800F2\n:04000000004000209C\n:04001000C101000822\n:00000001FF\n")
	image, format, err := firmware.Load(file, firmware.Options{})
	if err != nil {
		fmt.Println(err)
		return
	}
	fmt.Println(format, image.Size(), "bytes, without", image.Gaps())

	payload, err := image.Flatten(0x0800_0000, 64<<10, 0xff)
	fmt.Printf("%x %v\n", payload, err)
	// Output:
	// hex 8 bytes, without [0x08000004-0x0800000f]
	// 00400020ffffffffffffffffffffffffc1010008 <nil>
}
