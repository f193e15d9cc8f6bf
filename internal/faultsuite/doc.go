// Package faultsuite puts store/dynamo and the engine through what real fleets
// go through, and checks from outside what became of it: worker processes that
// are killed and frozen, over a proxy that loses, delays and repeats requests,
// with clocks that disagree and leases shorter than the delays.
//
// What happened is known from three sources that share no code with the store:
// the effects that bodies leave in files, the commits that workers saw
// acknowledged, and the journals as the public port reads them past the proxy.
package faultsuite
