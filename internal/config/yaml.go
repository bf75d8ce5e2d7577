package config

import (
	"bytes"
	"errors"
	"slices"
	"unicode/utf8"

	"github.com/goccy/go-yaml"
	"github.com/goccy/go-yaml/ast"
	"github.com/goccy/go-yaml/lexer"
	"github.com/goccy/go-yaml/parser"
	"github.com/goccy/go-yaml/token"
)

// The parser recurses without a bound, takes quadratic time for some errors and
// skips a document that follows an empty one. What it is handed is therefore
// bounded and restricted beforehand, token by token.
const (
	maxTokens = 10_000
	maxFlow   = 8  // nested [ and {
	maxColumn = 64 // of a key or a list item in block style, which bounds their nesting
)

// parse returns the root of the only document.
func (d *decoder) parse(data []byte) (value, bool) {
	if len(data) > MaxSize {
		d.fail("", "is larger than %d bytes", MaxSize)
		return value{}, false
	}
	data = bytes.TrimPrefix(data, []byte("\uFEFF"))
	if at, what := badCharacter(data); what != "" {
		d.failAt(at, "", "%s", what)
		return value{}, false
	}
	tokens := lexer.Tokenize(string(data))
	if at, what := refuse(tokens); what != "" {
		d.failAt(at, "", "%s", what)
		return value{}, false
	}
	file, err := parser.Parse(tokens, 0, parser.AllowDuplicateMapKey()) // duplicates are found by entries
	if err != nil {
		at, msg := position{}, "is not YAML"
		if e, ok := errors.AsType[yaml.Error](err); ok { // its own text repeats lines of the file
			at, msg = positionOf(e.GetToken()), e.GetMessage()
		}
		d.failAt(at, "", "%s", msg)
		return value{}, false
	}
	if len(file.Docs) != 1 || file.Docs[0].Body == nil {
		d.fail("", "is empty")
		return value{}, false
	}
	root := value{node: file.Docs[0].Body}
	if _, ok := root.node.(*ast.MappingNode); !ok {
		d.failAt(start(root.node), "", "has to be a mapping")
		return value{}, false
	}
	return root, true
}

// badCharacter finds what no YAML file may hold (YAML 1.2.2, section 5.1) and
// the parser would let through.
func badCharacter(data []byte) (position, string) {
	at := position{1, 1}
	for len(data) > 0 {
		r, n := utf8.DecodeRune(data)
		switch {
		case r == utf8.RuneError && n == 1:
			return at, "is not UTF-8"
		case r < ' ' && r != '\t' && r != '\n' && r != '\r', r == 0x7f:
			return at, "control character"
		}
		at.column++
		if r == '\n' {
			at = position{at.line + 1, 1}
		}
		data = data[n:]
	}
	return at, ""
}

// refuse finds what this package does not accept although YAML has it, and
// nesting that the parser would not survive.
func refuse(tokens token.Tokens) (at position, what string) {
	flow := 0
	for i, t := range tokens {
		if i == maxTokens {
			return positionOf(t), "the file is too long"
		}
		switch t.Type {
		case token.InvalidType:
			what = t.Error
		case token.AnchorType, token.AliasType:
			what = "anchors and aliases are not accepted"
		case token.MergeKeyType:
			what = "merge keys are not accepted"
		case token.TagType:
			what = "tags are not accepted"
		case token.DirectiveType:
			what = "directives are not accepted"
		case token.MappingKeyType:
			what = "keys with \"?\" are not accepted"
		case token.DocumentHeaderType:
			if !onlyComments(tokens[:i]) {
				what = "a second document is not accepted"
			}
		case token.DocumentEndType:
			if !onlyComments(tokens[i+1:]) {
				what = "nothing is accepted after the end of the document"
			}
		case token.SequenceStartType, token.MappingStartType:
			if flow++; flow > maxFlow {
				what = "nested too deeply"
			}
		case token.SequenceEndType, token.MappingEndType:
			flow = max(0, flow-1)
		}
		key := t.Type == token.SequenceEntryType || t.Next != nil && t.Next.Type == token.MappingValueType
		if flow == 0 && key && t.Position.Column > maxColumn {
			what = "nested too deeply"
		}
		if what != "" {
			return positionOf(t), what
		}
	}
	return position{}, ""
}

func onlyComments(tokens token.Tokens) bool {
	return !slices.ContainsFunc(tokens, func(t *token.Token) bool { return t.Type != token.CommentType })
}

func positionOf(t *token.Token) position {
	if t == nil || t.Position == nil {
		return position{}
	}
	return position{t.Position.Line, t.Position.Column}
}
