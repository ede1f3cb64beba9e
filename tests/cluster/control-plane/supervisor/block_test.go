package supervisor

import (
	"strings"
	"testing"
)

// Runs side by side have nothing in common.
func TestBlocksDoNotOverlap(t *testing.T) {
	for i := range blockCount {
		for j := range i {
			one, other := newBlock(i), newBlock(j)
			if one.pods.Overlaps(other.pods) || one.services.Overlaps(other.services) {
				t.Errorf("block %d (%v) and block %d (%v) overlap", i, one, j, other)
			}
		}
	}
}

// The addresses of a block are in it, and each has one use.
func TestAddressesOfABlockAreItsOwn(t *testing.T) {
	for number := range blockCount {
		b := newBlock(number)
		if !b.pods.Contains(b.lastPod()) || !b.firstPod().Less(b.lastPod()) || !b.node().Less(b.firstPod()) {
			t.Errorf("block %d: Pods from %s to %s, node %s", number, b.firstPod(), b.lastPod(), b.node())
		}
		if !strings.HasSuffix(b.apiService().String(), ".1") || !b.services.Contains(b.apiService()) {
			t.Errorf("block %d: API server at %s", number, b.apiService())
		}
	}
}

// A block has one holder, and the next can have it when that one has let go.
func TestABlockIsClaimedOnce(t *testing.T) {
	first, claim, err := claimBlock()
	if err != nil {
		t.Fatal(err)
	}
	second, other, err := claimBlock()
	if err != nil {
		t.Fatal(err)
	}
	other.Close()
	if first == second {
		t.Errorf("two runs have %v", first)
	}
	claim.Close()
	again, claim, err := claimBlock()
	if err != nil {
		t.Fatal(err)
	}
	defer claim.Close()
	if again != first {
		t.Errorf("after %v was let go, the next run has %v", first, again)
	}
}
