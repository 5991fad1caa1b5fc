package cgroup

import (
	"fmt"
	"maps"
	"math"
	"slices"
	"strconv"
	"strings"

	specs "github.com/opencontainers/runtime-spec/specs-go"
)

// scopeProperties are what a scope starts with.
func scopeProperties(p Plan, o Options) ([]property, error) {
	description := o.Description
	if description == "" {
		description = "container " + p.Unit
	}
	list := []property{
		{"Description", description},
		{"Slice", p.Slice},
		{"PIDs", []uint32{uint32(o.PID)}},
		// Ours to divide and to write, with all controllers there are.
		{"Delegate", true},
		{"DefaultDependencies", false},
		// Do not keep a unit because its container was killed for memory.
		{"CollectMode", "inactive-or-failed"},
		{"MemoryAccounting", true},
		{"CPUAccounting", true},
		{"IOAccounting", true},
		{"TasksAccounting", true},
	}
	limits, err := limitProperties(o.Resources)
	if err != nil {
		return nil, err
	}
	list = append(list, limits...)
	for _, key := range slices.Sorted(maps.Keys(o.Annotations)) {
		name, ok := strings.CutPrefix(key, "org.systemd.property.")
		if !ok {
			continue
		}
		given, err := annotated(name, o.Annotations[key])
		if err != nil {
			return nil, fmt.Errorf("annotation %s: %w", key, err)
		}
		// Given once: the annotation counts.
		list = slices.DeleteFunc(list, func(p property) bool { return p.name == given.name })
		list = append(list, given)
	}
	return list, nil
}

// limitProperties are limits in systemd's words. What it has no word for is
// only written to the group's files, which Delegate= leaves to us.
func limitProperties(r *specs.LinuxResources) ([]property, error) {
	all, err := settings(r)
	if err != nil {
		return nil, err
	}
	var list []property
	for _, s := range all {
		name := propertyOf(s.files[0])
		switch {
		case s.files[0] == "cpuset.cpus" || s.files[0] == "cpuset.mems":
			bits, err := cpuBits(s.value)
			if err != nil {
				return nil, err
			}
			list = append(list, property{name, bits})
		case s.files[0] == "cpu.max":
			list = append(list, quotaProperties(r.CPU, s)...)
		case name != "":
			n, err := parseMax(strings.TrimPrefix(s.value, "default "))
			if err != nil {
				continue // for a device, or a suffix that only the kernel reads
			}
			list = append(list, property{name, n})
		}
	}
	return list, nil
}

// propertyOf is the property that is a number with a file of its own,
// systemd.resource-control(5), "" if there is none.
func propertyOf(file string) string {
	switch file {
	case "memory.max":
		return "MemoryMax"
	case "memory.low":
		return "MemoryLow"
	case "memory.high":
		return "MemoryHigh"
	case "memory.min":
		return "MemoryMin"
	case "memory.swap.max":
		return "MemorySwapMax"
	case "cpu.weight":
		return "CPUWeight"
	case "pids.max":
		return "TasksMax"
	case "io.weight":
		return "IOWeight"
	case "cpuset.cpus":
		return "AllowedCPUs"
	case "cpuset.mems":
		return "AllowedMemoryNodes"
	}
	return ""
}

// quotaProperties are a quota, which systemd has by the second, and its
// period. A period alone is no property.
func quotaProperties(c *specs.LinuxCPU, s setting) []property {
	quota, period := int64(0), uint64(0)
	if c != nil {
		quota = number(c.Quota)
		if c.Period != nil {
			period = *c.Period
		}
	}
	if c == nil || quota == 0 && !s.keep { // of resources.unified
		f := append(strings.Fields(s.value), strconv.Itoa(defaultPeriod))
		n, err := parseMax(f[0])
		period, _ = strconv.ParseUint(f[1], 10, 64)
		if err != nil {
			return nil
		}
		quota = int64(min(n, math.MaxInt64))
		if n == Unlimited {
			quota = -1
		}
	}
	if quota == 0 {
		return nil
	}
	list := []property{{"CPUQuotaPerSecUSec", quotaPerSecond(quota, period)}}
	if period != 0 && period != defaultPeriod {
		list = append(list, property{"CPUQuotaPeriodUSec", period})
	}
	return list
}

// annotated reads a property from an annotation, its value in the text form
// of GVariant, as other runtimes take it. A name that ends in Sec is one in
// seconds, which systemd has in microseconds.
func annotated(name, text string) (property, error) {
	if name == "" || strings.Trim(name, unitChars[:52]) != "" {
		return property{}, fmt.Errorf("%q is no property", name)
	}
	switch name {
	case "PIDs", "Slice", "Delegate", "DelegateSubgroup": // what Create relies on
		return property{}, fmt.Errorf("%s is not for containers to set", name)
	}
	value, err := parseVariant(strings.TrimSpace(text))
	if err != nil {
		return property{}, err
	}
	stem, ok := strings.CutSuffix(name, "Sec")
	if !ok || strings.HasSuffix(stem, "U") {
		return property{name, value}, nil
	}
	seconds, err := strconv.ParseFloat(fmt.Sprint(value), 64)
	if err != nil || seconds < 0 || seconds > math.MaxUint64/2e6 {
		return property{}, fmt.Errorf("%s is no number of seconds", text)
	}
	return property{stem + "USec", uint64(seconds * 1e6)}, nil
}

// parseVariant reads the values that properties have: strings in quotes,
// truth values, numbers, which are int32 or double unless a type is named,
// and arrays of strings.
func parseVariant(text string) (any, error) {
	kind, number, typed := strings.Cut(text, " ")
	switch {
	case text == "true" || text == "false":
		return text == "true", nil
	case strings.HasPrefix(text, "'") || strings.HasPrefix(text, `"`):
		s, rest, err := quoted(text)
		if err == nil && rest != "" {
			err = fmt.Errorf("after the string: %q", rest)
		}
		return s, err
	case strings.HasPrefix(text, "["):
		return stringArray(text)
	case typed:
		return typedNumber(kind, strings.TrimSpace(number))
	case strings.Contains(text, "."):
		return strconv.ParseFloat(text, 64)
	}
	return typedNumber("int32", text)
}

func typedNumber(kind, text string) (any, error) {
	switch kind {
	case "byte":
		n, err := strconv.ParseUint(text, 0, 8)
		return byte(n), err
	case "int32":
		n, err := strconv.ParseInt(text, 0, 32)
		return int32(n), err
	case "uint32":
		n, err := strconv.ParseUint(text, 0, 32)
		return uint32(n), err
	case "int64":
		n, err := strconv.ParseInt(text, 0, 64)
		return n, err
	case "uint64":
		n, err := strconv.ParseUint(text, 0, 64)
		return n, err
	case "double":
		return strconv.ParseFloat(text, 64)
	}
	return nil, fmt.Errorf("%q is no GVariant type that properties have", kind)
}

// quoted takes a string off the front of text.
func quoted(text string) (s, rest string, err error) {
	for i := 1; i < len(text); i++ {
		switch {
		case text[i] == text[0]:
			return s, strings.TrimSpace(text[i+1:]), nil
		case text[i] == '\\' && i+1 < len(text):
			i++
			s += string(text[i])
		case text[i] == 0:
			return "", "", fmt.Errorf("a string with a zero byte")
		default:
			s += text[i : i+1]
		}
	}
	return "", "", fmt.Errorf("%s: the quote is not closed", text)
}

func stringArray(text string) ([]string, error) {
	inner, ok := strings.CutSuffix(text[1:], "]")
	inner = strings.TrimSpace(inner)
	list := []string{}
	for ok && inner != "" {
		if !strings.ContainsRune(`'"`, rune(inner[0])) {
			return nil, fmt.Errorf("%s: only strings can be in an array", text)
		}
		s, rest, err := quoted(inner)
		if err != nil {
			return nil, err
		}
		list = append(list, s)
		if inner, ok = strings.CutPrefix(rest, ","); !ok && rest == "" {
			return list, nil
		}
		inner = strings.TrimSpace(inner)
	}
	if !ok {
		return nil, fmt.Errorf("%s: the array is not closed", text)
	}
	return list, nil
}
