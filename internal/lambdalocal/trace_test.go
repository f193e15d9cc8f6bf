package lambdalocal

import "testing"

// A header that the SDK has encoded says the same.
func TestTrace(t *testing.T) {
	t.Parallel()
	first := trace{}.into("aaaa")
	second := parseTrace(first.String()).into("bbbb")
	third := parseTrace("Root=1-a;Parent=b;Sampled=0;Lineage=aaaa:0%7Cbbbb:4").into("bbbb")
	if n := first.lineage["aaaa"]; n != 0 || first.root == "" {
		t.Errorf("a chain begins with %+v", first)
	}
	if second.root != first.root || second.lineage["aaaa"] != 0 || second.lineage["bbbb"] != 0 {
		t.Errorf("%v goes on as %+v", first, second)
	}
	if third.lineage["bbbb"] != 5 || third.hops("aaaa") != 1 || third.hops("cccc") != 0 {
		t.Errorf("the lineage is %v", third.lineage)
	}
}
