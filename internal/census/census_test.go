package census

import (
	"bytes"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

var product = []Part{{"radio", "nrf52840"}, {"motor", "stm32l4"}}

const header = "devices,radio.version,radio.chip,radio.revision,radio.sequence,motor.version,motor.chip,motor.revision,motor.sequence"

func TestParse(t *testing.T) {
	const text = "\ufeff# what the service saw in May\r\n" +
		"motor.sequence,devices,radio.version,radio.chip,radio.revision,radio.sequence,radio.recipient,motor.version,motor.chip,motor.revision\r\n" +
		"3,8200,1.4.1,nrf52840,C,4,ade2dad611717e91,1.4.0,stm32l4,\"C, new\"\r\n" +
		"\r\n" +
		"3,1,1.4.1,nrf52840,C,4,none,1.4.0,stm32l4,C\r\n" +
		"3,1,1.4.1,nrf52840,C,4,,1.4.0,stm32l4,C\r\n"
	classes, err := Parse(strings.NewReader(text), product)
	if err != nil {
		t.Fatal(err)
	}
	want := "[{3 8200 [{1.4.1 C 4 true ade2dad611717e91} {1.4.0 C, new 3 false }]}" +
		" {5 1 [{1.4.1 C 4 true } {1.4.0 C 3 false }]} {6 1 [{1.4.1 C 4 false } {1.4.0 C 3 false }]}]"
	if got := show(classes); got != want {
		t.Errorf("got  %s\nwant %s", got, want)
	}
}

// The example is one to start from.
func TestExample(t *testing.T) {
	f, err := os.Open(filepath.Join("..", "..", "examples", "toothbrush", "census.csv"))
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	if classes, err := Parse(f, product); err != nil || len(classes) < 3 {
		t.Errorf("%d classes, %v", len(classes), err)
	}
}

func show(classes []Class) string {
	var b strings.Builder
	for _, c := range classes {
		fmt.Fprintf(&b, " {%d %d [", c.Line, c.Devices)
		for i, p := range c.Components {
			fmt.Fprintf(&b, "%s{%s %s %d %v %x}", strings.Repeat(" ", min(i, 1)), p.Version, p.Revision, p.Sequence, p.KnowsRecipient, p.Recipient)
		}
		b.WriteString("]}")
	}
	return "[" + strings.TrimPrefix(b.String(), " ") + "]"
}

func TestParseRefuses(t *testing.T) {
	const good = "10,1.4.1,nrf52840,C,3,1.4.1,stm32l4,C,3"
	line := func(old, text string) string { return header + "\n" + strings.Replace(good, old, text, 1) }
	for text, want := range map[string]string{
		"":           "no line with the names of the columns",
		"# nothing":  "no line with the names of the columns",
		header:       "no devices",
		"\xff":       "not UTF-8",
		"devices\n5": `line 1: column radio.version is missing`,
		strings.Replace(header, "devices,", "", 1) + "\n": "line 1: column devices is missing",
		header + ",devices\n":                             "line 1: column devices twice",
		header + ",note\n":                                `line 1: unknown column "note", want devices and <component>.{version,chip,revision,sequence,recipient} of radio, motor`,
		header + ",pump.version\n":                        `line 1: unknown column "pump.version", want devices and <component>.{version,chip,revision,sequence,recipient} of radio, motor`,
		header + ",radio.colour\n":                        `line 1: unknown column "radio.colour", want devices and <component>.{version,chip,revision,sequence,recipient} of radio, motor`,
		line("10,", ""):                                   "line 2: wrong number of fields",
		line("10,", "0,"):                                 "line 2: devices: no devices",
		line("10,", "1e3,"):                               `line 2: devices: "1e3", want a number up to 4294967295`,
		line("10,", "010,"):                               `line 2: devices: "010", want a number up to 4294967295`,
		line("10,", "-1,"):                                `line 2: devices: "-1", want a number up to 4294967295`,
		line("10,", ","):                                  `line 2: devices: "", want a number up to 4294967295`,
		line("1.4.1", "v1.4.1"):                           `line 2: radio.version: manifest: version "v1.4.1", want forms like 1.4.2 or 1.4.2-rc.1: malformed version`,
		line("nrf52840", "nrf52832"):                      `line 2: radio.chip: unknown class: chip "nrf52832", the product has nrf52840`,
		line("stm32l4", "nrf52840"):                       `line 2: motor.chip: unknown class: chip "nrf52840", the product has stm32l4`,
		line(",C,", ", C,"):                               `line 2: radio.revision: a space or a control character in " C"`,
		line(",C,", ",,"):                                 `line 2: radio.revision: revision of 0 bytes, want 1 to 64`,
		line(",C,3", ",C,4294967296"):                     `line 2: radio.sequence: "4294967296", want a number up to 4294967295`,
		line("10", `"10`):                                 `line 2: extraneous or missing " in quoted-field`,
		line("", "") + "\n11" + good[2:]:                  "line 3: the same class as line 2",
		header + ",motor.recipient\n" + good + ",xyz":     `line 2: motor.recipient: "xyz", want the key's id in lower-case hexadecimal, "none" or nothing`,
		header + ",motor.recipient\n" + good + ",AB":      `line 2: motor.recipient: "AB", want the key's id in lower-case hexadecimal, "none" or nothing`,
		header + ",motor.recipient\n" + good + "," + strings.Repeat("00", 17): `line 2: motor.recipient: "` + strings.Repeat("00", 17) + `", want the key's id in lower-case hexadecimal, "none" or nothing`,
		strings.Repeat("#", MaxSize+1):                                        "more than 4194304 bytes",
	} {
		_, err := Parse(strings.NewReader(text), product)
		if err == nil || err.Error() != want {
			t.Errorf("%.200q:\ngot  %v\nwant %s", text, err, want)
		}
		if e, ok := errors.AsType[*Error](err); ok != strings.HasPrefix(want, "line ") || ok && e.Unwrap() == nil {
			t.Errorf("%.200q: %v has no line", text, err)
		}
	}
	var many bytes.Buffer
	many.WriteString(header + "\n")
	for i := range MaxClasses + 1 {
		fmt.Fprintf(&many, "10,1.4.1,nrf52840,C,%d,1.4.1,stm32l4,C,3\n", i)
	}
	if _, err := Parse(&many, product); err == nil || err.Error() != "line 10002: more than 10000 classes" {
		t.Error(err)
	}
}

// FuzzParse: what is accepted is about the product's components and nobody else.
func FuzzParse(f *testing.F) {
	f.Add([]byte(header + ",radio.recipient\n10,1.4.1,nrf52840,C,3,1.4.1,stm32l4,C,3,none\n"))
	f.Fuzz(func(t *testing.T, data []byte) {
		classes, err := Parse(bytes.NewReader(data), product)
		if err != nil {
			return
		}
		for _, c := range classes {
			if c.Line < 2 || c.Devices < 1 || c.Devices > MaxDevices || len(c.Components) != len(product) {
				t.Errorf("%+v", c)
			}
			for _, p := range c.Components {
				if len(p.Version) == 0 || p.Revision == "" || !p.KnowsRecipient && p.Recipient != nil {
					t.Errorf("%+v", p)
				}
			}
		}
	})
}
