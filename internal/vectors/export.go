package vectors

import (
	"encoding/json"
	"fmt"
	"path"

	"github.com/otapack/otapack/testvectors/verdicts"
)

// ExportSchema is the schema of what ExportJSON writes.
const ExportSchema = "otapack.vectors-export/1"

// exported is a family with everything written out.
type exported struct {
	Schema string         `json:"schema"`
	Family string         `json:"family"`
	Title  string         `json:"title"`
	Steps  []string       `json:"steps"`
	Cases  []exportedCase `json:"cases"`
}

type exportedCase struct {
	ID          string           `json:"id"`
	Description string           `json:"description"`
	Device      verdicts.Device  `json:"device"`
	Inputs      []exportedInput  `json:"inputs"`
	Want        Answer           `json:"want"`
	Answer      string           `json:"answer,omitempty"`
	Source      string           `json:"source"`
	Released    verdicts.Content `json:"released"`
}

type exportedInput struct {
	Name string `json:"name"`
	verdicts.Content
	Data []byte `json:"data"` // base64
}

// ExportJSON returns a family as one JSON object that needs no other file: the
// device stands in every case, and inputs are base64.
func ExportJSON(f *verdicts.Family) ([]byte, error) {
	e := exported{Schema: ExportSchema, Family: f.Name, Title: f.Title, Steps: f.Steps, Cases: []exportedCase{}}
	for _, c := range f.Cases {
		out := exportedCase{
			ID: c.ID, Description: c.Description, Device: f.Devices[c.Device], Want: Want(c), Answer: c.Answer, Source: c.Source, Released: c.Released,
		}
		for _, in := range c.Inputs {
			data, err := f.Materialise(in)
			if err != nil {
				return nil, err
			}
			out.Inputs = append(out.Inputs, exportedInput{in.Name, in.Content, data})
		}
		e.Cases = append(e.Cases, out)
	}
	data, err := json.MarshalIndent(e, "", " ")
	if err != nil {
		return nil, fmt.Errorf("vectors: %w", err)
	}
	return append(data, '\n'), nil
}

// ExportFiles gives every file of a family to write: for each case a folder
// with its inputs, the question as Run asks it, with names for paths, in
// case.json, and in want the answer.
func ExportFiles(f *verdicts.Family, write func(name string, data []byte) error) error {
	for _, c := range f.Cases {
		q := Question{Schema: QuestionSchema, ID: c.ID, Family: f.Name, Device: f.Devices[c.Device], Inputs: map[string]string{}}
		for _, in := range c.Inputs {
			data, err := f.Materialise(in)
			if err != nil {
				return err
			}
			q.Inputs[in.Name] = in.Name
			if err := write(path.Join(c.ID, in.Name), data); err != nil {
				return err
			}
		}
		question, err := json.Marshal(q)
		if err != nil {
			return fmt.Errorf("vectors: %w", err)
		}
		if err := write(path.Join(c.ID, "case.json"), append(question, '\n')); err != nil {
			return err
		}
		if err := write(path.Join(c.ID, "want"), []byte(Want(c).String()+"\n")); err != nil {
			return err
		}
	}
	return nil
}
