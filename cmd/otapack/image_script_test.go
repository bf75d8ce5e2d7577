package main

import (
	"archive/zip"
	"bytes"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"strings"

	"github.com/rogpeppe/go-internal/testscript"

	"github.com/otapack/otapack/formats/firmware"
	"github.com/otapack/otapack/formats/nrfdfu"
	"github.com/otapack/otapack/testvectors"
)

// Commands of scripts about images of vendors' bootloaders:
//
//	vector NAME FILE    a file of testvectors
//	golden NAME FILE    what imgtool made, of testvectors/mcuboot
//	pubkey NAME FILE    the public half of a key in testvectors/mcuboot
//	dfu NAME FILE       a package of testvectors/nrfdfu/verdicts.json
//	dfusame FILE FILE   compare two packages but for their signatures
//	samehex FILE FILE   compare the content of two Intel HEX files
func imageScriptCommands() map[string]func(*testscript.TestScript, bool, []string) {
	writes := func(usage string, content func(name string) ([]byte, error)) func(*testscript.TestScript, bool, []string) {
		return func(ts *testscript.TestScript, neg bool, args []string) {
			needArgs(ts, neg, args, usage, 2, 2)
			data, err := content(args[0])
			ts.Check(err)
			ts.Check(os.MkdirAll(filepath.Dir(ts.MkAbs(args[1])), 0o755))
			ts.Check(os.WriteFile(ts.MkAbs(args[1]), data, 0o644))
		}
	}
	return map[string]func(*testscript.TestScript, bool, []string){
		"vector":  writes("vector NAME FILE", testvectors.Read),
		"golden":  writes("golden NAME FILE", goldenFile),
		"pubkey":  writes("pubkey NAME FILE", publicPEM),
		"dfu":     writes("dfu NAME FILE", goldenPackage),
		"dfusame": scriptDFUSame,
		"samehex": scriptSameHex,
	}
}

// withImageCommands adds them to others.
func withImageCommands(commands map[string]func(*testscript.TestScript, bool, []string)) map[string]func(*testscript.TestScript, bool, []string) {
	maps.Copy(commands, imageScriptCommands())
	return commands
}

// goldenPackage is a package of verdicts.json as a .zip file.
func goldenPackage(name string) ([]byte, error) {
	var file struct {
		Cases []struct {
			File   string
			Images map[string]struct {
				Packet, Name, Firmware string
				Patch                  *struct {
					Offset int
					Value  byte
				}
				Cut             int
				Prepend, Append string
			}
		}
	}
	if err := testvectors.JSON("nrfdfu/verdicts.json", &file); err != nil {
		return nil, err
	}
	for _, c := range file.Cases {
		if c.File != name {
			continue
		}
		manifest := map[string]any{}
		var b bytes.Buffer
		z := zip.NewWriter(&b)
		add := func(name string, data []byte) error {
			w, err := z.Create(name)
			if err == nil {
				_, err = w.Write(data)
			}
			return err
		}
		for kind, image := range c.Images {
			data, err := goldenFirmware(image.Firmware)
			if err != nil {
				return nil, err
			}
			if image.Patch != nil {
				data[image.Patch.Offset] = image.Patch.Value
			}
			before, err1 := hex.DecodeString(image.Prepend)
			after, err2 := hex.DecodeString(image.Append)
			packet, err3 := hex.DecodeString(image.Packet)
			if err1 != nil || err2 != nil || err3 != nil {
				return nil, fmt.Errorf("%s: bad digits", name)
			}
			data = append(append(before, data[:len(data)-image.Cut]...), after...)
			if err := add(image.Name+".bin", data); err != nil {
				return nil, err
			}
			if err := add(image.Name+".dat", packet); err != nil {
				return nil, err
			}
			manifest[kind] = map[string]string{"bin_file": image.Name + ".bin", "dat_file": image.Name + ".dat"}
		}
		text, err := json.Marshal(map[string]any{"manifest": manifest})
		if err != nil {
			return nil, err
		}
		if err := add("manifest.json", text); err != nil {
			return nil, err
		}
		if err := z.Close(); err != nil {
			return nil, err
		}
		return b.Bytes(), nil
	}
	return nil, fmt.Errorf("no package %s", name)
}

// goldenFirmware is an input of testvectors/nrfdfu.
func goldenFirmware(name string) ([]byte, error) {
	for _, ext := range []string{".bin", ".hex"} {
		data, err := testvectors.Read("nrfdfu/in/" + name + ext)
		if err != nil {
			continue
		}
		f, err := nrfdfu.LoadFirmware(bytes.NewReader(data), firmware.Auto)
		return bytes.Clone(f.Data), err
	}
	return nil, fmt.Errorf("no input %s", name)
}

func scriptDFUSame(ts *testscript.TestScript, neg bool, args []string) {
	needArgs(ts, neg, args, "dfusame FILE FILE", 2, 2)
	var texts [2]string
	for i, name := range args {
		p, err := nrfdfu.ParsePackage([]byte(ts.ReadFile(name)))
		ts.Check(err)
		for _, image := range p.Images {
			packet, err := nrfdfu.ParsePacket(image.Packet)
			ts.Check(err)
			if packet.Signature != nil {
				clear(packet.Signature.Bytes)
			}
			for _, v := range packet.Init.BootValidations {
				clear(v.Bytes)
			}
			texts[i] += fmt.Sprintf("%s %x %x\n", image.Kind, packet.Encode(), image.Firmware)
		}
	}
	if texts[0] != texts[1] {
		ts.Fatalf("%s and %s differ:\n%.2000s\n%.2000s", args[0], args[1], texts[0], texts[1])
	}
}

// scriptSameHex compares what two Intel HEX files place where: other writers end
// lines and break records differently.
func scriptSameHex(ts *testscript.TestScript, neg bool, args []string) {
	needArgs(ts, neg, args, "samehex FILE FILE", 2, 2)
	var texts [2]string
	for i, name := range args {
		image, _, err := firmware.Load(strings.NewReader(ts.ReadFile(name)), firmware.Options{})
		ts.Check(err)
		for _, s := range image.Segments() {
			texts[i] += fmt.Sprintf("0x%x: %x\n", s.Addr, s.Data)
		}
	}
	if texts[0] != texts[1] {
		ts.Fatalf("%s and %s differ:\n%.2000s\n%.2000s", args[0], args[1], texts[0], texts[1])
	}
}
