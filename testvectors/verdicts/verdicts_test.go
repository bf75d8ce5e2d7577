package verdicts

import (
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"regexp"
	"slices"
	"strings"
	"testing"
)

func load(t *testing.T, name string) *Family {
	t.Helper()
	f, err := Load(name)
	if err != nil {
		t.Fatal(err)
	}
	return f
}

// TestFamilies checks what a schema cannot say.
func TestFamilies(t *testing.T) {
	total, ids := 0, map[string]bool{}
	for _, name := range Families() {
		f := load(t, name)
		total += len(f.Cases)
		used, devices := map[string]bool{}, map[string]bool{}
		steps, sources := map[string]int{}, map[string]int{}
		for _, c := range f.Cases {
			if f.Name != name || !strings.HasPrefix(c.ID, name+"/") || ids[c.ID] {
				t.Errorf("%s: id is of another family, or twice", c.ID)
			}
			ids[c.ID] = true
			if _, ok := f.Devices[c.Device]; !ok {
				t.Errorf("%s: no device %q", c.ID, c.Device)
			}
			devices[c.Device] = true
			switch refused := c.Verdict == Refuse; {
			case refused != (c.Step != "") || refused != (c.Reason != ""):
				t.Errorf("%s: %s with step %q and reason %q", c.ID, c.Verdict, c.Step, c.Reason)
			case refused && !slices.Contains(f.Steps, c.Step):
				t.Errorf("%s: step %q is not in the list", c.ID, c.Step)
			}
			steps[c.Step]++
			sources[c.Source]++
			for _, in := range c.Inputs {
				used[in.Base] = true
				if _, err := f.Materialise(in); err != nil {
					t.Errorf("%s: %v", c.ID, err)
				}
			}
		}
		for file := range f.Files {
			if !used[file] {
				t.Errorf("%s: file %s is used by no case", name, file)
			}
		}
		for d := range f.Devices {
			if !devices[d] {
				t.Errorf("%s: device %s is used by no case", name, d)
			}
		}
		if steps[""] < 15 {
			t.Errorf("%s: %d cases are taken", name, steps[""])
		}
		t.Log(name, len(f.Cases), sources, steps)
	}
	if total < 600 {
		t.Errorf("%d cases", total)
	}
}

// Every step of every family is the first to fail in some case, except for what
// a bootloader never refuses: with one bank, a patch has no base to look at, and
// what looks at results of earlier steps finds only what a fault has let pass.
func TestStepsAreCovered(t *testing.T) {
	never := map[string][]string{"suit-stm32l4": {"base"}, "mcuboot": {"bootable"}, "sbsfu": {"flow", "execute"}, "wolfboot": {"sanity"}}
	for _, name := range Families() {
		f := load(t, name)
		for _, step := range f.Steps {
			if !slices.Contains(never[name], step) && !slices.ContainsFunc(f.Cases, func(c Case) bool { return c.Step == step }) {
				t.Errorf("%s: no case fails in step %s", name, step)
			}
		}
	}
}

func TestMaterialiseRefuses(t *testing.T) {
	f := load(t, "nrfdfu")
	in := slices.Clone(f.Cases[0].Inputs)[0]
	for name, change := range map[string]func(*Input){
		"another base":            func(in *Input) { in.Base = "none" },
		"another digest":          func(in *Input) { in.SHA256 = make(Hex, 32) },
		"another size":            func(in *Input) { in.Size++ },
		"edit past the end":       func(in *Input) { in.Edits = []Edit{{At: 1 << 20}} },
		"edit out of order":       func(in *Input) { in.Edits = []Edit{{At: 2, Remove: 2}, {At: 3}} },
		"edit before it all":      func(in *Input) { in.Edits = []Edit{{At: -1}} },
		"edit past the end of it": func(in *Input) { in.Edits = []Edit{{At: 1, Remove: 1 << 62}} },
		"repeats for ever":        func(in *Input) { in.Edits = []Edit{{Insert: Hex{1}, Times: 1 << 62}} },
		"removes less":            func(in *Input) { in.Edits = []Edit{{At: 1, Remove: -1}} },
	} {
		bad := in
		if change(&bad); bad.Name != "" {
			if _, err := f.Materialise(bad); err == nil {
				t.Errorf("%s: taken", name)
			}
		}
	}
	if _, err := Load("none"); !errors.Is(err, ErrFamily) || !strings.Contains(err.Error(), "mcuboot") {
		t.Errorf("got %v", err)
	}
	if _, err := f.File("none"); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("got %v", err)
	}
	if b, err := f.Input(f.Cases[0], "none"); b != nil || err != nil {
		t.Errorf("got %x, %v", b, err)
	}
	for _, bad := range []string{"{", `{"schema": "otapack.vectors/2"}`, `{"schema": "otapack.vectors/1", "more": 1}`, `{"schema": "otapack.vectors/1", "files": {"a": {"sha256": "0"}}}`} {
		if _, err := Decode([]byte(bad)); err == nil {
			t.Errorf("%s: taken", bad)
		}
	}
}

// TestSchema holds the indexes against schema.json.
func TestSchema(t *testing.T) {
	text, err := JSONSchema()
	if err != nil {
		t.Fatal(err)
	}
	var root map[string]any
	if err := json.Unmarshal(text, &root); err != nil {
		t.Fatal(err)
	}
	for _, name := range Families() {
		data, err := files.ReadFile(name + ".json")
		if err != nil {
			t.Fatal(err)
		}
		var index map[string]any
		if err := json.Unmarshal(data, &index); err != nil {
			t.Fatal(err)
		}
		for _, e := range (schema{root}).check(name, root, index) {
			t.Error(e)
		}
		// The checker refuses what the schema forbids.
		index["cases"] = index["cases"].([]any)[:1]
		for want, change := range map[string]func(map[string]any){
			"is not there":  func(c map[string]any) { delete(c, "verdict") },
			"is not one of": func(c map[string]any) { c["verdict"] = "maybe" },
			"is not known":  func(c map[string]any) { c["verdickt"] = "accept" },
			"is no string":  func(c map[string]any) { c["id"] = 1.0 },
			"does not look": func(c map[string]any) { c["id"] = "No Id" },
			"is too short":  func(c map[string]any) { c["inputs"] = []any{} },
			"is too small":  func(c map[string]any) { c["released"].(map[string]any)["size"] = -1.0 },
		} {
			first := index["cases"].([]any)[0].(map[string]any)
			kept := maps.Clone(first)
			kept["released"] = maps.Clone(first["released"].(map[string]any))
			change(kept)
			index["cases"].([]any)[0] = kept
			if errs := (schema{root}).check(name, root, index); len(errs) != 1 || !strings.Contains(errs[0], want) {
				t.Errorf("got %q, want an error %q", errs, want)
			}
			index["cases"].([]any)[0] = first
		}
	}
}

// schema is as much of JSON Schema as ours uses.
type schema struct{ root map[string]any }

func (s schema) check(at string, rule map[string]any, value any) (errs []string) {
	bad := func(format string, args ...any) {
		errs = append(errs, at+" "+fmt.Sprintf(format, args...))
	}
	if ref, ok := rule["$ref"].(string); ok {
		name := strings.TrimPrefix(ref, "#/$defs/")
		target, ok := s.root["$defs"].(map[string]any)[name].(map[string]any)
		if !ok {
			bad("refers to %s, which is not there", ref)
			return errs
		}
		errs = s.check(at, target, value)
	}
	if want, ok := rule["const"]; ok && want != value {
		bad("is not one of %v", want)
	}
	if want, ok := rule["enum"].([]any); ok && !slices.Contains(want, value) {
		bad("is not one of %v", want)
	}
	switch rule["type"] {
	case "object":
		object, ok := value.(map[string]any)
		if !ok {
			bad("is no object")
			return errs
		}
		properties, _ := rule["properties"].(map[string]any)
		required, _ := rule["required"].([]any)
		for _, name := range required {
			if _, ok := object[name.(string)]; !ok {
				bad("%s is not there", name)
			}
		}
		for name, v := range object {
			below, ok := properties[name].(map[string]any)
			if !ok {
				below, ok = rule["additionalProperties"].(map[string]any)
			}
			if !ok {
				bad("%s is not known", name)
				continue
			}
			errs = append(errs, s.check(at+"."+name, below, v)...)
		}
	case "array":
		list, ok := value.([]any)
		if !ok {
			bad("is no array")
			return errs
		}
		if least, ok := rule["minItems"].(float64); ok && float64(len(list)) < least {
			bad("is too short")
		}
		for i, v := range list {
			errs = append(errs, s.check(fmt.Sprintf("%s.%d", at, i), rule["items"].(map[string]any), v)...)
		}
	case "string":
		text, ok := value.(string)
		if !ok {
			bad("is no string")
			return errs
		}
		if pattern, ok := rule["pattern"].(string); ok && !regexp.MustCompile(pattern).MatchString(text) {
			bad("does not look like %s", pattern)
		}
	case "integer":
		n, ok := value.(float64)
		if !ok || n != float64(int64(n)) {
			bad("is no integer")
			return errs
		}
		if least, ok := rule["minimum"].(float64); ok && n < least {
			bad("is too small")
		}
		if most, ok := rule["maximum"].(float64); ok && n > most {
			bad("is too large")
		}
	case "boolean":
		if _, ok := value.(bool); !ok {
			bad("is no boolean")
		}
	case nil:
	default:
		bad("has the unknown type %v", rule["type"])
	}
	return errs
}
