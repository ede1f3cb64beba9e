package supervisor

import (
	"errors"
	"fmt"
	"net"
	"net/netip"
	"os"
)

// block is the part of the network that is this run's alone: addresses for its node and its Pods, and a range
// for its Services. Runs side by side have different blocks.
type block struct {
	pods     netip.Prefix
	services netip.Prefix
}

// blockCount is how many runs may have a node at the same time.
const blockCount = 12

// documentation are ranges that no real network uses (RFC 5737). Each has room for four blocks of Pods.
var documentation = [3][4]byte{{198, 51, 100, 0}, {203, 0, 113, 0}, {192, 0, 2, 0}}

// newBlock is the block of that number, whoever may be using it.
func newBlock(number int) block {
	pods := documentation[number/4]
	pods[3] = byte(number % 4 * 64)
	return block{
		pods: netip.PrefixFrom(netip.AddrFrom4(pods), 26),
		// 198.18.0.0/15 is for benchmarks (RFC 2544), and no real network uses it either.
		services: netip.PrefixFrom(netip.AddrFrom4([4]byte{198, 18, byte(number * 16), 0}), 20),
	}
}

// gateway is the host's end of every Pod's link.
func (b block) gateway() netip.Addr { return b.pods.Addr().Next() }

// node is the address of the node: of the machine's own, on its loopback interface. (The kubelet takes none
// out of 127.0.0.0/8.)
func (b block) node() netip.Addr { return b.gateway().Next() }

// firstPod and lastPod are the addresses for Pods, ends included.
func (b block) firstPod() netip.Addr { return b.node().Next() }

func (b block) lastPod() netip.Addr {
	end := b.pods.Addr().As4()
	end[3] += 62 // 63 is the broadcast address
	return netip.AddrFrom4(end)
}

// apiService is the address of the Service `kubernetes`: always the first of the range.
func (b block) apiService() netip.Addr { return b.services.Addr().Next() }

// claimBlock finds a block that no other run has, and that is no part of a network of this machine. It is ours
// as long as the file is open, in this process or in one that has inherited it.
func claimBlock() (block, *os.File, error) {
	for number := range blockCount {
		candidate := newBlock(number)
		if taken, err := candidate.taken(); err != nil {
			return block{}, nil, err
		} else if taken {
			continue
		}
		// An abstract socket belongs to whoever is first, and the kernel forgets it when the last holder ends.
		name := "@portolan-control-plane/" + candidate.pods.String()
		listener, err := net.ListenUnix("unix", &net.UnixAddr{Name: name, Net: "unix"})
		if err != nil {
			continue
		}
		claim, err := listener.File()
		return candidate, claim, errors.Join(err, listener.Close())
	}
	return block{}, nil, fmt.Errorf("no addresses left for a node: %d runs have one, or this machine uses the documentation ranges", blockCount)
}

// taken says whether an interface of this machine has an address in the block or around it. The loopback
// interface does not count: what is there was left by a run that was killed.
func (b block) taken() (bool, error) {
	interfaces, err := net.Interfaces()
	if err != nil {
		return false, err
	}
	for _, i := range interfaces {
		if i.Flags&net.FlagLoopback != 0 {
			continue
		}
		addresses, err := i.Addrs()
		if err != nil {
			continue // the interface has gone in the meantime
		}
		for _, address := range addresses {
			network, err := netip.ParsePrefix(address.String())
			if err == nil && (network.Overlaps(b.pods) || network.Overlaps(b.services)) {
				return true, nil
			}
		}
	}
	return false, nil
}
