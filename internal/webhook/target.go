package webhook

import (
	"fmt"
	"net/netip"
	"syscall"
)

// targets says which addresses callbacks may be sent to: public unicast ones,
// and those of the networks that the operator listed.
type targets struct{ allow []netip.Prefix }

// newTargets takes the operator's list; IPv4 networks may be written as
// mapped into IPv6.
func newTargets(allow []netip.Prefix) targets {
	var t targets
	for _, p := range allow {
		if a := p.Addr(); a.Is4In6() && p.Bits() >= 96 {
			p = netip.PrefixFrom(a.Unmap(), p.Bits()-96)
		}
		t.allow = append(t.allow, p.Masked())
	}
	return t
}

// TargetError is the refusal to connect to an address that an endpoint's
// host name stands for.
type TargetError struct {
	Addr netip.Addr
	// Range is the special-purpose network of the address, which an operator
	// may list in callbacks.allow_networks. It is the zero Prefix when no
	// list can allow the address.
	Range netip.Prefix
	kind  string
}

// Error says which line of the configuration would allow the address.
func (e *TargetError) Error() string {
	if !e.Range.IsValid() {
		return fmt.Sprintf("%s is %s: callbacks are never sent there", e.Addr, e.kind)
	}
	return fmt.Sprintf("%s is not a public address: add %q to callbacks.allow_networks", e.Addr, e.Range)
}

// check gives a *TargetError when callbacks must not be sent to the address.
func (t targets) check(addr netip.Addr) error {
	addr = addr.Unmap().WithZone("")
	if kind := forbidden(addr); kind != "" {
		return &TargetError{Addr: addr, kind: kind}
	}
	if v4 := embedded(addr); v4.IsValid() && forbidden(v4) != "" {
		return &TargetError{Addr: addr, kind: "a way to " + v4.String() + ", which is " + forbidden(v4)}
	}
	for _, p := range t.allow {
		if p.Contains(addr) {
			return nil
		}
	}
	if p := special(addr); p.IsValid() {
		return &TargetError{Addr: addr, Range: p}
	}
	return nil
}

// control is called by the dialer with the address that it is about to
// connect to, after name resolution, so that no name can be made to point
// elsewhere between the check and the connection.
func (t targets) control(_, address string, _ syscall.RawConn) error {
	ap, err := netip.ParseAddrPort(address)
	if err != nil {
		return fmt.Errorf("callback target %q: %w", address, err)
	}
	return t.check(ap.Addr())
}

// forbidden says why no list can allow the address; "" when one can.
// Link-local addresses are where clouds keep their metadata services.
func forbidden(a netip.Addr) string {
	switch {
	case !a.IsValid(), a.IsUnspecified():
		return "unspecified"
	case a.IsLinkLocalUnicast():
		return "link-local"
	case a.IsMulticast():
		return "multicast"
	}
	return ""
}

// embedded is the IPv4 address to which a translator or tunnel takes packets
// for an IPv6 address; the zero Addr when there is none.
func embedded(a netip.Addr) netip.Addr {
	if !a.Is6() {
		return netip.Addr{}
	}
	b := a.As16()
	switch {
	case nat64.Contains(a):
		return netip.AddrFrom4([4]byte(b[12:]))
	case sixToFour.Contains(a):
		return netip.AddrFrom4([4]byte(b[2:6]))
	case teredo.Contains(a):
		return netip.AddrFrom4([4]byte{^b[12], ^b[13], ^b[14], ^b[15]})
	}
	return netip.Addr{}
}

var (
	nat64     = netip.MustParsePrefix("64:ff9b::/96")
	sixToFour = netip.MustParsePrefix("2002::/16")
	teredo    = netip.MustParsePrefix("2001::/32")

	globalUnicast = netip.MustParsePrefix("2000::/3")
)

// specialRanges are the networks that are not public, from the IANA registries
// of special-purpose addresses. Where ranges overlap the narrower one comes
// first.
var specialRanges = func() (list []netip.Prefix) {
	for _, s := range []string{
		"0.0.0.0/8",       // this network
		"10.0.0.0/8",      // private
		"100.64.0.0/10",   // shared by carriers
		"127.0.0.0/8",     // loopback
		"172.16.0.0/12",   // private
		"192.0.0.0/24",    // protocol assignments
		"192.0.2.0/24",    // documentation
		"192.88.99.0/24",  // 6to4 relays, deprecated
		"192.168.0.0/16",  // private
		"198.18.0.0/15",   // benchmarking
		"198.51.100.0/24", // documentation
		"203.0.113.0/24",  // documentation
		"240.0.0.0/4",     // reserved, broadcast

		"::1/128",        // loopback
		"::/96",          // IPv4-compatible, deprecated
		"64:ff9b::/96",   // NAT64
		"64:ff9b:1::/48", // NAT64, local
		"100::/64",       // discard
		"100:0:0:1::/64", // dummy
		"2001::/32",      // Teredo
		"2001::/23",      // protocol assignments
		"2001:db8::/32",  // documentation
		"2002::/16",      // 6to4
		"3fff::/20",      // documentation
		"5f00::/16",      // segment routing
		"fc00::/7",       // unique local
		"fec0::/10",      // site-local, deprecated
	} {
		list = append(list, netip.MustParsePrefix(s))
	}
	return list
}()

// special is the special-purpose network of an address; the zero Prefix when
// the address is public. IPv6 outside of what is assigned for global use is
// reserved.
func special(a netip.Addr) netip.Prefix {
	for _, p := range specialRanges {
		if p.Contains(a) {
			return p
		}
	}
	if a.Is6() && !globalUnicast.Contains(a) {
		return netip.PrefixFrom(a, 128)
	}
	return netip.Prefix{}
}
