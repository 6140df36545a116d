package cli

import (
	"context"
	"encoding/json"
	"fmt"
	"os"
	"slices"
	"strconv"
	"strings"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"
)

// input turns flags into an operation's input, as its fields say.
type input struct {
	cli *CLI
	// group comes before a secret's name in the environment: PGDROVER_PASSWORD alone is the one of login.
	group  string
	fields []field
	values map[string]*value
	// positional is the field that may be given without its flag, nil for none.
	positional *field
}

// value is the flag of one field.
type value struct {
	field field
	texts []string
	// stdin, file and prompt are where a secret or a long text comes from.
	stdin, prompt bool
	file          string
}

func (v *value) String() string { return strings.Join(v.texts, ",") }

func (v *value) Type() string {
	switch v.field.Kind {
	case kindInteger:
		return "int"
	case kindNumber:
		return "number"
	case kindBool:
		return "bool"
	case kindMap:
		return "key=value"
	case kindJSON:
		return "json"
	case kindRef:
		return v.field.Object
	default:
		return "string"
	}
}

// Set checks what can be checked here, so that a slip costs no round trip; the manager checks everything.
func (v *value) Set(text string) error {
	if _, err := v.parse(text); err != nil {
		return err
	}
	if v.field.Kind != kindList && v.field.Kind != kindMap {
		v.texts = nil
	}
	v.texts = append(v.texts, text)
	return nil
}

func (v *value) parse(text string) (any, error) {
	f := v.field
	switch f.Kind {
	case kindList:
		// As in COPY's text format: the empty text is a text.
		if f.Nullable && text == `\N` {
			return nil, nil
		}
		return parseAs(f.Element, f.Enum, text)
	case kindMap:
		k, val, ok := strings.Cut(text, "=")
		if !ok || k == "" {
			return nil, fmt.Errorf("must be key=value")
		}
		parsed, err := parseAs(f.Element, nil, val)
		return map[string]any{k: parsed}, err
	default:
		return parseAs(f.Kind, f.Enum, text)
	}
}

func parseAs(k kind, enum []string, text string) (any, error) {
	if len(enum) > 0 && !slices.Contains(enum, text) {
		return nil, fmt.Errorf("must be one of %s", strings.Join(enum, ", "))
	}
	switch k {
	case kindInteger:
		n, err := strconv.ParseInt(text, 10, 64)
		if err != nil {
			return nil, fmt.Errorf("must be a whole number")
		}
		return n, nil
	case kindNumber:
		n, err := strconv.ParseFloat(text, 64)
		if err != nil {
			return nil, fmt.Errorf("must be a number")
		}
		return n, nil
	case kindBool:
		b, err := strconv.ParseBool(text)
		if err != nil {
			return nil, fmt.Errorf("must be true or false")
		}
		return b, nil
	case kindJSON:
		if !json.Valid([]byte(text)) {
			return nil, fmt.Errorf("must be JSON")
		}
		return json.RawMessage(text), nil
	default:
		return text, nil
	}
}

// newInput makes the flags of fields in three sets: what must be given, what may be, and what is seldom needed.
func (c *CLI) newInput(group string, fields []field) (in *input, required, options, advanced *pflag.FlagSet) {
	in = &input{cli: c, group: group, fields: fields, values: map[string]*value{}}
	set := func() *pflag.FlagSet {
		fs := pflag.NewFlagSet("", pflag.ContinueOnError)
		fs.SortFlags = false
		return fs
	}
	required, options, advanced = set(), set(), set()
	for _, f := range fields {
		v := &value{field: f}
		in.values[f.Name] = v
		fs := options
		switch {
		case f.Required && len(f.Default) == 0:
			fs = required
		case f.Advanced:
			fs = advanced
		}
		if f.Kind == kindSecret {
			in.secretFlags(fs, v)
			continue
		}
		flag := fs.VarPF(v, f.Flag, "", f.help())
		if f.Kind == kindBool {
			flag.NoOptDefVal = "true"
		}
		if f.Long {
			fs.StringVar(&v.file, f.Flag+"-file", "", "file with it (- is standard input)")
		}
	}
	return in, required, options, advanced
}

func (in *input) secretFlags(fs *pflag.FlagSet, v *value) {
	f := v.field
	how := "asked for"
	if !f.Required {
		how = "none"
		fs.BoolVar(&v.prompt, f.Flag+"-prompt", false, "ask for: "+lowerFirst(f.Doc))
	}
	fs.BoolVar(&v.stdin, f.Flag+"-stdin", false,
		fmt.Sprintf("read from standard input: %s (default: $%s, else %s)", lowerFirst(f.Doc), in.variable(f), how))
	fs.StringVar(&v.file, f.Flag+"-file", "", "read it from a file")
}

// variable is the environment's name of a secret.
func (in *input) variable(f field) string {
	return "PGDROVER_" + strings.ToUpper(strings.ReplaceAll(in.group+"_"+f.Name, "-", "_"))
}

func (f field) help() string {
	text := lowerFirst(f.Doc)
	if f.Kind == kindRef {
		text += ", by name or id"
	}
	var notes []string
	if len(f.Enum) > 0 {
		notes = append(notes, strings.Join(f.Enum, ", "))
	}
	if f.Kind == kindList || f.Kind == kindMap {
		notes = append(notes, "may be repeated")
	}
	if f.Kind == kindList && f.Nullable {
		notes = append(notes, `\N is null`)
	}
	if f.Example != "" {
		notes = append(notes, "e.g. "+f.Example)
	}
	if len(f.Default) > 0 {
		notes = append(notes, "default "+strings.Trim(string(f.Default), `"`))
	}
	if len(notes) > 0 {
		text = strings.TrimSpace(text + " (" + strings.Join(notes, "; ") + ")")
	}
	// pflag takes a word in backquotes for the value's name.
	return strings.ReplaceAll(text, "`", "'")
}

// lowerFirst makes a sentence's beginning fit a flag's help; names and abbreviations keep their capitals.
func lowerFirst(s string) string {
	word, _, _ := strings.Cut(s, " ")
	if word == "" || (len(word) > 1 && strings.ToLower(word[1:]) != word[1:]) {
		return s
	}
	return strings.ToLower(s[:1]) + s[1:]
}

// complete offers an enum's values and the names of objects.
func (in *input) complete(cmd *cobra.Command) {
	for _, f := range in.fields {
		switch {
		case f.Kind == kindRef:
			_ = cmd.RegisterFlagCompletionFunc(f.Flag, in.cli.completeNames(f.Object))
		case len(f.Enum) > 0:
			_ = cmd.RegisterFlagCompletionFunc(f.Flag, cobra.FixedCompletions(f.Enum, cobra.ShellCompDirectiveNoFileComp))
		case f.Kind == kindBool:
			both := []string{"true", "false"}
			_ = cmd.RegisterFlagCompletionFunc(f.Flag, cobra.FixedCompletions(both, cobra.ShellCompDirectiveNoFileComp))
		}
	}
}

// build makes the input; args are the positional ones.
func (in *input) build(ctx context.Context, cmd *cobra.Command, cl *client, args []string) (map[string]any, error) {
	if len(args) > 0 && in.positional == nil {
		return nil, usageError(cmd, "%s is too much here: everything is given by flags", quote(args[0]))
	}
	if len(args) > 0 {
		v := in.values[in.positional.Name]
		if len(v.texts) > 0 && v.texts[0] != args[0] {
			return nil, usageError(cmd, "%s and --%s name two objects", quote(args[0]), in.positional.Flag)
		}
		v.texts = []string{args[0]}
	}
	if err := in.missing(cmd); err != nil {
		return nil, err
	}
	body := map[string]any{}
	for _, f := range in.fields {
		v := in.values[f.Name]
		val, given, err := in.one(ctx, cmd, cl, v)
		if err != nil {
			return nil, err
		}
		if given {
			body[f.Name] = val
		}
	}
	return body, nil
}

// missing names everything that must still be given, at once.
func (in *input) missing(cmd *cobra.Command) error {
	var names []string
	for _, f := range in.fields {
		v := in.values[f.Name]
		if !f.Required || len(f.Default) > 0 || len(v.texts) > 0 || v.file != "" || f.Kind == kindSecret {
			continue
		}
		if in.positional != nil && f.Name == in.positional.Name {
			names = append(names, strings.ToUpper(f.Object))
			continue
		}
		names = append(names, "--"+f.Flag)
	}
	if len(names) == 0 {
		return nil
	}
	return usageError(cmd, "missing: %s", strings.Join(names, ", "))
}

func (in *input) one(ctx context.Context, cmd *cobra.Command, cl *client, v *value) (val any, given bool, err error) {
	f := v.field
	switch {
	case f.Kind == kindSecret:
		text, err := in.secret(cmd, v)
		return text, text != "", err
	case v.file != "":
		text, err := in.text(cmd, v)
		return text, true, err
	case len(v.texts) == 0:
		if f.Required && len(f.Default) > 0 {
			return f.Default, true, nil
		}
		return nil, false, nil
	case f.Kind == kindRef:
		id, err := cl.find(ctx, f.Object, v.texts[0])
		return id, true, err
	case f.Kind == kindList:
		list := []any{}
		for _, t := range v.texts {
			item, err := v.parse(t)
			if err != nil {
				return nil, false, err
			}
			list = append(list, item)
		}
		return list, true, nil
	case f.Kind == kindMap:
		all := map[string]any{}
		for _, t := range v.texts {
			k, text, _ := strings.Cut(t, "=")
			if all[k], err = parseAs(f.Element, nil, text); err != nil {
				return nil, false, err
			}
		}
		return all, true, nil
	}
	val, err = v.parse(v.texts[0])
	return val, true, err
}

// text reads a long text from a file or standard input.
func (in *input) text(cmd *cobra.Command, v *value) (string, error) {
	if len(v.texts) > 0 {
		return "", usageError(cmd, "give --%s or --%s-file, not both", v.field.Flag, v.field.Flag)
	}
	b, err := in.cli.readFile(v.file)
	if err != nil {
		return "", usageError(cmd, "--%s-file: %v", v.field.Flag, err)
	}
	return string(b), nil
}

func (in *input) secret(cmd *cobra.Command, v *value) (string, error) {
	f := v.field
	fail := func(how string, err error) error { return usageError(cmd, "read the %s from %s: %v", f.Flag, how, err) }
	switch {
	case v.stdin && v.file != "":
		return "", usageError(cmd, "give --%s-stdin or --%s-file, not both", f.Flag, f.Flag)
	case v.stdin:
		s, err := readSecret(in.cli.In)
		if err != nil {
			return "", fail("standard input", err)
		}
		return s, nil
	case v.file != "":
		file, err := os.Open(v.file)
		if err != nil {
			return "", fail("its file", err)
		}
		defer file.Close()
		s, err := readSecret(file)
		if err != nil {
			return "", fail("its file", err)
		}
		return s, nil
	}
	if s := in.cli.Env(in.variable(f)); s != "" && !v.prompt {
		return s, nil
	}
	if !f.Required && !v.prompt {
		return "", nil
	}
	if !in.cli.Terminal.Interactive() {
		return "", usageError(cmd, "there is no terminal to ask for the %s: use --%s-stdin, --%s-file or %s",
			f.Flag, f.Flag, f.Flag, in.variable(f))
	}
	return in.askNew(cmd, f)
}

// askNew asks twice: nobody sees what was typed.
func (in *input) askNew(cmd *cobra.Command, f field) (string, error) {
	prompt := f.Doc
	if prompt == "" {
		prompt = f.Flag
	}
	first, err := in.cli.askSecret(prompt)
	if err != nil || first == "" {
		if err == nil && f.Required {
			err = usageError(cmd, "the %s is empty", f.Flag)
		}
		return "", err
	}
	again, err := in.cli.askSecret("Again")
	if err != nil {
		return "", err
	}
	if again != first {
		return "", usageError(cmd, "the two are not the same")
	}
	return first, nil
}
