package webhook

import (
	"errors"
	"net"
	"net/netip"
	"strings"
	"testing"
)

func TestTargets(t *testing.T) {
	const public, never = "", "never"
	for _, test := range []struct{ addr, want string }{ // want: what to add
		{"1.1.1.1", public},
		{"8.8.8.8", public},
		{"172.15.255.255", public},
		{"172.32.0.1", public},
		{"100.63.255.255", public},
		{"100.128.0.1", public},
		{"192.0.1.1", public},
		{"223.255.255.255", public},
		{"2606:4700::1111", public},
		{"2a00::1", public},
		{"::ffff:8.8.8.8", public},
		{"2002:808:808::1", "2002::/16"},

		{"127.0.0.1", "127.0.0.0/8"},
		{"127.255.255.255", "127.0.0.0/8"},
		{"::ffff:127.0.0.1", "127.0.0.0/8"},
		{"10.1.2.3", "10.0.0.0/8"},
		{"172.16.0.1", "172.16.0.0/12"},
		{"172.31.255.255", "172.16.0.0/12"},
		{"192.168.1.1", "192.168.0.0/16"},
		{"100.64.0.1", "100.64.0.0/10"},
		{"0.1.2.3", "0.0.0.0/8"},
		{"192.0.0.8", "192.0.0.0/24"},
		{"192.0.2.1", "192.0.2.0/24"},
		{"192.88.99.1", "192.88.99.0/24"},
		{"198.19.0.1", "198.18.0.0/15"},
		{"198.51.100.1", "198.51.100.0/24"},
		{"203.0.113.1", "203.0.113.0/24"},
		{"240.0.0.1", "240.0.0.0/4"},
		{"255.255.255.255", "240.0.0.0/4"},
		{"::1", "::1/128"},
		{"::8.8.8.8", "::/96"},
		{"64:ff9b::808:808", "64:ff9b::/96"},
		{"64:ff9b:1::1", "64:ff9b:1::/48"},
		{"100::1", "100::/64"},
		{"2001::f7f7:f7f7", "2001::/32"},
		{"2001:2::1", "2001::/23"},
		{"2001:20::1", "2001::/23"},
		{"2001:db8::1", "2001:db8::/32"},
		{"3fff::1", "3fff::/20"},
		{"5f00::1", "5f00::/16"},
		{"fd00::1", "fc00::/7"},
		{"fec0::1", "fec0::/10"},
		{"4000::1", "4000::1/128"},

		{"0.0.0.0", never},
		{"::", never},
		{"169.254.169.254", never},
		{"::ffff:169.254.169.254", never},
		{"fe80::1", never},
		{"fe80::1%eth0", never},
		{"224.0.0.1", never},
		{"239.255.255.255", never},
		{"ff02::1", never},
		{"64:ff9b::169.254.169.254", never}, // NAT64 to the metadata service
		{"2002:a9fe:a9fe::1", never},        // 6to4 to it
		{"2001::5601:5601", never},          // Teredo to it
	} {
		addr := netip.MustParseAddr(test.addr)
		err := newTargets(nil).check(addr)
		everything := newTargets([]netip.Prefix{netip.MustParsePrefix("0.0.0.0/0"), netip.MustParsePrefix("::/0")})
		switch {
		case test.want == public && err != nil:
			t.Errorf("%s: %v, want it allowed", test.addr, err)
		case test.want == never && (err == nil || !strings.HasSuffix(err.Error(), "callbacks are never sent there")):
			t.Errorf("%s: %v, want never", test.addr, err)
		case test.want == never && everything.check(addr) == nil:
			t.Errorf("%s is allowed by a list", test.addr)
		case test.want == public || test.want == never:
		case err == nil || err.Error() != addr.Unmap().String()+` is not a public address: add "`+test.want+`" to callbacks.allow_networks`:
			t.Errorf("%s: %v, want %s", test.addr, err, test.want)
		case newTargets([]netip.Prefix{netip.MustParsePrefix(test.want)}).check(addr) != nil:
			t.Errorf("%s is refused although %s is allowed", test.addr, test.want)
		}
	}
}

func TestAllowedNetworks(t *testing.T) {
	allowed := newTargets([]netip.Prefix{netip.MustParsePrefix("10.1.0.9/16"), netip.MustParsePrefix("::ffff:192.168.7.0/120")})
	for addr, want := range map[string]bool{
		"10.1.2.3": true, "::ffff:10.1.2.3": true, "10.2.0.1": false, "192.168.7.9": true, "192.168.8.1": false, "9.9.9.9": true,
	} {
		if got := allowed.check(netip.MustParseAddr(addr)) == nil; got != want {
			t.Errorf("%s allowed: %v, want %v", addr, got, want)
		}
	}
}

func TestDialerIsRefused(t *testing.T) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	d := net.Dialer{Control: newTargets(nil).control}
	_, err = d.Dial("tcp", l.Addr().String())
	var refused *TargetError
	if !errors.As(err, &refused) || refused.Range.String() != "127.0.0.0/8" {
		t.Errorf("Dial: %v", err)
	}
	if err := newTargets(nil).control("tcp", "nonsense", nil); err == nil {
		t.Error("nonsense is allowed")
	}
}
