package config

import (
	"fmt"
	"net/netip"
	"reflect"
	"strconv"
	"strings"
	"time"
)

// A setting is a field with a yaml tag: a group (a struct), a list, or a value
// that is written as text.

// tag returns the name of a field in the file, or "".
func tag(f reflect.StructField) string { return f.Tag.Get("yaml") }

// tags returns the names of all settings of a group.
func tags(group reflect.Type) []string {
	var names []string
	for i := range group.NumField() {
		if name := tag(group.Field(i)); name != "" {
			names = append(names, name)
		}
	}
	return names
}

// fieldByTag returns the field of the group v with the given name.
func fieldByTag(v reflect.Value, name string) (field reflect.Value, ok bool) {
	for i := range v.NumField() {
		if name != "" && tag(v.Type().Field(i)) == name {
			return v.Field(i), true
		}
	}
	return reflect.Value{}, false
}

// isText reports whether a setting of type t is written as one text.
func isText(t reflect.Type) bool {
	return t == reflect.TypeFor[netip.Prefix]() || t.Kind() != reflect.Struct && t.Kind() != reflect.Slice
}

// isTexts reports whether a setting of type t is a list of texts.
func isTexts(t reflect.Type) bool { return t.Kind() == reflect.Slice && isText(t.Elem()) }

// grow appends an element with its defaults to the slice v.
func grow(v reflect.Value) {
	var element reflect.Value
	switch v.Type().Elem() {
	case reflect.TypeFor[App]():
		element = reflect.ValueOf(DefaultApp())
	case reflect.TypeFor[Endpoint]():
		element = reflect.ValueOf(DefaultEndpoint())
	default:
		element = reflect.Zero(v.Type().Elem())
	}
	v.Set(reflect.Append(v, element))
}

// join returns the key of a setting in a group.
func join(group, name string) string {
	if group == "" {
		return name
	}
	return group + "." + name
}

// index returns the key of an element of a list.
func index(list string, i int) string { return fmt.Sprintf("%s[%d]", list, i) }

// setText sets v, the setting key, which is written as one text.
func (l *loader) setText(key, text string, v reflect.Value) {
	switch p := v.Addr().Interface().(type) {
	case *string:
		*p = text
	case *int:
		n, err := strconv.Atoi(text)
		if err != nil {
			l.report(key, "%q is not a whole number; write one such as %d", text, *p)
			return
		}
		*p = n
	case *uint32:
		n, err := strconv.ParseUint(text, 10, 32)
		if err != nil {
			l.report(key, "%q is not a whole number from 1 to 4294967295", text)
			return
		}
		*p = uint32(n)
	case *time.Duration:
		d, err := time.ParseDuration(text)
		if err != nil {
			if _, err := strconv.ParseFloat(text, 64); err == nil {
				l.report(key, "%q has no unit; write %ss, %sm or %sh", text, text, text, text)
			} else {
				l.report(key, "%q is not a duration; write one such as 500ms, 10s, 2m or 24h", text)
			}
			return
		}
		*p = d
	case *netip.Prefix:
		l.setPrefix(key, text, p)
	default:
		panic(fmt.Sprintf("config: setting %s of type %T", key, p))
	}
}

// setPrefix sets a network.
func (l *loader) setPrefix(key, text string, p *netip.Prefix) {
	prefix, err := netip.ParsePrefix(text)
	if err != nil {
		if addr, err := netip.ParseAddr(text); err == nil && addr.Zone() == "" {
			l.report(key, "%s is an address, not a network; write %s/%d", text, text, addr.BitLen())
		} else {
			l.report(key, "%q is not a network; write one such as 10.0.0.0/8 or fd00::/8", text)
		}
		return
	}
	switch {
	case prefix.Addr().Is4In6():
		l.report(key, "%s is an IPv4 network in the form of IPv6, which matches nothing; write it as one of IPv4", text)
	case prefix != prefix.Masked():
		l.report(key, "%s is an address within a network; write %s for the network", text, prefix.Masked())
	default:
		*p = prefix
	}
}

// setTexts sets v, a list of texts that are separated by commas.
func (l *loader) setTexts(key, text string, at position, v reflect.Value) {
	v.Set(reflect.MakeSlice(v.Type(), 0, 0))
	if strings.TrimSpace(text) == "" {
		return
	}
	for i, part := range strings.Split(text, ",") {
		l.cfg.origin.at[index(key, i)] = at
		grow(v)
		l.setText(index(key, i), strings.TrimSpace(part), v.Index(i))
	}
}
